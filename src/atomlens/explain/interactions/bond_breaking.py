"""Bond-breaking sensitivity: how features answer when two atoms are drawn apart (thesis 4.5.3, fig. 4.11-4.13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase.data import atomic_numbers
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain.analysis import Analysis
from atomlens.explain.subject import Subject
from atomlens.model import Model
from atomlens.panel import Panel
from atomlens.representations import constant_parameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SMALL = 0.05  # of the largest sensitivity; below it the network counts as insensitive
NEAREST, STEP = 0.5, 0.02  # Å, of the distances taken by default
FARTHEST = 12.0  # Å, about as far apart as atoms of small organic molecules get


@dataclass(frozen=True)
class BondSensitivity:
    """Two bare atoms, drawn apart: how fast their features change with the distance, and the energy of the pair.

    Norms of models, or of features of different length, are on different scales: compare where they rise and fall.
    """

    pair: tuple[str, str]  # symbols of the two atoms
    distances: np.ndarray  # (distances,) Å
    first: np.ndarray  # (distances,) Å⁻¹, |∂x/∂d| of the first atom's features
    second: np.ndarray  # (distances,) Å⁻¹, of the second atom's
    energies: np.ndarray | None  # (distances,) eV, less those of the two atoms alone; None: none predicted

    @property
    def both(self) -> np.ndarray:
        """The norm over the features of both atoms, (distances,) in Å⁻¹."""
        return np.asarray(np.hypot(self.first, self.second))

    def to_dict(self) -> dict[str, Any]:
        """Curves and what they say, for JSON."""
        return {
            "pair": list(self.pair),
            "definition": "Norm of ∂x/∂d of the features of either of two bare atoms at the distance d",
            "distances": self.distances.tolist(),
            "units": {"distances": "Å", "first": "1/Å", "second": "1/Å", "energies": "eV"},
            "first": self.first.tolist(),
            "second": self.second.tolist(),
            "energies": None if self.energies is None else self.energies.tolist(),
        }

    def plot(self) -> Figure:
        """|∂x/∂d| of either atom against the distance."""
        from atomlens.figures import bond_breaking

        first, second = self.pair
        lines = [bond_breaking.Line(first, self.distances, self.first)]
        if first != second:
            lines.append(bond_breaking.Line(second, self.distances, self.second))
        panel = bond_breaking.PairPanel(f"{first}-{second}", lines, np.empty(0))
        return bond_breaking.sensitivities([panel], "|∂x/∂d| (Å⁻¹)")


def bond_sensitivity(
    model: Model, first: str, second: str, distances: Sequence[float] | np.ndarray | None = None
) -> BondSensitivity:
    """|∂x_i^T/∂d_ij| of two atoms without any others, for all distances in one batch.

    The derivative is exact: that of the model as it predicts, its tabulated filters included.

    Args:
        model: any representation; the energy is given as well where the model predicts it.
        first: symbol of an element that the model knows.
        second: of the other atom.
        distances: in Å; by default from 0.5 Å to half an Å beyond the cutoff, or to 12 Å without one.

    Raises:
        InputError: an element is unknown to the model, or a distance is not a positive number.
    """
    numbers = [_known(model, first), _known(model, second)]
    apart = default_distances(model) if distances is None else np.atleast_1d(np.asarray(distances, dtype=np.float64))
    if apart.ndim != 1 or not apart.size or not (np.isfinite(apart) & (apart > 0.0)).all():
        raise InputError("distances must be a list of positive numbers in Å; correct them")
    with torch.inference_mode(False), torch.enable_grad():  # a caller may have switched derivatives off
        batch = model.collate([_pair(numbers, distance) for distance in apart])
        slopes = _slopes(model, batch, torch.from_numpy(apart).to(model.device)).cpu().numpy().astype(np.float64)
    norms = np.linalg.norm(slopes, axis=2)
    energies = _energies(model, batch, numbers) if model.has_energy else None
    return BondSensitivity((first, second), apart, norms[:, 0], norms[:, 1], energies)


def pair_features(model: Model, first: str, second: str, distances: np.ndarray) -> np.ndarray:
    """Features of both atoms of a bare pair at distances in Å, (distances, 2, F).

    Raises:
        InputError: an element is unknown to the model.
    """
    numbers = [_known(model, first), _known(model, second)]
    with torch.no_grad():
        features = model.representation(model.collate([_pair(numbers, distance) for distance in distances]))
    return np.asarray(features.view(len(distances), 2, -1).cpu().numpy(), dtype=np.float64)


def default_distances(model: Model) -> np.ndarray:
    """From 0.5 Å to half an Å beyond the cutoff, or to 12 Å without one, in steps of 0.02 Å."""
    end = FARTHEST if model.cutoff is None else model.cutoff + 0.5
    return np.arange(NEAREST, end + STEP / 2, STEP)


def _known(model: Model, name: str) -> int:
    number = atomic_numbers.get(name, 0)
    if number not in model.elements:
        seen = ", ".join(symbol(each) for each in model.elements)
        raise InputError(f"{name} is an element that the model never saw; choose two of {seen}")
    return int(number)


def _pair(numbers: list[int], distance: float) -> AtomicSystem:
    return _open(numbers, np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]]))


def _open(numbers: list[int], positions: np.ndarray) -> AtomicSystem:
    return AtomicSystem(np.array(numbers, dtype=np.int64), positions, np.zeros((3, 3)), np.zeros(3, dtype=bool))


def _slopes(model: Model, batch: Batch, distances: Tensor) -> Tensor:
    """∂x/∂d of both atoms of every pair, (distances, 2, F).

    The vector-Jacobian product is linear in its vector u, so its derivative by u is the Jacobian-vector product; one
    batch has all distances because every pair hears itself alone. Two passes backward, whatever the features' number,
    and through any kernel that has a second derivative.
    """
    distances = distances.detach().requires_grad_()
    zeros = torch.zeros_like(distances)
    origins, ends = torch.stack([zeros, zeros, zeros], dim=1), torch.stack([distances, zeros, zeros], dim=1)
    positions = torch.stack([origins, ends], dim=1).reshape(-1, 3)
    with constant_parameters():
        features = model.representation(replace(batch, positions=positions, vectors=None))
        u = torch.zeros_like(features, requires_grad=True)
        if not features.requires_grad:
            return torch.zeros_like(features).view(len(distances), 2, -1)
        (pulled,) = torch.autograd.grad(features, distances, u, create_graph=True, materialize_grads=True)
        if not pulled.requires_grad:  # no pair is within the cutoff, or the features hear nobody
            return torch.zeros_like(features).view(len(distances), 2, -1)
        (slopes,) = torch.autograd.grad(pulled.sum(), u, materialize_grads=True)
    return slopes.view(len(distances), 2, -1)


def _energies(model: Model, batch: Batch, numbers: list[int]) -> np.ndarray:
    """E(d) less the energies of the two atoms alone, (distances,) in eV."""
    alone = [_open(numbers[:1], np.zeros((1, 3))), _open(numbers[1:], np.zeros((1, 3)))]
    apart = sum(float(found["energy"]) for found in model.predict(alone, forces=False))
    return np.asarray(model.predict(batch, forces=False)["energy"].cpu().numpy() - apart)


def _of_models(subject: Subject) -> Panel:
    from atomlens.explain.interactions import bond_panel

    return bond_panel.of_models(subject)


@dataclass(frozen=True)
class Summary:
    """What a curve says at distances that the data have."""

    peak: float  # Å, where the features react most
    height: float  # Å⁻¹, the sensitivity there
    half: float  # Å, half of all change between the data's shortest and longest distance happens below
    reach: float  # Å, beyond which the sensitivity stays below `SMALL` of its height; where data end, if nowhere
    rare: float  # Å, 999 of 1,000 of the data's pairs are nearer
    beyond: float  # the largest sensitivity farther than that, as a share of the height


def summarise(curve: BondSensitivity, seen: np.ndarray) -> Summary:
    """Numbers of a curve, given the data's distances of the same two elements, (pairs,) in Å.

    Raises:
        InputError: the curve has fewer than two distances that the data have.
    """
    apart, both = curve.distances, curve.both
    inside = (apart >= seen.min()) & (apart <= seen.max())
    if inside.sum() < 2:
        raise InputError("the distances leave out where the data have pairs; widen them")
    d, s = apart[inside], both[inside]
    height = float(s.max())
    change = np.concatenate([[0.0], np.cumsum((s[1:] + s[:-1]) / 2 * np.diff(d))])
    half = float(np.interp(0.5 * change[-1], change, d)) if change[-1] else float(d[0])
    rare = float(np.quantile(seen, 0.999))
    beyond = float(both[apart > rare].max(initial=0.0)) / (height or 1.0)
    return Summary(float(d[s.argmax()]), height, half, float(d[s >= SMALL * height].max()), rare, beyond)


ANALYSIS = Analysis(
    "bond-breaking",
    "What the network hears of a bond",
    "Two atoms are drawn apart, and |∂x/∂d|, the change of the final features x of either atom with their distance d, "
    "is shown above the distances that such pairs have in the data.",
    "Thesis 4.5.3 and fig. 4.11-4.13",
    of_models=_of_models,
)
