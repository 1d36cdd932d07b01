"""Latent charges of a data set: their distributions, and how they stand to other physics and to other models.

Insights paper 3.1 and fig. 4. Charges are no observables: every scheme divides a density in its own way. What can be
judged is the dipole vectors that they give, of which training may have seen the lengths alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_masses

from atomlens.data.dataset import Dataset
from atomlens.data.system import symbol
from atomlens.errors import InputError
from atomlens.explain.analysis import Analysis
from atomlens.explain.electrostatics import charge_views as views
from atomlens.explain.electrostatics.charge_comparison import (
    CLEAR_CHARGE,
    ChargeAgreement,
    DipoleAgreement,
    ModelPair,
    charge_stability,
    compare_charges,
    compare_dipoles,
    known,
)
from atomlens.explain.electrostatics.charge_sign import ChargeSign, conserves_charge, sign_in
from atomlens.explain.electrostatics.charge_views import listed, signed
from atomlens.explain.electrostatics.xtb_charges import XTB, XtbMolecule, XtbMolecules, has_tblite, xtb_charges
from atomlens.explain.subject import Subject
from atomlens.panel import Check, Distribution, Panel
from atomlens.wording import counted

LABELLED = "labelled"  # what a reference from the data set is called
XTB_STRUCTURES, XTB_ATOMS, XTB_LARGEST = 60, 1500, 80  # as many as take about a second; atoms of all, and of one
_OF_VECTORS = {LABELLED: "the data"}


@dataclass(frozen=True)
class SignedCharges:
    """A model's charges and dipole vectors over a data set, with their sign fixed."""

    name: str  # of the model
    sign: ChargeSign
    charges: np.ndarray  # (atoms,) e
    dipoles: np.ndarray  # (structures, 3) e·Å, about the centre of mass
    conserved: bool  # whether the readout makes charges add up


@dataclass(frozen=True)
class XtbSample:
    """What GFN2-xTB says of some structures of a data set."""

    places: np.ndarray  # (structures asked,) in the data set
    result: XtbMolecules  # by the place among those asked

    @property
    def found(self) -> dict[int, XtbMolecule]:
        """By the place in the data set."""
        return {int(self.places[place]): molecule for place, molecule in self.result.found.items()}

    @property
    def failed(self) -> dict[int, str]:
        """Reasons by the place in the data set."""
        return {int(self.places[place]): problem for place, problem in self.result.failed.items()}


def signed_charges(subject: Subject) -> list[SignedCharges]:
    """The charges of every model that has some and can serve the data set, in the order of the models.

    Raises:
        InputError: no model predicts charges, or each refuses a structure of the data set.
    """
    found, problem = [], None
    for entry in subject.serving("charges"):
        try:
            predicted = subject.predicted(entry)
        except InputError as error:
            problem = error
            continue
        sign = sign_in(subject, entry)
        charges, dipoles = (sign.factor * predicted[name] for name in ("charges", "dipole"))
        found.append(SignedCharges(entry.name, sign, charges, dipoles, conserves_charge(entry.model)))
    if not found:
        assert problem is not None
        raise problem
    return found


def _of_models(subject: Subject) -> Panel:
    """Charges of the first model over the data set, beside references and the other models."""
    data, models = subject.data, signed_charges(subject)
    shown = models[0]
    xtb = _by_xtb(data, subject.config.seed)
    references = _charge_references(data, xtb)
    charges, points = compare_charges(data.numbers, shown.charges, references), _of_point_charges(data, references)
    dipoles = _dipole_agreements(data, shown.dipoles, xtb)
    elements = {symbol(number): data.numbers == number for number in data.elements}
    named = {model.name: model.charges for model in models}
    first, *others = named.items()
    pairs = charge_stability(data.numbers, named)
    return Panel(
        ANALYSIS.name,
        reading=_reading(shown, elements, charges, dipoles, points, len(data)),
        trust=_trust(models, pairs, xtb),
        checks=(*_sum_checks(data, shown), *_reference_checks(charges, dipoles, pairs)),
        facts=_facts(models, charges, dipoles, points, pairs, xtb),
        figures=views.figures(named, elements, charges, dipoles),
        tables=views.tables(charges, dipoles, pairs),
        views=(
            Distribution("latent charge", "e", {name: shown.charges[chosen] for name, chosen in elements.items()}),
            *(views.charge_chart(agreement) for agreement in charges.values()),
            *(views.dipole_chart(name, agreement) for name, agreement in dipoles.items()),
            *(views.model_chart(*pair, elements) for pair in [(first, other) for other in others]),
        ),
    )


def _by_xtb(data: Dataset, seed: int) -> XtbSample | None:
    """What GFN2-xTB says of randomly chosen structures; None where tblite is not installed."""
    if not has_tblite():
        return None
    order = np.random.default_rng(seed).permutation(len(data))
    order = order[(data.n_atoms[order] <= XTB_LARGEST) & ~data.pbc[order].any(axis=1)][:XTB_STRUCTURES]
    places = order[np.cumsum(data.n_atoms[order]) <= XTB_ATOMS]
    return XtbSample(places, xtb_charges([data[int(place)] for place in places]))


def _charge_references(data: Dataset, xtb: XtbSample | None) -> dict[str, np.ndarray]:
    """Charges by the name of their scheme, (atoms,) in e, NaN where not known."""
    found = {}
    if "charges" in data.labels and np.isfinite(data.labels["charges"]).any():
        found[_label_name(data)] = np.asarray(data.labels["charges"])
    if xtb is not None and xtb.found:
        values = np.full(len(data.numbers), np.nan)
        for place, molecule in xtb.found.items():
            values[data.offsets[place] : data.offsets[place + 1]] = molecule.charges
        found[XTB] = values
    return found


def _label_name(data: Dataset) -> str:
    """What the labelled charges are called in the file, without the word charges."""
    key = str(data.metadata.get("labels", {}).get("charges", {}).get("key", ""))
    name = re.sub(r"_*(partial_)?charges?$", "", key).replace("_", " ").strip()
    named = {"loewdin": "Löwdin", "lowdin": "Löwdin"}.get(name.lower(), name[:1].upper() + name[1:])
    return named or LABELLED


def _dipole_agreements(data: Dataset, dipoles: np.ndarray, xtb: XtbSample | None) -> dict[str, DipoleAgreement]:
    """By the name of the reference. Ions are left out: their dipole moment depends on the origin."""
    neutral = data.charge == 0.0
    found = {}
    if "dipole" in data.labels:
        reference = np.where(neutral[:, None], data.labels["dipole"], np.nan)
        if np.isfinite(reference).all(axis=1).any():
            found[LABELLED] = compare_dipoles(dipoles, reference)
    if xtb is not None:
        vectors = {place: molecule.dipole for place, molecule in xtb.found.items() if neutral[place]}
        if vectors:
            found[XTB] = compare_dipoles(dipoles[list(vectors)], np.stack(list(vectors.values())))
    return found


def _of_point_charges(data: Dataset, charges: Mapping[str, np.ndarray]) -> dict[str, DipoleAgreement]:
    """Dipole vectors that reference charges give as points, beside the labelled vectors, by the scheme's name."""
    if "dipole" not in data.labels:
        return {}
    found = {}
    for name, q in charges.items():
        vectors = np.add.reduceat(q[:, None] * data.positions, data.offsets[:-1])
        usable = (
            (data.charge == 0.0) & np.isfinite(vectors).all(axis=1) & np.isfinite(data.labels["dipole"]).all(axis=1)
        )
        if usable.any():
            found[name] = compare_dipoles(vectors[usable], data.labels["dipole"][usable])
    return found


def _reading(
    shown: SignedCharges,
    elements: Mapping[str, np.ndarray],
    charges: Mapping[str, ChargeAgreement],
    dipoles: Mapping[str, DipoleAgreement],
    points: Mapping[str, DipoleAgreement],
    structures: int,
) -> str:
    means = listed([f"{name} {signed(float(shown.charges[chosen].mean()))} e" for name, chosen in elements.items()])
    words = [f"Over {counted(structures, 'structure')}, {shown.name} gives its atoms on average: {means}."]
    explained = " (1: in step, 0: unrelated)"
    for name, agreement in charges.items():
        rows = [row for row in agreement.per_element if np.isfinite(row.correlation)]
        within = [f"{row.element} {signed(row.correlation)}" for row in rows]
        same = agreement.overall.same_sign
        share = f"{100.0 * same:.0f} % of the atoms have the same sign" if np.isfinite(same) else ""
        if within:
            follow = f"Within an element they follow {name} charges with a correlation{explained} of {listed(within)}"
            words.append(f"{follow}, and {share}." if share else f"{follow}.")
            explained = ""
        elif share:
            words.append(f"As {name} charges, {share}.")
    angles = [
        f"{np.median(each.angles):.1f}° ({counted(len(each.angles), 'molecule')}) from those of "
        f"{_OF_VECTORS.get(name, name)}"
        for name, each in dipoles.items()
        if len(each.angles)
    ]
    if angles:
        yet = "Of dipole moments only lengths were learned, yet the" if shown.sign.lengths_only else "The"
        words.append(f"{yet} predicted vectors differ in direction by a median of {listed(angles)}.")
    others = [f"{np.median(each.angles):.1f}° for {name} charges" for name, each in points.items() if len(each.angles)]
    if angles and others:
        words.append(
            f"With the reference charges as points, vectors differ from those of the data by {listed(others)}."
        )
    return " ".join(words)


def _trust(models: list[SignedCharges], pairs: tuple[ModelPair, ...], xtb: XtbSample | None) -> str:
    words = [models[0].sign.sentence]
    varied = [pair for pair in pairs if np.isfinite(pair.within_elements)]
    if varied:
        worst = min(varied, key=lambda pair: pair.within_elements)
        words.append(
            f"Of {len(models)} models {worst.first} and {worst.second} agree least: within elements their charges have "
            f"a correlation of {worst.within_elements:.2f} and differ by {worst.relative:.2f} of their spread."
        )
    elif not pairs:
        words.append("There is one model here; give more of them to see how far charges depend on the training.")
    words.append("Charges of atoms cannot be measured, and schemes of quantum chemistry differ among themselves.")
    if xtb is None:
        words.append("GFN2-xTB was not asked: pip install 'atomlens[xtb]'.")
    elif xtb.failed:
        structures = counted(len(xtb.places), "structure")
        words.append(f"GFN2-xTB could not treat {len(xtb.failed)} of {structures}; what failed is left out.")
    return " ".join(words)


def _sum_checks(data: Dataset, shown: SignedCharges) -> tuple[Check, ...]:
    """What charges must add up to, calculated anew from the structures."""
    start = data.offsets[:-1]
    owner = np.repeat(np.arange(len(data)), data.n_atoms)
    masses = atomic_masses[data.numbers]
    mass = np.add.reduceat(masses, start)
    centre = np.add.reduceat(masses[:, None] * data.positions, start) / mass[:, None]
    dipole = np.add.reduceat(shown.charges[:, None] * (data.positions - centre[owner]), start)
    missing = float(np.abs(np.add.reduceat(shown.charges, start) - data.charge).max())
    off = float(np.abs(dipole - shown.dipoles).max())
    return (
        views.sum_check(
            "the charges of each structure are added and held against its total charge; the largest difference",
            missing,
            shown.conserved,
        ),
        Check(
            "dipole of the charges",
            "Σ q (r - centre of mass), calculated anew, against the model's dipole vectors; the largest difference",
            off,
            "below 1e-6 e·Å",
            "e·Å",
            off < 1e-6,
        ),
    )


def _reference_checks(
    charges: Mapping[str, ChargeAgreement], dipoles: Mapping[str, DipoleAgreement], pairs: tuple[ModelPair, ...]
) -> list[Check]:
    """Whether sign and order of the charges are those of other physics and of other models."""
    checks = [
        Check(
            f"overall sign, {name}",
            f"share of molecules whose dipole vector is less than a right angle off the {name} one, which the wrong "
            "sign would turn into the share that is more",
            agreement.same_side,
            "above 0.5",
            "1",
            agreement.same_side > 0.5,
            claim=True,
        )
        for name, agreement in dipoles.items()
        if len(agreement.angles)
    ]
    checks += [
        Check(
            f"charges follow {name}",
            f"Pearson's correlation of latent and {name} charges over all atoms",
            agreement.overall.correlation,
            "above 0.5",
            "1",
            agreement.overall.correlation > 0.5,
            claim=True,
        )
        for name, agreement in charges.items()
        if np.isfinite(agreement.overall.correlation)
    ]
    alike = [pair.within_elements for pair in pairs if np.isfinite(pair.within_elements)]
    if alike:
        least = min(alike)
        words = "the lowest correlation of two models' charges after each element's mean is taken away"
        checks.append(Check("models agree", words, least, "above 0.5", "1", least > 0.5, claim=True))
    return checks


def _facts(
    models: list[SignedCharges],
    charges: Mapping[str, ChargeAgreement],
    dipoles: Mapping[str, DipoleAgreement],
    points: Mapping[str, DipoleAgreement],
    pairs: tuple[ModelPair, ...],
    xtb: XtbSample | None,
) -> dict[str, Any]:
    return {
        "unit": "e",
        "clear_charge": CLEAR_CHARGE,
        "models": {model.name: {"sign": known(vars(model.sign))} for model in models},
        "charges": {name: agreement.to_dict() for name, agreement in charges.items()},
        "dipoles": {name: agreement.to_dict() for name, agreement in dipoles.items()},
        "dipoles_of_reference_charges": {name: agreement.to_dict() for name, agreement in points.items()},
        "between_models": [pair.to_dict() for pair in pairs],
        "xtb": None
        if xtb is None
        else {"structures": xtb.places.tolist(), "failed": {str(place): why for place, why in xtb.failed.items()}},
    }


ANALYSIS = Analysis(
    "charges",
    "Latent charges beside other physics",
    "Partial charges q_i are inferred from dipole moments, μ = Σ q_i (r_i − r_0); here they stand beside charges and "
    "dipole vectors of quantum chemistry, and beside those of other models.",
    "Insights paper eq. 3 and 4, section 3.1 and fig. 4",
    of_models=_of_models,
)
