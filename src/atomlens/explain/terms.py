"""The terms of atoms that models predict beside their properties, whichever the readout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from torch import Tensor

from atomlens.data.dataset import Dataset
from atomlens.data.quantities import SCALAR_PROPERTIES, quantity
from atomlens.data.system import MAX_ATOMIC_NUMBER
from atomlens.errors import InputError
from atomlens.explain.baseline import Baseline, energy_baseline
from atomlens.model import Model
from atomlens.readouts import Readout
from atomlens.readouts.centre import centred_data

Kind = Literal["sum", "mean", "dipole", "spatial extent"]

_ABBREVIATIONS = {"homo": "HOMO", "lumo": "LUMO", "isotropic_polarizability": "polarisability"}


@dataclass(frozen=True)
class AtomTerm:
    """What the atoms add to one property of a model, as one number per atom."""

    quantity: str  # the property: energy, homo, dipole, isotropic_polarizability, ...
    name: str  # of the terms among a model's predictions: atom_energies, atom_homo, charges, ...
    unit: str  # internal
    kind: Kind  # how the property follows from the terms
    readout: str  # its name among the model's readouts

    @property
    def words(self) -> str:
        """What a value is, for labels: "energy contribution", "HOMO contribution", "charge"."""
        if self.kind in ("dipole", "spatial extent"):
            return "charge" if self.kind == "dipole" else "charge of the spatial extent"
        return f"{_ABBREVIATIONS.get(self.quantity, self.quantity.replace('_', ' '))} contribution"

    @property
    def heading(self) -> str:
        """The same with a capital letter."""
        return self.words[0].upper() + self.words[1:]

    @property
    def shares_out(self) -> bool:
        """Whether the property is the sum or the mean of the terms alone, without positions."""
        return self.kind in ("sum", "mean")

    def of(self, predictions: Mapping[str, np.ndarray]) -> np.ndarray:
        """The terms (atoms,) among what a model predicts; of tensors a third of the trace."""
        values = np.asarray(predictions[self.name])
        return np.trace(values, axis1=1, axis2=2) / 3.0 if values.ndim == 3 else values

    def arms(self, data: Dataset) -> np.ndarray:
        """What of a data set the terms are summed with, (atoms, k): Σ_i arms_ik t_i is what labels know of the terms.

        Ones where they are shared out; for a dipole moment ones, for the total charge, and the positions about the
        centre of mass in Å; for a spatial extent the squared distances from there in Å².
        """
        if self.shares_out:
            return np.ones((len(data.numbers), 1))
        centred = centred_data(data).numpy()
        if self.kind == "dipole":
            return np.column_stack([np.ones(len(centred)), centred])
        return np.square(centred).sum(axis=1, keepdims=True)

    def summed(self, terms: np.ndarray, data: Dataset) -> np.ndarray:
        """The property that terms (atoms,) stand for: (structures,), of dipole moments (structures, 3)."""
        sums = np.add.reduceat(self.arms(data) * terms[:, None], data.offsets[:-1])
        if self.kind == "dipole":
            return np.asarray(sums[:, 1:])
        return np.asarray(sums[:, 0] / data.n_atoms if self.kind == "mean" else sums[:, 0])


def atom_terms(model: Model) -> list[AtomTerm]:
    """One row for each readout, in the model's order. Of a polarisability it is the isotropic part."""
    rows = []
    for key, module in model.readouts.items():
        name = cast(Readout, module).atom_quantity
        property_ = "isotropic_polarizability" if key == "polarizability" else key
        rows.append(AtomTerm(property_, name, quantity(name).unit, _kind(property_), key))
    return rows


def atom_term(model: Model, name: str) -> AtomTerm:
    """The terms that belong to a property, to one that follows from it, or that have this name themselves.

    Raises:
        InputError: the model predicts none such; says which it has.
    """
    quantity(name)
    for term in atom_terms(model):
        readout = cast(Readout, model.readouts[term.readout])
        if name in (readout.quantity, readout.atom_quantity, *readout.derived_quantities):
            return term
    have = ", ".join(term.quantity.replace("_", " ") for term in atom_terms(model))
    raise InputError(f"the model has no atom terms of {name.replace('_', ' ')}; ask for those that it has: {have}")


def term_baseline(model: Model, term: AtomTerm, relative_to: Baseline | None) -> tuple[np.ndarray, Baseline]:
    """What to subtract from terms by atomic number, (119,) in the term's unit, and what it is.

    Energies: see `energy_baseline`. Others are measured from the offsets per element that the readout was given before
    learning ("references") where it has them, else from nothing.

    Raises:
        InputError: what was asked for is not known.
    """
    if term.quantity == "energy":
        return energy_baseline(model, relative_to)
    offsets = getattr(model.readouts[term.readout], "offsets", None)
    chosen: Baseline = relative_to or ("nothing" if offsets is None else "references")
    if chosen == "nothing":
        return np.zeros(MAX_ATOMIC_NUMBER + 1), chosen
    if chosen == "free atoms" or offsets is None:
        other = "nothing" if offsets is None else "references"
        raise InputError(f"the {term.words} knows no {chosen} to be measured from; measure it from {other}")
    return cast(Tensor, offsets).cpu().numpy(), chosen


def common_baseline(models: Iterable[Model], term: AtomTerm) -> Baseline:
    """What terms of several models are measured from: their own default, or where these differ the references."""
    defaults = {term_baseline(model, term, None)[1] for model in models}
    return defaults.pop() if len(defaults) == 1 else "references"


def _kind(property_: str) -> Kind:
    if property_ in ("dipole", "electronic_spatial_extent"):
        return "dipole" if property_ == "dipole" else "spatial extent"
    return "mean" if property_ in SCALAR_PROPERTIES["intensive"] else "sum"
