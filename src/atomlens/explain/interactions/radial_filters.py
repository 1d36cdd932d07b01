"""Filters as functions of the distance, and what shows that a model uses them (thesis 4.3, fig. 4.2; eq. 4.9-4.13)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from atomlens.data.dataset import Dataset
from atomlens.data.neighbours import neighbour_list
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.model import Model
from atomlens.ops.radial import CUTOFF_FUNCTIONS
from atomlens.representations import DTNN, SchNet
from atomlens.representations.schnet import Interaction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEP = 0.02  # Å, of the distances taken by default
FARTHEST = 12.0  # Å, of the distances taken by default without a cutoff
_BIN = 0.05  # Å, of histograms of pairs
_STRUCTURES = 1000  # whose pairs are looked at


@dataclass(frozen=True)
class RadialFilters:
    """Filters W_tf(d) of the interactions t and features f.

    Scale and sign of one filter mean nothing by themselves: the layers before and after it can undo them. ``gains``
    are the norms of those layers' weights, and a filter times its gain keeps its size whatever is undone.
    """

    distances: np.ndarray  # (distances,) Å
    values: np.ndarray  # (interactions, distances, F) the cutoff function included
    gains: np.ndarray  # (interactions, F) norm of the weights that lead to a filter times that of those that leave it
    names: tuple[str, ...]  # of the interactions; one where all share their filters and layers

    @property
    def loudness(self) -> np.ndarray:
        """√Σ_f (gain W_tf(d))², how loudly a neighbour is heard at a distance: (interactions, distances)."""
        return np.asarray(np.linalg.norm(self.values * self.gains[:, None], axis=2))

    def strengths(self, density: np.ndarray | None = None) -> np.ndarray:
        """Root mean square of gain W_tf(d) over distances, (interactions, F).

        Args:
            density: (distances,) how many pairs lie at each; None: as many everywhere.
        """
        weights = np.ones(len(self.distances)) if density is None else density
        return np.asarray(self.gains * np.sqrt(np.einsum("tdf,d->tf", self.values**2, weights / weights.sum())))

    def strongest(self, count: int, density: np.ndarray | None = None) -> np.ndarray:
        """Places of the strongest filters of each interaction, strongest first: (interactions, count)."""
        return np.asarray(np.argsort(-self.strengths(density), axis=1, kind="stable")[:, :count])

    def centres(self, density: np.ndarray | None = None) -> np.ndarray:
        """Mean distance, weighted by W_tf(d)² and the density of pairs: (interactions, F) in Å."""
        weights = self.values**2 * (1.0 if density is None else density[None, :, None])
        return np.asarray(np.einsum("tdf,d->tf", weights, self.distances) / np.maximum(weights.sum(axis=1), 1e-300))

    def shapes(self, density: np.ndarray | None = None, share: float = 0.99) -> list[int]:
        """Of how many curves the filters of each interaction are made, but for 1 - ``share`` of their squares."""
        weights = np.ones(len(self.distances)) if density is None else density
        squares = np.linalg.svd(self.values * self.gains[:, None] * np.sqrt(weights)[:, None], compute_uv=False) ** 2
        reached = np.cumsum(squares, axis=1) / squares.sum(axis=1, keepdims=True)
        return (1 + (reached < share).sum(axis=1)).tolist()

    def to_dict(self) -> dict[str, Any]:
        """Every curve, for JSON."""
        return {
            "units": {"distances": "Å"},
            "interactions": list(self.names),
            "distances": self.distances.tolist(),
            "values": np.round(self.values, 6).tolist(),
            "gains": self.gains.tolist(),
            "loudness": self.loudness.tolist(),
        }

    def plot(self, count: int = 8) -> Figure:
        """The strongest filters of each interaction against the distance."""
        from atomlens.figures import filters

        curves = [self.values[block][:, places].T for block, places in enumerate(self.strongest(count))]
        return filters.radial_curves(self.distances, curves, self.names)


def radial_filters(model: Model, distances: Sequence[float] | np.ndarray | None = None) -> RadialFilters:
    """The exact filters of a model, in float64.

    SchNet's are W_t(d) with its cutoff function. DTNN's tensor layer has the factors W_fd e(d) + b_2 in their place
    (thesis eq. 4.11), one set for all passes. There the whole message fades at the cutoff, after the tanh, and not the
    factors.

    Args:
        model: with SchNet or DTNN.
        distances: in Å; by default from 0 to the cutoff, or to 12 Å without one, every 0.02 Å.

    Raises:
        InputError: the model has no filters, or a distance is negative or not a number.
    """
    representation = filtering(model)
    if distances is None:
        distances = np.arange(0.0, (model.cutoff or FARTHEST) + STEP / 2, STEP)
    apart = np.atleast_1d(np.asarray(distances, dtype=np.float64))
    if apart.ndim != 1 or not apart.size or not (np.isfinite(apart) & (apart >= 0.0)).all():
        raise InputError("distances must be a list of numbers in Å that are not negative; correct them")
    functions = copy.deepcopy(representation.filters).to("cpu", torch.float64)
    with torch.no_grad():
        values = functions(torch.from_numpy(apart)).numpy()
    if isinstance(representation, DTNN):
        before = np.hypot(_rows(representation.atom_factors), np.abs(_numbers(representation.atom_factors.bias)))
        return RadialFilters(apart, values, (before * _columns(representation.to_features))[None], ("every pass",))
    blocks = _blocks(representation)
    gains = np.stack([_rows(block.atomwise_in) * _columns(block.atomwise_mid) for block in blocks])
    names = tuple(f"interaction {1 + place}" for place in range(len(blocks)))
    return RadialFilters(apart, np.broadcast_to(values, (len(blocks), *values.shape[1:])), gains, names)


def filtering(model: Model) -> SchNet | DTNN:
    """The representation of a model that has filters.

    Raises:
        InputError: it has none.
    """
    representation = model.representation
    if not isinstance(representation, SchNet | DTNN):
        raise InputError(
            "has no filters: symmetry functions are fixed formulas of the distances, in which nothing is learned; "
            "use SchNet or DTNN"
        )
    if not representation.config.interactions:
        raise InputError("has no interactions and so no filters; use a model with one or more")
    return representation


def convolving(model: Model) -> SchNet:
    """The representation of a model whose filters can be summed over periodic images.

    Raises:
        InputError: its interactions are no convolutions, or have no end.
    """
    representation = filtering(model)
    if not isinstance(representation, SchNet):
        raise InputError(
            "has a tanh inside its sum over neighbours, so that images cannot be summed up in a filter; use SchNet"
        )
    if model.cutoff is None:
        raise InputError("has no cutoff, so that a sum over periodic images has no end; use a model with a cutoff")
    return representation


def pair_features(model: Model, numbers: tuple[int, int], distance: float) -> np.ndarray:
    """Features of two atoms alone, computed by hand from `radial_filters` and the weights: (2, F).

    What the model itself gives for them shows whether these are the filters that it uses.

    Args:
        model: with SchNet or DTNN.
        numbers: atomic numbers.
        distance: in Å.
    """
    representation = filtering(model)
    values = radial_filters(model, [distance]).values[:, 0]
    x = _numbers(representation.embedding.weight)[list(numbers)]
    if isinstance(representation, DTNN):
        fade = 1.0
        if model.cutoff is not None:
            apart = torch.tensor(distance, dtype=torch.float64)
            fade = float(CUTOFF_FUNCTIONS[representation.config.cutoff_function](apart, model.cutoff))
        for _ in range(representation.config.interactions):
            heard = _linear(representation.atom_factors, x)[::-1] * values[0]
            x = x + fade * np.tanh(_linear(representation.to_features, heard))
        return x
    for block, value in zip(_blocks(representation), values, strict=True):
        heard = _linear(block.atomwise_in, x)[::-1] * value
        hidden = np.logaddexp(_linear(block.atomwise_mid, heard), 0.0) - np.log(2.0)
        x = x + _linear(block.atomwise_out, hidden)
    return x


def features_of_pair(model: Model, numbers: tuple[int, int], distance: float) -> np.ndarray:
    """What the model gives for the two atoms of `pair_features`, (2, F)."""
    positions = np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])
    system = AtomicSystem(np.array(numbers), positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))
    with torch.no_grad():
        return np.asarray(model.representation(model.collate([system])).cpu().numpy(), dtype=np.float64)


def _blocks(representation: SchNet) -> list[Interaction]:
    return [cast(Interaction, block) for block in representation.blocks]


def _numbers(parameter: torch.Tensor) -> np.ndarray:
    return np.asarray(parameter.detach().cpu().numpy(), dtype=np.float64)


def _linear(layer: nn.Linear, x: np.ndarray) -> np.ndarray:
    found = x @ _numbers(layer.weight).T
    return found if layer.bias is None else found + _numbers(layer.bias)


def _rows(layer: nn.Linear) -> np.ndarray:
    """Norms of the weights that lead to each output."""
    return np.asarray(np.linalg.norm(_numbers(layer.weight), axis=1))


def _columns(layer: nn.Linear) -> np.ndarray:
    """Norms of the weights that leave each input."""
    return np.asarray(np.linalg.norm(_numbers(layer.weight), axis=0))


@dataclass(frozen=True)
class PairDistances:
    """Distances between atoms of a data set, periodic images included."""

    distances: np.ndarray  # (pairs,) Å, every pair in both directions
    structures: int  # that were looked at

    @property
    def shortest(self) -> float:
        """The shortest of them in Å: what a filter says below has never been asked for."""
        return float(self.distances.min())

    def density(self, at: np.ndarray) -> np.ndarray:
        """How many pairs lie near each distance of ``at`` (distances,), relative to the most frequent one."""
        edges = np.arange(0.0, max(float(at.max()), float(self.distances.max())) + 2 * _BIN, _BIN)
        counts = np.histogram(self.distances, edges)[0]
        density = np.interp(at, 0.5 * (edges[1:] + edges[:-1]), counts)
        # The bin of the shortest pair reaches below it.
        density = np.where(at < self.shortest, 0.0, density)
        return np.asarray(density / max(density.max(), 1e-300))

    def per_volume(self, at: np.ndarray) -> np.ndarray:
        """`density` over the volume at a distance, which rises with d² in crystals; its largest value is one."""
        density = self.density(at) / np.maximum(at, 1e-9) ** 2
        return np.asarray(density / max(density.max(), 1e-300))


def pair_distances(data: Dataset, reach: float, most: int = _STRUCTURES) -> PairDistances | None:
    """Distances up to ``reach`` Å in a data set, of up to ``most`` structures evenly spread over it.

    Returns:
        None where no two atoms are so near.

    Raises:
        InputError: two atoms of a structure nearly coincide.
    """
    rows = np.unique(np.linspace(0, len(data) - 1, min(most, len(data))).round().astype(int))
    found = []
    for row in rows:
        system = data[int(row)]
        try:
            centre, neighbour, shift = neighbour_list(system, reach)
        except InputError as error:
            raise data.located(error, int(row)) from None
        vectors = system.positions[neighbour] - system.positions[centre] + shift @ system.cell
        found.append(np.linalg.norm(vectors, axis=1))
    distances = np.concatenate(found)
    return PairDistances(distances, len(rows)) if len(distances) else None
