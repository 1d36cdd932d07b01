"""The panel of alchemical paths: benzene, pyridine, pyrazine, s-triazine (thesis 3.6.3, fig. 3.16)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import pdist

from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem, symbol
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.explain.alchemy.alchemical_path import Geometry, mixes_elements
from atomlens.explain.alchemy.azine_chain import AzineChain, azine_chain
from atomlens.explain.alchemy.azines import AZINES, SITES, azine, occupied
from atomlens.explain.analysis import Analysis
from atomlens.explain.baseline import energy_baseline
from atomlens.explain.subject import Subject
from atomlens.figures import alchemy as drawing
from atomlens.model import Model
from atomlens.panel import Chart, Check, Panel, Series, Table

GEOMETRIES: tuple[Geometry, ...] = ("fixed", "interpolated")
_LABELS = {"fixed": "fixed where benzene has them", "interpolated": "moved to where each molecule has them"}
_SAME_MOLECULE = 0.05  # Å, between corresponding distances of two geometries


def labelled_energies(data: Dataset, molecules: Sequence[AtomicSystem]) -> np.ndarray:
    """Energy labels (molecules,) in eV of structures that are these molecules, NaN where there is none.

    A structure is taken for a molecule if it has its atoms, and every distance between two of given elements, put in
    order, is the same to 0.05 Å.
    """
    found = np.full(len(molecules), np.nan)
    labels = data.labels.get("energy", np.full(len(data), np.nan))
    for place, molecule in enumerate(molecules):
        for row in np.flatnonzero((data.n_atoms == len(molecule.numbers)) & np.isfinite(labels)):
            if _same(data[int(row)], molecule):
                found[place] = labels[row]
                break
    return found


def _same(first: AtomicSystem, second: AtomicSystem) -> bool:
    if first.pbc.any() or not np.array_equal(np.sort(first.numbers), np.sort(second.numbers)):
        return False
    return bool(np.abs(_distances(first) - _distances(second)).max() < _SAME_MOLECULE)


def _distances(system: AtomicSystem) -> np.ndarray:
    """Distances of all pairs, in order within each pair of elements."""
    first, second = np.triu_indices(len(system.numbers), k=1)
    ends = np.sort(np.stack([system.numbers[first], system.numbers[second]]), axis=0)
    lengths = pdist(system.positions)
    return np.asarray(lengths[np.lexsort((lengths, ends[1], ends[0]))])


def _of_models(subject: Subject) -> Panel:
    chains = _chains(subject)
    name, shown = next(iter(chains.items()))
    energies, _ = energy_baseline(_serving(subject)[name], shown["fixed"].relative_to)
    molecules = [azine(each) for each in AZINES]
    labels = labelled_energies(subject.data, molecules)
    labels = labels - [energies[molecule.numbers].sum() for molecule in molecules]
    return Panel(
        ANALYSIS.name,
        reading=_reading(shown, labels),
        trust=_trust(chains, labels),
        checks=_checks(chains, labels),
        facts={
            "unit": "eV",
            "models": {each: _facts(found, terms=each == name) for each, found in chains.items()},
            "labels": [float(value) if np.isfinite(value) else None for value in labels],
        },
        figures=_figures(chains, shown, labels),
        tables=(_table(shown, labels),),
        views=(*_energy_charts(chains, shown, labels), _site_chart(shown["fixed"])),
    )


def _facts(found: Shown, *, terms: bool) -> dict[str, Any]:
    """Of one model; the terms of atoms are many numbers, and kept of the model shown alone."""
    facts = {key: chain.to_dict() for key, chain in found.items()}
    return {key: {k: v for k, v in each.items() if terms or k != "site_energies"} for key, each in facts.items()}


def _serving(subject: Subject) -> dict[str, Model]:
    """Models that can mix H, C and N, in float64: ends of paths then are the molecules to far below 1e-6 eV."""
    found = {
        entry.name: copy.deepcopy(entry.model).set_precision(torch.float64)
        for entry in subject.serving("energy")
        if mixes_elements(entry.model) and {1, 6, 7} <= set(entry.model.elements)
    }
    if not found:
        raise InputError(
            "the path from benzene to s-triazine needs a model of energies that has features of elements (SchNet or "
            "DTNN) and was trained on H, C and N; give one"
        )
    return found


def _chains(subject: Subject) -> dict[str, dict[Geometry, AzineChain]]:
    return {
        name: {geometry: azine_chain(model, geometry) for geometry in GEOMETRIES}
        for name, model in _serving(subject).items()
    }


Chains = Mapping[str, Mapping[Geometry, AzineChain]]
Shown = Mapping[Geometry, AzineChain]


def _kcal(value: float) -> str:
    return f"{value / KCAL_PER_MOL:,.1f} kcal/mol".replace("-", "−")


def _largest(values: np.ndarray) -> float:
    """The value of largest magnitude."""
    return float(values[np.abs(values).argmax()])


def _reading(shown: Shown, labels: np.ndarray) -> str:
    fixed, moved = (shown[geometry] for geometry in GEOMETRIES)
    barriers = np.array([[leg.barrier for leg in chain.legs] for chain in (fixed, moved)])
    bends = [_largest(chain.bow) for chain in (fixed, moved)]
    lower = float((moved.energy - fixed.energy).max()) < 1e-6
    sentences = [
        "Carbon is turned into nitrogen step by step by mixing what the network knows of the two elements, and "
        "hydrogens fade.",
        f"From benzene to s-triazine, with the atoms moved to where each molecule has them, the energy relative to "
        f"{moved.relative_to} rises by {_kcal(moved.rise)}"
        + (f" (the data set says {_kcal(labels[-1] - labels[0])})." if np.isfinite(labels[[0, -1]]).all() else "."),
        f"With the atoms held where benzene has them it rises by {_kcal(fixed.rise)} and leaves the straight lines "
        f"between the molecules by {_kcal(abs(bends[0]))} at most; with moving atoms by {_kcal(abs(bends[1]))}, and "
        f"{'everywhere' if lower else 'not everywhere'} below the other path.",
    ]
    if barriers.max() < 1e-3 * KCAL_PER_MOL:
        sentences.append("No path rises above its higher end: there is no barrier.")
    else:
        row, leg = np.unravel_index(barriers.argmax(), barriers.shape)
        sentences.append(
            f"The highest barrier, {_kcal(barriers.max())}, lies between {AZINES[leg]} and {AZINES[leg + 1]} "
            f"({_LABELS[GEOMETRIES[row]]})."
        )
    return " ".join(sentences)


def _trust(chains: Chains, labels: np.ndarray) -> str:
    count = int(np.isfinite(labels).sum())
    parts = [
        "Half an atom of nitrogen is in no training set: between the molecules energies are extrapolations, and only "
        "the molecules can be checked."
    ]
    if len(chains) == 1:
        parts.append("One model; how stable the path is cannot be told.")
    else:
        fixed, moved = (
            sorted(abs(_largest(found[key].bow)) / KCAL_PER_MOL for found in chains.values()) for key in GEOMETRIES
        )
        parts.append(
            f"{len(chains)} models: their paths leave the straight lines by {fixed[0]:.1f} to {fixed[-1]:.1f} kcal/mol "
            f"with the atoms held, by {moved[0]:.1f} to {moved[-1]:.1f} kcal/mol with moving atoms{_rises(chains)}."
        )
    if next(iter(chains.values()))["fixed"].relative_to == "references":
        parts.append(
            "Energies are measured from offsets that were fitted per element, so rises and barriers depend on these; "
            "what lies above the straight lines does not."
        )
    if count:
        parts.append(
            f"The data set has labels of {'all four' if count == len(AZINES) else f'{count} of the'} molecules."
        )
    else:
        parts.append("The data set has none of the four molecules, so their energies are unchecked here.")
    return " ".join(parts)


def _rises(chains: Chains) -> str:
    """How far the rises of models with one baseline are apart."""
    first = next(iter(chains.values()))["interpolated"].relative_to
    alike = [found["interpolated"] for found in chains.values() if found["interpolated"].relative_to == first]
    if len(alike) < 2 or first == "references":  # references are fitted to each training set anew
        return ""
    rises = np.array([chain.rise for chain in alike]) / KCAL_PER_MOL
    return f", and rise by {rises.min():,.1f} to {rises.max():,.1f} kcal/mol"


def _checks(chains: Chains, labels: np.ndarray) -> tuple[Check, ...]:
    legs = [leg for found in chains.values() for chain in found.values() for leg in chain.legs]
    ends = max(leg.end_error for leg in legs)
    integral = max(abs(leg.integrated - float(leg.energy[-1] - leg.energy[0])) for leg in legs) / KCAL_PER_MOL
    checks = [
        Check("ends of alchemical paths", "The ends of every path against the molecules by themselves.",
              ends, "below 1e-6 eV", "eV", ends < 1e-6),
        Check("slopes of alchemical paths", "The integral of dE/dα, by differentiating the network, against the "
              "difference of the ends.", integral, "below 0.1 kcal/mol", "kcal/mol", integral < 0.1),
    ]  # fmt: skip
    if np.isfinite(labels[[0, -1]]).all():
        rise, known = next(iter(chains.values()))["interpolated"].rise, labels[-1] - labels[0]
        off = float(abs(rise / known - 1.0))
        what = "The predicted rise from benzene to s-triazine against the labels of the data set."
        checks.append(
            Check("rise to s-triazine", what, off, "below 0.02 of the labelled rise", "1", off < 0.02, claim=True)
        )
    return tuple(checks)


def _table(shown: Shown, labels: np.ndarray) -> Table:
    rows = []
    for place, name in enumerate(AZINES):
        moved, fixed = (float(shown[key].plain[place] / KCAL_PER_MOL) for key in ("interpolated", "fixed"))
        label = float(labels[place] / KCAL_PER_MOL)
        known = np.isfinite(label)
        rows.append((name, moved, label if known else "–", moved - label if known else "–", fixed))
    baseline = shown["fixed"].relative_to
    columns = ("molecule", "predicted", "label", "difference", "predicted where benzene has its atoms")
    return Table(f"Energies relative to {baseline} (kcal/mol)", columns, tuple(rows))


def _histories() -> list[str]:
    """What each site is in the four molecules."""
    found = [["·"] * len(AZINES) for _ in range(SITES)]
    for column, name in enumerate(AZINES):
        for site, number in zip(occupied(name), azine(name).numbers, strict=True):
            found[site][column] = symbol(int(number))
    return ["→".join(row) for row in found]


def _figures(chains: Chains, shown: Shown, labels: np.ndarray) -> dict[str, Any]:
    label = f"energy relative to {shown['fixed'].relative_to}"
    first = [
        drawing.Curve(_LABELS[key], shown[key].alpha, shown[key].energy, shown[key].plain, place)
        for place, key in enumerate(GEOMETRIES)
    ]
    bends = [
        drawing.Curve(f"{name}, {key}", found[key].alpha, found[key].bow, None, place, dashes)
        for dashes, (name, found) in enumerate(chains.items())
        for place, key in enumerate(GEOMETRIES)
    ]
    terms = shown["fixed"].site_energies
    return {
        "alchemical_path": drawing.alchemical_path(
            first, AZINES, label, labelled=labels, atom_energies=terms, atoms=_histories()
        ),
        "alchemical_bends": drawing.alchemical_path(bends, AZINES, "energy above the straight lines"),
    }


def _energy_charts(chains: Chains, shown: Shown, labels: np.ndarray) -> list[Chart]:
    where = "α (" + ", ".join(f"{place} {name}" for place, name in enumerate(AZINES)) + ")"
    stations = np.arange(len(AZINES), dtype=float)
    energies = [
        Series(_LABELS[key], chain.alpha, chain.energy / KCAL_PER_MOL, colour=drawing.COLOURS[place])
        for place, (key, chain) in enumerate(shown.items())
    ]
    energies += [
        Series(f"molecules by themselves, {key}", stations, chain.plain / KCAL_PER_MOL, "markers", AZINES,
               drawing.COLOURS[place])
        for place, (key, chain) in enumerate(shown.items())
    ]  # fmt: skip
    if np.isfinite(labels).any():
        known = np.isfinite(labels)
        names = tuple(np.array(AZINES)[known].tolist())
        energies.append(Series("labels of the data set", stations[known], labels[known] / KCAL_PER_MOL, "text", names))
    bends = [
        Series(f"{name}, {key}", chain.alpha, chain.bow / KCAL_PER_MOL)
        for name, found in chains.items()
        for key, chain in found.items()
    ]
    baseline = shown["fixed"].relative_to
    return [
        Chart("Energy along the path", where, f"energy relative to {baseline} (kcal/mol)", tuple(energies)),
        Chart("Bends of the path", where, "energy above the straight lines (kcal/mol)", tuple(bends)),
    ]


def _site_chart(chain: AzineChain) -> Chart:
    """Terms of the atoms; sites of one history are told apart by their numbers."""
    series = [
        Series(f"site {site} {history}", chain.alpha, chain.site_energies[:, site] / KCAL_PER_MOL)
        for site, history in enumerate(_histories())
    ]
    where = "α (" + ", ".join(f"{place} {name}" for place, name in enumerate(AZINES)) + ")"
    title = "Terms of the atoms, held where benzene has them"
    return Chart(title, where, f"term relative to {chain.relative_to} (kcal/mol)", tuple(series))


ANALYSIS = Analysis(
    "alchemy",
    "Alchemical paths",
    "One molecule is morphed into another by mixing element features, x_i = α A[end] + (1-α) A[start], and by fading "
    "the messages and terms of atoms that come or go: benzene, pyridine, pyrazine, s-triazine.",
    "Thesis 3.6.3, eq. 3.14 and 3.15, fig. 3.16",
    of_models=_of_models,
)
