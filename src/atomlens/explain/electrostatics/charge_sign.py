"""The overall sign of latent charges.

A model that learned magnitudes of dipole moments alone has no sign: q and -q give the same |μ| (insights paper, eq. 4).
It is chosen here by one rule, so that models can be compared and drawn: charges fall with Pauling's electronegativity.
What remains a finding is how charges of different elements and surroundings stand to each other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import ase
import numpy as np
from ase.data import atomic_numbers

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.evaluation import predict_structures
from atomlens.explain.subject import NamedModel, Subject
from atomlens.model import Model, Structure
from atomlens.readouts.dipole import Dipole

FixedBy = Literal["dipole vectors", "charged structures", "electronegativity", "nothing"]

# Pauling's scale (Pauling 1960, Allred 1961; as tabulated in the CRC Handbook). Elements without a value tell nothing.
_PAULING = """
H 2.20 Li 0.98 Be 1.57 B 2.04 C 2.55 N 3.04 O 3.44 F 3.98 Na 0.93 Mg 1.31 Al 1.61 Si 1.90 P 2.19 S 2.58 Cl 3.16 K 0.82
Ca 1.00 Sc 1.36 Ti 1.54 V 1.63 Cr 1.66 Mn 1.55 Fe 1.83 Co 1.88 Ni 1.91 Cu 1.90 Zn 1.65 Ga 1.81 Ge 2.01 As 2.18 Se 2.55
Br 2.96 Rb 0.82 Sr 0.95 Y 1.22 Zr 1.33 Nb 1.6 Mo 2.16 Ru 2.2 Rh 2.28 Pd 2.20 Ag 1.93 Cd 1.69 In 1.78 Sn 1.96 Sb 2.05
Te 2.1 I 2.66 Cs 0.79 Ba 0.89 La 1.10 Hf 1.3 Ta 1.5 W 2.36 Re 1.9 Os 2.2 Ir 2.20 Pt 2.28 Au 2.54 Hg 2.00 Tl 1.62
Pb 2.33 Bi 2.02
"""

_ROUNDING = 1e-9  # e, and on Pauling's scale: what varies by less does not vary
_MOST_STRUCTURES = 2000  # that the rule is asked on; more change nothing about a sign


def _by_atomic_number() -> np.ndarray:
    table, words = np.full(119, np.nan), _PAULING.split()
    for name, value in zip(words[::2], words[1::2], strict=True):
        table[atomic_numbers[name]] = float(value)
    return table


ELECTRONEGATIVITY = _by_atomic_number()  # (119,) Pauling's scale by atomic number, NaN where there is none


@dataclass(frozen=True)
class ChargeSign:
    """By what a model's charges and dipole vectors are multiplied before they are shown or compared, and why."""

    factor: float  # +1 or -1
    fixed_by: FixedBy
    correlation: float  # of the charges, as the network gives them, with electronegativity; NaN where not looked at
    lengths_only: bool  # whether training is known to have seen lengths of dipole moments and no vectors

    @property
    def sentence(self) -> str:
        """What has to be said beside charges."""
        if self.fixed_by == "dipole vectors":
            return "The sign of the charges was learned, from dipole vectors."
        if self.fixed_by == "charged structures":
            return "The sign of the charges was learned, from dipole moments of charged structures."
        free = "The model learned only lengths of dipole moments, which all charges with the opposite sign give as well"
        if not self.lengths_only:
            free = "The model file does not say whether dipole vectors were learned; without them the sign is free"
        if self.fixed_by == "nothing":
            return f"{free}; nothing here tells which sign to choose, so it is left as the network has it."
        return (
            f"{free}; the overall sign is chosen so that electronegative elements are negative, "
            "and only signs relative to each other are a finding."
        )


def charge_sign(model: Model, structures: Sequence[Structure] | None = None) -> ChargeSign:
    """The sign of a model's latent charges: as learned where that was possible, else by electronegativity.

    Args:
        model: any model with a dipole readout.
        structures: whose charges are asked; None: the training structures that the model file keeps as examples.

    Raises:
        InputError: the model predicts no charges, or there is no structure to ask.
    """
    learned = learned_sign(model)
    if learned is not None:
        return learned
    asked = list(model.examples) if structures is None else list(structures)
    if not asked:
        raise InputError("the sign of these charges is free, and there is no structure to choose it by; give some")
    results = predict_structures(model, asked, forces=False, stress=False)
    charges = np.concatenate([result["charges"] for result in results])
    numbers = np.concatenate([np.asarray(structure.numbers) for structure in asked])
    sizes = np.array([len(structure.numbers) for structure in asked])
    return _chosen(model, electronegativity_correlation(numbers, charges, sizes))


def electronegativity_correlation(numbers: np.ndarray, charges: np.ndarray, sizes: np.ndarray) -> float:
    """Pearson's correlation of charges with Pauling's electronegativity, both measured from their structure's mean.

    Zero where one of the two does not vary within any structure.

    Args:
        numbers: (atoms,) atomic numbers of structures laid end to end.
        charges: (atoms,) e.
        sizes: (structures,) atoms of each.
    """
    owner = np.repeat(np.arange(len(sizes)), sizes)
    negativity = ELECTRONEGATIVITY[numbers]
    told = np.isfinite(negativity)
    owner, x, y = owner[told], negativity[told], np.asarray(charges, dtype=float)[told]
    counts = np.maximum(np.bincount(owner, minlength=len(sizes)), 1)
    x, y = (values - (np.bincount(owner, values, len(sizes)) / counts)[owner] for values in (x, y))
    if min(np.abs(x).max(initial=0.0), np.abs(y).max(initial=0.0)) < _ROUNDING:
        return 0.0
    return float(x @ y) / float(np.sqrt((x @ x) * (y @ y)))


def latent_charges(
    model: Model, structures: Structure | Sequence[Structure], sign: ChargeSign | None = None
) -> list[np.ndarray]:
    """Latent partial charges of every structure with their sign fixed, each (atoms,) in e.

    Args:
        model: any model with a dipole readout.
        structures: one or many open molecules.
        sign: to use; None: that of `charge_sign` by the model's examples, else by these structures.

    Raises:
        InputError: the model predicts no charges, or refuses a structure.
    """
    if isinstance(structures, ase.Atoms | AtomicSystem):
        structures = [structures]
    learned_sign(model)  # refuses a model without charges before anything is predicted
    if sign is None:
        sign = charge_sign(model, None if model.examples else structures)
    results = predict_structures(model, structures, forces=False, stress=False)
    return [sign.factor * result["charges"] for result in results]


def sign_in(subject: Subject, entry: NamedModel) -> ChargeSign:
    """The sign of one model's charges by the data set; by the structures shown where the model cannot serve that."""
    learned = learned_sign(entry.model)
    if learned is not None:
        return learned
    data = subject.data
    try:
        charges = subject.predicted(entry)["charges"]
    except InputError:
        return charge_sign(entry.model, _served(entry.model, subject.systems))
    sizes = data.n_atoms[:_MOST_STRUCTURES]
    few = slice(int(sizes.sum()))
    return _chosen(entry.model, electronegativity_correlation(data.numbers[few], charges[few], sizes))


def learned_sign(model: Model) -> ChargeSign | None:
    """The sign of a model whose training fixed it; None where it is free, or may be.

    Raises:
        InputError: the model predicts no charges.
    """
    if "dipole" not in model.readouts:
        raise InputError("the model predicts no partial charges; use one with a dipole readout")
    if "dipole" in _learned(model):
        return ChargeSign(1.0, "dipole vectors", np.nan, lengths_only=False)
    # With q → -q the charges of an ion would no longer add up to its own, which the readout sees to.
    if conserves_charge(model) and any(model.charges):
        return ChargeSign(1.0, "charged structures", np.nan, lengths_only="dipole_magnitude" in _learned(model))
    return None


def conserves_charge(model: Model) -> bool:
    """Whether a model's dipole readout shifts charges so that they add up to the total charge."""
    return cast(Dipole, model.readouts["dipole"]).conserve_charge


def _learned(model: Model) -> Collection[str]:
    """Names of the quantities that training had labels of; none where the model does not remember."""
    return model.provenance.get("training_means", {})


def _chosen(model: Model, correlation: float) -> ChargeSign:
    """The sign that makes electronegative elements negative."""
    lengths_only = "dipole_magnitude" in _learned(model)
    if abs(correlation) < 1e-6:  # rounding of what the two have nothing of
        return ChargeSign(1.0, "nothing", correlation, lengths_only)
    return ChargeSign(-1.0 if correlation > 0.0 else 1.0, "electronegativity", correlation, lengths_only)


def _served(model: Model, systems: Sequence[AtomicSystem]) -> list[AtomicSystem]:
    """The structures that a model does not refuse."""
    served = []
    for system in systems:
        try:
            model.collate([system])
        except InputError:
            continue
        served.append(system)
    return served
