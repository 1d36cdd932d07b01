"""Element embeddings of a model, in its leading principal components (thesis 4.5.5, fig. 4.15; insights paper 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from scipy.spatial.distance import cdist

from atomlens.data.system import symbol
from atomlens.errors import InputError
from atomlens.explain.elements.embedding_statistics import Metric
from atomlens.explain.elements.periodic_table import group, is_main_group, period
from atomlens.model import Model
from atomlens.representations import DTNN, SchNet
from atomlens.representations.schnet import Interaction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEWEST = 3  # elements in a map of two dimensions
_SAME_START = 1e-6  # rows that no training reached differ from the redrawn ones by less


@dataclass(frozen=True)
class PrincipalComponents:
    """Vectors in the coordinates of their largest variance."""

    places: np.ndarray  # (vectors, components) along each component, about the mean
    axes: np.ndarray  # (components, F) unit vectors
    explained: np.ndarray  # (components,) shares of the variance, falling; they sum to 1


def principal_components(vectors: np.ndarray, upward: np.ndarray) -> PrincipalComponents:
    """Principal components, by the singular values of the centred vectors.

    The sign of a component is arbitrary. Here its places rise with ``upward``; where they neither rise nor fall, the
    farthest place is positive.

    Args:
        vectors: (vectors, F).
        upward: (vectors,), such as atomic numbers: heavy elements then lie to the right and to the top.

    Raises:
        InputError: fewer than 2 vectors, or all are equal.
    """
    if len(vectors) < 2:
        raise InputError("one element has no principal components; use a model that knows more")
    count = min(len(vectors) - 1, vectors.shape[1])
    left, sizes, axes = np.linalg.svd(vectors - vectors.mean(axis=0), full_matrices=False)
    places, axes, sizes = left[:, :count] * sizes[:count], axes[:count], sizes[:count]
    if not sizes[0] > 0:
        raise InputError("all elements have the same embedding, so it has no principal components")
    rising = places.T @ (upward - upward.mean())
    level = np.abs(rising) <= 1e-12 * np.linalg.norm(places, axis=0) * np.linalg.norm(upward)
    farthest = places[np.abs(places).argmax(axis=0), np.arange(count)]
    signs = np.where(np.where(level, farthest, rising) < 0, -1.0, 1.0)
    return PrincipalComponents(places * signs, axes * signs[:, None], sizes**2 / (sizes**2).sum())


@dataclass(frozen=True)
class ElementEmbeddings:
    """The embedding A[Z] of every element that a model was trained on, and what neighbours hear of it.

    Networks start from random embeddings. Whatever is read into them needs a comparison with chance, which
    `embedding_statistics.cluster_score` makes.
    """

    numbers: np.ndarray  # (elements,) atomic numbers, rising
    vectors: np.ndarray  # (elements, F) A[Z]
    layer: np.ndarray | None  # (K, F) what the first interaction multiplies A with; None: there is no interaction
    initial: np.ndarray | None  # (elements, F) A[Z] before training; None: not recoverable

    @property
    def symbols(self) -> list[str]:
        """Chemical symbols, one per element."""
        return [symbol(int(number)) for number in self.numbers]

    @property
    def main_group(self) -> np.ndarray:
        """(elements,) bool: groups 1, 2 and 13 to 18."""
        return np.array([is_main_group(int(number)) for number in self.numbers])

    @property
    def heard(self) -> np.ndarray | None:
        """(elements, K) what neighbours hear of an element in the first pass: W A[Z]."""
        return None if self.layer is None else self.vectors @ self.layer.T

    @property
    def change(self) -> np.ndarray | None:
        """(elements, F) what training has added; None where the start is not recoverable."""
        return None if self.initial is None else self.vectors - self.initial

    @property
    def moved(self) -> bool:
        """Whether training is known to have changed anything."""
        return self.change is not None and bool(self.change.any())

    @property
    def spaces(self) -> dict[str, np.ndarray]:
        """Vectors of the elements by name: the embedding, what neighbours hear of it, what training has added."""
        known = {"embedding": self.vectors, "heard": self.heard, "change": self.change if self.moved else None}
        return {name: vectors for name, vectors in known.items() if vectors is not None}

    def only(self, chosen: np.ndarray) -> ElementEmbeddings:
        """Some of the elements: a mask (elements,) or their places."""
        initial = None if self.initial is None else self.initial[chosen]
        return ElementEmbeddings(self.numbers[chosen], self.vectors[chosen], self.layer, initial)

    def nearest(self, count: int, metric: Metric = "euclidean", space: str = "embedding") -> list[list[str]]:
        """Symbols of the elements nearest to each, nearest first.

        Distances are Euclidean unless told otherwise: to a network, elements at no distance are one and the same.
        """
        order = nearest(self.spaces[space], count, metric)[0]
        symbols = self.symbols
        return [[symbols[place] for place in row] for row in order]

    def to_dict(self) -> dict[str, Any]:
        """Places along the two leading components, and neighbours, for JSON."""
        chosen = drawn_elements(self)
        facts: dict[str, Any] = {"elements": self.symbols, "length": self.vectors.shape[1]}
        for name, vectors in chosen.spaces.items():
            found = principal_components(vectors, chosen.numbers)
            facts[name] = {
                "mean_norm": float(np.linalg.norm(vectors, axis=1).mean()),
                "explained": found.explained[:10].tolist(),
                "places": dict(zip(chosen.symbols, found.places[:, :2].tolist(), strict=True)),
                "nearest": dict(zip(self.symbols, self.nearest(3, space=name), strict=True)),
            }
        return facts

    def plot(self, space: str = "embedding", by: Literal["group", "period"] = "group") -> Figure:
        """The two leading principal components, main-group elements coloured by group or period (thesis fig. 4.15)."""
        from atomlens.figures import embeddings

        chosen = drawn_elements(self)
        found = principal_components(chosen.spaces[space], chosen.numbers)
        classes = classes_of(chosen.numbers, by)
        return embeddings.element_map(found.places[:, :2], chosen.symbols, classes, found.explained[:2].tolist(), by)


def classes_of(numbers: Sequence[int] | np.ndarray, by: Literal["group", "period"]) -> list[int]:
    """Group or period of each element; 0 for lanthanides and actinides, which have no group."""
    return [period(int(number)) if by == "period" else group(int(number)) or 0 for number in numbers]


def drawn_elements(embeddings: ElementEmbeddings) -> ElementEmbeddings:
    """The main-group elements, as in the thesis; all of them where fewer than three are of the main groups."""
    main = embeddings.main_group
    return embeddings.only(main) if main.sum() >= FEWEST else embeddings


def element_embeddings(model: Model) -> ElementEmbeddings:
    """The embeddings of the elements that a model was trained on, in float64.

    Rows of other elements are random numbers that no training has touched; they are left out.

    Raises:
        InputError: its representation has no embeddings.
    """
    rows = np.array(model.elements)
    initial = initial_embeddings(model)
    return ElementEmbeddings(rows, _table(model)[rows], _first_layer(model), None if initial is None else initial[rows])


def initial_embeddings(model: Model) -> np.ndarray | None:
    """The embeddings before training, (elements + 1, F) by atomic number, drawn anew from the seed of the training.

    Returns:
        None where the model does not state its seed, or where rows that no training touched differ from those drawn
        anew, so that the start must have been another.
    """
    training = model.provenance.get("training")
    seed = training.get("seed") if isinstance(training, Mapping) else None
    now = _table(model)
    untouched = np.setdiff1d(np.arange(len(now)), model.elements)
    if seed is None or not len(untouched):
        return None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(seed))
        drawn = _table(Model(model.config, model.elements, model.charges))
    return drawn if np.abs(drawn - now)[untouched].max() < _SAME_START else None


def nearest(vectors: np.ndarray, count: int, metric: Metric = "euclidean") -> tuple[np.ndarray, np.ndarray]:
    """The nearest other vectors of each.

    Args:
        vectors: (vectors, F).
        count: how many; all the others where there are fewer.
        metric: Euclidean distance, or 1 - cosine of the angle between vectors.

    Returns:
        Their places (vectors, count), nearest first, and distances (vectors, count).
    """
    distances = cdist(vectors, vectors, metric)
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, : min(count, len(vectors) - 1)]
    return order, np.take_along_axis(distances, order, axis=1)


def _table(model: Model) -> np.ndarray:
    """A, (118 + 1, F) in float64."""
    representation = model.representation
    if not isinstance(representation, SchNet | DTNN):
        raise InputError(
            "has no element embeddings: symmetry functions tell elements apart by nuclear charges as weights, or by "
            "functions of their own, so there is no likeness of elements to be learned; use SchNet or DTNN"
        )
    return representation.embedding.weight.detach().cpu().numpy().astype(np.float64)


def _first_layer(model: Model) -> np.ndarray | None:
    """The layer through which neighbours hear x⁰: W_in of SchNet's first block, W_fx of DTNN's tensor layer; (K, F)."""
    representation, weight = model.representation, None
    if isinstance(representation, DTNN) and representation.config.interactions:
        weight = representation.atom_factors.weight
    if isinstance(representation, SchNet) and len(representation.blocks):
        weight = cast(Interaction, representation.blocks[0]).atomwise_in.weight
    return None if weight is None else weight.detach().cpu().numpy().astype(np.float64)
