"""How far an arrangement of elements goes beyond chance: clusters, order within groups, agreement of two models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from typing import Any, Literal

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import rankdata

from atomlens.errors import InputError

FEWEST_ELEMENTS = 10  # with fewer even a perfect arrangement is no surprise
FEWEST_PARTNERED = 6
DRAWS = 1000
_AT_ONCE = 50  # sets of random embeddings, whose ranks then stay in the cache
_MOST_PERMUTED = 7  # members of a class, all of whose 5,040 orders are tried
_ORDERS = 5_000  # drawn of larger classes
_SIGNS_AT_ONCE = 2_000_000  # of pairs in permuted orders, to bound memory

Metric = Literal["euclidean", "cosine"]


@dataclass(frozen=True)
class Chance:
    """A number beside what it is by chance."""

    value: float
    mean: float  # over the random draws
    spread: float  # standard deviation over the random draws
    z: float  # (value - mean) / spread
    p: float  # share of draws that reach the value, the value itself counted among them
    draws: int

    @classmethod
    def of(cls, value: float, drawn: np.ndarray) -> Chance:
        """From values by chance (draws,), large ones being the remarkable ones."""
        mean, spread = float(drawn.mean()), float(drawn.std())
        # Draws that equal the value up to rounding reach it.
        reached = int((drawn >= value - 1e-12 * max(abs(value), 1.0)).sum())
        z = (value - mean) / spread if spread > 0 else 0.0
        return cls(float(value), mean, spread, float(z), (1 + reached) / (1 + len(drawn)), len(drawn))


@dataclass(frozen=True)
class ClusterScore:
    """How often an element of the same class is nearer than one of another class: ½ by chance, 1 for pure clusters."""

    elements: int  # with another one of their class
    permuted: Chance  # against the same vectors, classes dealt out anew
    random: Chance  # against random vectors of the same size, with the same classes

    @property
    def value(self) -> float:
        """The score itself, from 0 to 1."""
        return self.permuted.value

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def cluster_score(
    vectors: np.ndarray,
    classes: Sequence[object],
    *,
    metric: Metric = "euclidean",
    through: np.ndarray | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> ClusterScore:
    """Whether elements of one class lie near each other, in the full space.

    For each element that has a partner: the share of pairs (partner, stranger) in which the partner is nearer, the area
    under its receiver operating characteristic; then the mean over these elements. It needs no choice of a number of
    neighbours, and its expectation by chance is exactly ½.

    Args:
        vectors: (elements, F).
        classes: the class of each element, such as its group.
        metric: of the distances between elements; see `elements.nearest`.
        through: (F, F₀), where the vectors are ``embeddings @ through.T``: random embeddings (elements, F₀) go the same
            way. None: the vectors are embeddings themselves.
        draws: of permuted classes, and of random embeddings.
        seed: of the draws.

    Raises:
        InputError: fewer than 10 elements, or fewer than 6 that share their class with another.
    """
    labels = np.unique(np.array([str(entry) for entry in classes]), return_inverse=True)[1]
    partnered = int((np.bincount(labels)[labels] > 1).sum())
    if len(labels) < FEWEST_ELEMENTS or partnered < FEWEST_PARTNERED or len(np.unique(labels)) < 2:
        raise InputError(
            f"{len(labels)} elements, {partnered} of them with another one of their class, are too few to tell "
            f"clusters from chance; use a model that knows at least {FEWEST_ELEMENTS} elements"
        )
    generator = np.random.default_rng(seed)
    ranks = _ranks(cdist(vectors, vectors, metric))
    dealt = np.stack([generator.permutation(labels) for _ in range(draws)])
    value = float(_nearer(ranks[None], labels[None])[0])
    width = vectors.shape[1] if through is None else through.shape[1]
    random = []
    for start in range(0, draws, _AT_ONCE):
        drawn = generator.normal(size=(min(_AT_ONCE, draws - start), len(labels), width))
        drawn = drawn if through is None else drawn @ through.T
        random.append(_nearer(_ranks_of_many(drawn, metric), labels[None]))
    return ClusterScore(
        partnered,
        Chance.of(value, _nearer(ranks[None], dealt)),
        Chance.of(value, np.concatenate(random)),
    )


def _ranks(distances: np.ndarray) -> np.ndarray:
    """Ranks from 1 of the others by distance, (elements, elements); zero on the diagonal, ties share their mean."""
    away = distances.copy()
    np.fill_diagonal(away, -1.0)
    return np.asarray(rankdata(away, axis=1)) - 1.0


def _ranks_of_many(vectors: np.ndarray, metric: Metric) -> np.ndarray:
    """`_ranks` of many sets of vectors (sets, elements, F) without ties: (sets, elements, elements)."""
    if metric == "cosine":  # unit vectors stand in the order of their angles
        vectors = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    products = vectors @ vectors.transpose(0, 2, 1)
    squares = np.diagonal(products, axis1=1, axis2=2)
    away = squares[:, None, :] - 2.0 * products  # less what is the same in a row
    rows = np.arange(vectors.shape[1])
    away[:, rows, rows] = -np.inf
    ranks = np.empty(away.shape)
    np.put_along_axis(ranks, np.argsort(away, axis=2), rows.astype(float)[None, None], axis=2)
    return ranks


def _nearer(ranks: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The score of each draw, (draws,): ranks (draws, elements, elements), labels (draws, elements); either may be one.

    An element's partners have the smallest ranks that they can have where they are nearer than all strangers; each rank
    more is a stranger that is nearer.
    """
    count = ranks.shape[1]
    members = (labels[:, :, None] == np.arange(labels.max() + 1)).astype(float)  # (draws, elements, classes)
    sums = ranks @ members  # of ranks by class
    own = np.take_along_axis(sums, np.broadcast_to(labels, sums.shape[:2])[:, :, None], axis=2)
    partners = np.take_along_axis(members.sum(axis=1), labels, axis=1) - 1.0
    strangers = count - 1.0 - partners
    overtaken = own[:, :, 0] - 0.5 * partners * (partners + 1.0)
    shares = 1.0 - overtaken / np.maximum(partners * strangers, 1.0)
    counted = partners > 0
    return np.asarray((shares * counted).sum(axis=1) / counted.sum(axis=1))


def explained_by_chance(
    count: int, width: int, components: int, *, through: np.ndarray | None = None, draws: int = DRAWS, seed: int = 0
) -> np.ndarray:
    """The share of the variance along the leading components of random embeddings, (draws,).

    In many dimensions a few leading components of mere noise explain more than their number suggests.

    Args:
        count: of elements.
        width: length of an embedding.
        components: how many leading ones.
        through: (K, width), where the embeddings are looked at through a layer.
        draws: of normal random numbers (count, width).
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    shares = np.empty(draws)
    for draw in range(draws):
        drawn = generator.normal(size=(count, width))
        drawn = drawn if through is None else drawn @ through.T
        drawn = drawn - drawn.mean(axis=0)
        variances = np.linalg.eigvalsh(drawn @ drawn.T)[::-1]
        shares[draw] = variances[:components].sum() / variances.sum()
    return shares


@dataclass(frozen=True)
class GroupOrder:
    """How far the elements of one class stand in order along one of the components."""

    taus: tuple[float, ...]  # Kendall's τ of place and order along each component; ±1: perfect
    p: float  # how often as good an order arises along any of the components by chance, over permutations


def order_within_classes(
    components: np.ndarray, classes: Sequence[object], order: np.ndarray, fewest: int = 4, *, seed: int = 0
) -> tuple[Mapping[object, GroupOrder], float]:
    """Whether elements of a class stand in order along a component, as from light to heavy.

    Either direction of any component counts, and chance has the same freedom: every permutation of the class's elements
    is tried, or 5,000 random ones where a class has more than 7.

    Args:
        components: (elements, components) places along each component.
        classes: the class of each element; elements of class None belong to none and are left out.
        order: (elements,) what they may be ordered by, such as the period.
        fewest: classes of fewer elements are left out.
        seed: of the random permutations.

    Returns:
        The order of each class, and how often by chance the mean over classes of the best size of τ is as high.
    """
    found: dict[object, GroupOrder] = {}
    best, by_chance = [], []
    generator = np.random.default_rng(seed)
    for name in dict.fromkeys(classes):
        rows = np.flatnonzero([entry == name for entry in classes])
        if name is None or len(rows) < fewest:
            continue
        taus = _taus(components[rows], _permuted(order[rows], generator))
        reach = np.abs(taus).max(axis=0)
        found[name] = GroupOrder(tuple(taus[:, 0].tolist()), float((reach >= reach[0] - 1e-12).mean()))
        best.append(reach[0])
        by_chance.append(reach)
    if not best:
        return found, 1.0
    drawn = np.mean([generator.choice(part, 20_000) for part in by_chance], axis=0)
    return found, Chance.of(float(np.mean(best)), drawn).p


def _permuted(order: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The order itself, then its permutations: all others of few entries, random ones of many; (permutations, n)."""
    if len(order) <= _MOST_PERMUTED:
        return np.array(list(permutations(order)))
    return np.concatenate([order[None], generator.permuted(np.tile(order, (_ORDERS, 1)), axis=1)])


def _taus(places: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """Kendall's τ of places (n, components) and each order (permutations, n): (components, permutations)."""
    signs = np.sign(_differences(places.T))  # (components, pairs)
    parts = np.array_split(orders, 1 + len(orders) * signs.shape[1] // _SIGNS_AT_ONCE)
    return np.concatenate([signs @ np.sign(_differences(part)).T for part in parts], axis=1) / signs.shape[1]


def _differences(rows: np.ndarray) -> np.ndarray:
    """Of every pair of entries in each row (rows, n): (rows, n (n - 1) / 2)."""
    first, second = np.triu_indices(rows.shape[1], k=1)
    return np.asarray(rows[:, second] - rows[:, first])


@dataclass(frozen=True)
class Agreement:
    """How far two models agree on which elements are alike."""

    elements: int  # that both know
    correlation: Chance  # Spearman's, of the distances; by chance: elements of one model dealt out anew (Mantel's test)


def agreement(first: np.ndarray, second: np.ndarray, *, draws: int = 1000, seed: int = 0) -> Agreement:
    """Spearman's correlation of the distances between the same elements in two spaces, against permuted elements.

    Args:
        first: (elements, F).
        second: (elements, F'), the same elements in the same order.
        draws: of permutations.
        seed: of the permutations.

    Raises:
        InputError: there are fewer than 4 elements.
    """
    count = len(first)
    if count < 4:
        raise InputError(f"the models have {count} elements in common, too few to compare them; at least 4 are needed")
    pairs = np.triu_indices(count, k=1)
    ranks = [_standardised(rankdata(cdist(part, part)[pairs])) for part in (first, second)]
    square = np.zeros((count, count))
    square[pairs] = ranks[1]
    square += square.T
    generator = np.random.default_rng(seed)
    value = float(ranks[0] @ ranks[1])
    dealt = (generator.permutation(count) for _ in range(draws))
    drawn = np.array([ranks[0] @ square[np.ix_(order, order)][pairs] for order in dealt])
    return Agreement(count, Chance.of(value, drawn))


def _standardised(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-300))
