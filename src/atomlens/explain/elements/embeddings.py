"""The panel of element embeddings: maps of the elements, and how far they go beyond chance."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from atomlens.errors import InputError
from atomlens.explain.analysis import Analysis
from atomlens.explain.elements.elements import (
    FEWEST,
    ElementEmbeddings,
    classes_of,
    drawn_elements,
    element_embeddings,
    principal_components,
)
from atomlens.explain.elements.embedding_statistics import (
    FEWEST_ELEMENTS,
    FEWEST_PARTNERED,
    Agreement,
    Chance,
    ClusterScore,
    GroupOrder,
    agreement,
    cluster_score,
    explained_by_chance,
    order_within_classes,
)
from atomlens.explain.elements.periodic_table import block
from atomlens.explain.subject import NamedModel, Subject
from atomlens.figures import embeddings as drawing
from atomlens.panel import Chart, Check, Panel, Series, Table

_SPACES = {
    "embedding": "the embedding",
    "heard": "what neighbours hear of it",
    "change": "what training added to it",
}
_CLASSES = {
    "group": "group (main-group elements)",
    "period": "period (main-group elements)",
    "block": "block s, p, d or f",
}
_SO_RARE = 0.002  # p of the control; of 1,000 redistributions fewer than two then reach the score
_RARE = 0.01  # by chance alone in one of a hundred models
_NEIGHBOURS = 3
_DRAWS_OF_VARIANCE = 200


@dataclass(frozen=True)
class _Seen:
    """The embeddings of one model, with what is said about them."""

    entry: NamedModel
    embeddings: ElementEmbeddings
    seed: int

    @cached_property
    def drawn(self) -> ElementEmbeddings:
        """The elements of the map."""
        return drawn_elements(self.embeddings)

    @cached_property
    def scores(self) -> dict[tuple[str, str], ClusterScore]:
        """By space and classes; empty where the elements are too few."""
        found = {}
        for classes in _CLASSES:
            chosen = self.embeddings if classes == "block" else self.drawn
            for space, vectors in chosen.spaces.items():
                labels, layer = _labels(chosen, classes), self._layer(space)
                try:
                    found[space, classes] = cluster_score(vectors, labels, through=layer, seed=self.seed)
                except InputError:
                    continue
        return found

    @cached_property
    def explained(self) -> dict[str, Chance]:
        """The two leading components' share of the variance, by space, against random embeddings."""
        found, width = {}, self.embeddings.vectors.shape[1]
        for space, vectors in self.drawn.spaces.items():
            share = principal_components(vectors, self.drawn.numbers).explained[:2].sum()
            drawn = explained_by_chance(
                len(vectors), width, 2, through=self._layer(space), draws=_DRAWS_OF_VARIANCE, seed=self.seed
            )
            found[space] = Chance.of(float(share), drawn)
        return found

    @cached_property
    def order(self) -> dict[str, tuple[dict[object, GroupOrder], float]]:
        """Within groups, by space: whether elements stand in the order of their periods along a component."""
        groups = [number or None for number in classes_of(self.drawn.numbers, "group")]
        periods = np.array(classes_of(self.drawn.numbers, "period"))
        found = {}
        for space, vectors in self.drawn.spaces.items():
            places = principal_components(vectors, self.drawn.numbers).places[:, :2]
            by_group, p = order_within_classes(places, groups, periods, seed=self.seed)
            found[space] = dict(by_group), p
        return found

    @property
    def moved(self) -> tuple[float, float] | None:
        """Mean lengths of what training added and of the embedding; None where the start is not known."""
        if self.embeddings.change is None:
            return None
        change, vectors = (np.linalg.norm(part, axis=1) for part in (self.embeddings.change, self.embeddings.vectors))
        return float(change.mean()), float(vectors.mean())

    def _layer(self, space: str) -> np.ndarray | None:
        return self.embeddings.layer if space == "heard" else None


def _labels(embeddings: ElementEmbeddings, classes: str) -> list[Any]:
    """The class of each element; one that has no group is a stranger to all others."""
    if classes == "block":
        return [block(int(number)) for number in embeddings.numbers]
    if classes == "period":
        return classes_of(embeddings.numbers, "period")
    groups = classes_of(embeddings.numbers, "group")
    return [found or f"none: {name}" for found, name in zip(groups, embeddings.symbols, strict=True)]


def _of_models(subject: Subject) -> Panel:
    """Maps of the elements, and what they are worth, of the first model that has enough of them."""
    seen = _with_embeddings(subject)
    first = seen[0]
    agreements = [(other.entry.name, _agreements(first, other)) for other in seen[1:]]
    kinds: tuple[tuple[str, Literal["group", "period"]], ...] = (
        ("embedding", "group"), ("embedding", "period"), ("heard", "group")
    )  # fmt: skip
    kinds = tuple(kind for kind in kinds if kind[0] in first.drawn.spaces)
    return Panel(
        ANALYSIS.name,
        reading=_reading(first),
        trust=_trust(first, agreements),
        checks=tuple(_checks(first)),
        facts=_facts(first, seen, agreements),
        figures={f"{space}_by_{by}": first.embeddings.plot(space, by) for space, by in kinds},
        tables=_tables(first, seen, agreements),
        views=tuple(_chart(first, space, by) for space, by in kinds),
    )


def _with_embeddings(subject: Subject) -> list[_Seen]:
    """The models that have embeddings of at least three elements.

    Raises:
        InputError: there is none; the reason of the first model.
    """
    found, problems = [], []
    for entry in subject.models:
        try:
            embeddings = element_embeddings(entry.model)
            if len(embeddings.numbers) < FEWEST:
                known = " and ".join(embeddings.symbols)
                raise InputError(
                    f"knows {known} alone, too few for a map of elements; use one trained on more elements"
                )
            found.append(_Seen(entry, embeddings, subject.config.seed))
        except InputError as error:
            problems.append(InputError(f"model {entry.name} {error.problem}"))
    if not found:
        raise problems[0]
    return found


def _agreements(first: _Seen, other: _Seen) -> dict[str, Agreement]:
    """How far two models agree on which elements are alike, by space; none with fewer than four common elements.

    Embeddings that started from the same random numbers agree without having learned anything: they are left out.
    """
    common = np.intersect1d(first.embeddings.numbers, other.embeddings.numbers)
    if len(common) < 4:
        return {}
    one, two = (part.only(np.isin(part.numbers, common)) for part in (first.embeddings, other.embeddings))
    same = one.initial is not None and two.initial is not None and np.array_equal(one.initial, two.initial)
    return {
        space: agreement(one.spaces[space], two.spaces[space], seed=first.seed)
        for space in one.spaces
        if space in two.spaces and not (same and space == "embedding")
    }


def _reading(seen: _Seen) -> str:
    drawn, explained = seen.drawn, seen.explained["embedding"]
    names = "main-group elements" if drawn.main_group.all() else "elements"
    words = [
        f"The network starts from {seen.embeddings.vectors.shape[1]} learned numbers for each of its "
        f"{len(seen.embeddings.numbers)} elements; the map's two directions show {explained.value:.0%} of the "
        f"variance among {len(drawn.numbers)} {names}, where random numbers show {explained.mean:.0%}; elements may "
        "look closer in it than they are."
    ]
    if ("embedding", "group") in seen.scores:
        heard = "In what neighbours hear of an element in the first pass (W A[Z])"
        words += [_of_groups(seen, "embedding", "In the embedding itself"), _of_groups(seen, "heard", heard)]
    else:
        nearest = seen.embeddings.nearest(1)
        pairs = ", ".join(f"{row[0]} to {own}" for own, row in zip(seen.embeddings.symbols, nearest, strict=True))
        words.append(
            f"Nearest in the embedding are {pairs}. Whether elements of a group lie together cannot be told from "
            f"chance with so few: that takes {FEWEST_ELEMENTS} elements or more, {FEWEST_PARTNERED} of them with "
            "another of their group, such as a model of crystals has."
        )
    if seen.moved:
        change, length = seen.moved
        words.append(
            f"Training moved the embeddings by {change:.2g} of a length of {length:.2g}; the rest is the random start."
        )
    return " ".join(word for word in words if word)


def _of_groups(seen: _Seen, space: str, where: str) -> str:
    score = seen.scores.get((space, "group"))
    if score is None:
        return ""
    p = score.permuted.p
    found = "more than chance gives" if p < _RARE else "no more than chance may give"
    return (
        f"{where}, an element of the same group is nearer than one of another in {score.value:.0%} of comparisons: "
        f"{found} (50% by chance, p = {p:.2g})."
    )


def _trust(seen: _Seen, others: list[tuple[str, dict[str, Agreement]]]) -> str:
    start = (
        "its start was drawn anew from the seed of its training"
        if seen.embeddings.initial is not None
        else "its start is not known, so what training added cannot be told from it"
    )
    words = [f"Shown is model {seen.entry.name}; {start}."]
    for name, spaces in others:
        said = ", ".join(
            f"{found.correlation.value:.2f} in {_SPACES[space]} (p = {found.correlation.p:.2g})"
            for space, found in spaces.items()
        )
        words.append(f"Distances between elements correlate with those of model {name} by {said}." if said else "")
    if not others:
        words.append(
            "One model alone does not show what another random start would give; add one trained with another."
        )
    if seen.scores:
        draws = next(iter(seen.scores.values())).permuted.draws
        kinds = " or ".join(f"{classes}s" for classes in _CLASSES if any(found[1] == classes for found in seen.scores))
        words.append(f"Chance is {draws} random redistributions of {kinds} over the elements.")
    return " ".join(word for word in words if word)


def _checks(seen: _Seen) -> list[Check]:
    embeddings = seen.embeddings
    checks = []
    for space in ("embedding", "heard"):
        if (space, "group") in seen.scores:
            score = seen.scores[space, "group"]
            checks += [_chance_check(f"groups lie together: {_SPACES[space]}", space, score.permuted,
                                     "random redistributions of groups"),
                       _chance_check(f"groups lie together: {_SPACES[space]}, against random numbers", space,
                                     score.random, "random embeddings")]  # fmt: skip
    if embeddings.initial is not None and ("embedding", "group") in seen.scores:
        start = embeddings.initial[np.isin(embeddings.numbers, seen.drawn.numbers)]
        control = cluster_score(start, _labels(seen.drawn, "group"), seed=seen.seed).permuted.p
        checks.append(Check("control: the random start", "The same score of the embeddings before training, where "
                            "nothing can be found; by chance alone it fails for 1 of 500 models", control,
                            f"p of {_SO_RARE:g} or more", "", control >= _SO_RARE))  # fmt: skip
    full = principal_components(embeddings.vectors, embeddings.numbers).places
    off = np.abs(np.linalg.norm(full[:, None] - full, axis=-1) - _distances(embeddings.vectors)).max()
    checks.append(Check("principal components", "Distances between elements in all components against those between "
                        "their embeddings", float(off), "below 1e-9", "", bool(off < 1e-9)))  # fmt: skip
    return checks


def _chance_check(name: str, space: str, chance: Chance, dealt: str) -> Check:
    what = f"How often {dealt} give as high a score ({_SPACES[space]})"
    return Check(name, what, chance.p, f"p below {_RARE:g}", "", chance.p < _RARE, claim=True)


def _distances(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.norm(vectors[:, None] - vectors, axis=-1))


def _facts(first: _Seen, seen: list[_Seen], agreements: list[tuple[str, dict[str, Agreement]]]) -> dict[str, Any]:
    return {
        "model": first.entry.name,
        **first.embeddings.to_dict(),
        "explained_by_two": {space: asdict(chance) for space, chance in first.explained.items()},
        "clusters": [
            {"model": each.entry.name, "space": space, "classes": classes, **score.to_dict()}
            for each in seen
            for (space, classes), score in each.scores.items()
        ],
        "order_within_groups": {
            space: {"groups": {str(name): asdict(found) for name, found in by_group.items()}, "p": p}
            for space, (by_group, p) in first.order.items()
        },
        "agreement": {name: {space: asdict(found) for space, found in spaces.items()} for name, spaces in agreements},
    }


def _tables(first: _Seen, seen: list[_Seen], agreements: list[tuple[str, dict[str, Agreement]]]) -> tuple[Table, ...]:
    scores = tuple(
        (each.entry.name, _SPACES[space], _CLASSES[classes], score.elements, round(score.value, 3),
         round(score.permuted.z, 1), round(score.permuted.p, 4), round(score.random.z, 1), round(score.random.p, 4))
        for each in seen
        for (space, classes), score in each.scores.items()
    )  # fmt: skip
    agree = tuple(
        (name, _SPACES[space], found.elements, round(found.correlation.value, 3), round(found.correlation.p, 4))
        for name, spaces in agreements
        for space, found in spaces.items()
    )
    tables = (
        Table("Are elements of one kind nearer than others? (share of comparisons; 0.5 by chance)",
              ("model", "where", "kind", "elements", "share", "z, kinds dealt out", "p, kinds dealt out",
               "z, random embeddings", "p, random embeddings"), scores),
        Table("Are elements of a group in the order of their periods? (Kendall's τ; ±1 is perfect order)",
              ("where", "group", "along component 1", "along component 2", "p"), _order_rows(first)),
        Table(f"Do models agree which elements are alike? (Spearman's correlation with {first.entry.name})",
              ("model", "where", "elements", "correlation", "p"), agree),
        _neighbour_table(first.embeddings),
    )  # fmt: skip
    return tuple(table for table in tables if table.rows)


def _order_rows(seen: _Seen) -> tuple[tuple[str | int | float, ...], ...]:
    rows: list[tuple[str | int | float, ...]] = []
    for space, (by_group, p) in seen.order.items():
        for name, found in by_group.items():
            if name in (1, 2):
                taus = [round(tau, 2) for tau in found.taus]
                rows.append((_SPACES[space], drawing.class_name(int(str(name)), "group"), *taus, round(found.p, 3)))
        if by_group:
            rows.append((_SPACES[space], "all groups of four or more", "", "", round(p, 3)))
    return tuple(rows)


def _neighbour_table(embeddings: ElementEmbeddings) -> Table:
    lists = [embeddings.nearest(_NEIGHBOURS, space=space) for space in embeddings.spaces]
    lists.append(embeddings.nearest(_NEIGHBOURS, "cosine"))
    columns = [f"by distance in {_SPACES[space]}" for space in embeddings.spaces]
    rows = tuple(
        (own, *(", ".join(found) for found in row)) for own, *row in zip(embeddings.symbols, *lists, strict=True)
    )
    return Table("Nearest elements", ("element", *columns, "by angle in the embedding"), rows)


def _chart(seen: _Seen, space: str, by: Literal["group", "period"]) -> Chart:
    found = principal_components(seen.drawn.spaces[space], seen.drawn.numbers)
    classes, symbols = np.array(classes_of(seen.drawn.numbers, by)), np.array(seen.drawn.symbols)
    series = []
    for number in sorted(set(classes.tolist())):
        rows = classes == number
        x, y = found.places[rows, 0], found.places[rows, 1]
        name, colour = drawing.class_name(number, by), drawing.class_colour(number, by)
        series.append(Series(name, x, y, mode="text", labels=tuple(symbols[rows].tolist()), colour=colour))
    first, second = (drawing.component_name(place, share) for place, share in enumerate(found.explained[:2].tolist()))
    return Chart(f"Elements in {_SPACES[space]}, by {by}", first, second, tuple(series), equal=True)


ANALYSIS = Analysis(
    "embeddings",
    "Which elements are alike",
    "Every element Z enters the network as a learned vector A[Z]; drawn are its two leading principal components, and "
    "those of W A[Z], which neighbours hear of it in the first pass.",
    "Thesis 4.5.5 and fig. 4.15; insights paper 3.3 and fig. 7",
    of_models=_of_models,
)
