"""What a check works on: copies of a model in two precisions, structures, and the model's own rounding error."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import ase
import numpy as np
import torch
from torch import Tensor

from atomlens.data.quantities import quantity
from atomlens.data.system import AtomicSystem
from atomlens.model import Model, Structure
from atomlens.readouts import Readout
from atomlens.testing import structures

Outputs = dict[str, Tensor]

FARTHEST = 20.0  # Å; how far from the origin checks move atoms, which bounds the rounding of positions


@dataclass(frozen=True)
class Subject:
    """A model under test. Both models are copies; the user's own is never touched."""

    model: Model  # in the user's precision
    double: Model  # in float64
    molecules: tuple[ase.Atoms, ...]
    crystals: tuple[ase.Atoms, ...]  # periodic in three directions; none where the model takes open structures alone
    slabs: tuple[ase.Atoms, ...]  # periodic in one or two directions

    @classmethod
    def of(cls, model: Model, cases: Sequence[Structure] | None = None) -> Subject:
        """Copy a model and gather structures for it; ``cases`` replace the made ones of their kind.

        Raises:
            InputError: a case has an element that the model does not know, or is impossible.
        """
        copied = deepcopy(model).eval()
        given = [entry.to_ase() if isinstance(entry, AtomicSystem) else entry.copy() for entry in cases or ()]
        if given:
            copied.collate(given)  # refuses what no model could take
        open_ones = [atoms for atoms in given if not atoms.pbc.any()]
        bulk = [atoms for atoms in given if atoms.pbc.all()]
        mixed = [atoms for atoms in given if atoms.pbc.any() and not atoms.pbc.all()]
        if copied.cutoff is not None and not copied.open_only:
            bulk = bulk or structures.crystals(copied.elements, copied.cutoff)
            mixed = mixed or structures.slabs(copied.elements, copied.cutoff)
        return cls(
            model=copied,
            double=deepcopy(copied).set_precision(torch.float64),
            molecules=tuple(open_ones or structures.molecules(copied.elements)),
            crystals=tuple(bulk),
            slabs=tuple(mixed),
        )

    @property
    def everything(self) -> tuple[ase.Atoms, ...]:
        """All structures."""
        return self.molecules + self.crystals + self.slabs

    @property
    def precisions(self) -> tuple[Model, ...]:
        """The model as the user runs it, and in float64, where violations cannot hide in the rounding."""
        return (self.double,) if self.model.dtype == torch.float64 else (self.model, self.double)

    @property
    def readouts(self) -> dict[str, Readout]:
        """The model's readouts by the property that each predicts."""
        return readouts_of(self.model)

    @property
    def open_only(self) -> str | None:
        """Why the model takes no periodic structures; None where it does."""
        if self.model.cutoff is None:
            return "without a cutoff periodic structures are refused"
        if self.model.open_only:
            return f"the {self.model.open_only[0].replace('_', ' ')} has no meaning under periodic boundaries"
        return None

    @cached_property
    def bare(self) -> Model:
        """The float64 model without references and offsets: the same derivatives, with less rounding in differences."""
        copied = deepcopy(self.double)
        for name, buffer in copied.readouts.named_buffers():
            if name.rpartition(".")[2] in ("references", "offsets"):
                buffer.zero_()
        return copied

    @cached_property
    def sizes(self) -> dict[str, float]:
        """What readouts have learned: per property the largest atom term, or property per atom, over all structures.

        References and offsets are left out.
        """
        found: dict[str, float] = defaultdict(float)
        for atoms in self.everything:
            outputs = evaluate(self.bare, [atoms], derivatives=False)
            for name, readout in self.readouts.items():
                share = largest(outputs[name]) / len(atoms)
                found[name] = max(found[name], largest(outputs[readout.atom_quantity]), share)
        return found

    @cached_property
    def open_scale(self) -> Scale:
        """How large and how exact the model's outputs are on molecules."""
        return Scale.of(self.double, self.molecules)

    @cached_property
    def periodic_scale(self) -> Scale:
        """The same for periodic structures, where sums have many more terms."""
        return Scale.of(self.double, self.crystals + self.slabs)

    def scale(self, atoms: ase.Atoms) -> Scale:
        """The scale of structures like this one."""
        return self.periodic_scale if atoms.pbc.any() else self.open_scale


@dataclass(frozen=True)
class Scale:
    """Largest numbers per quantity over some structures, in its unit; totals are divided by the number of atoms.

    Rounding is measured, for it depends on how much cancels in a network: in float32 as the difference to float64; in
    float64 as that, scaled by the ratio of precisions, and the response to positions moved by their own rounding.
    """

    single_rounding: dict[str, float]
    double_rounding: dict[str, float]
    magnitude: dict[str, float]  # references included

    @classmethod
    def of(cls, model: Model, atoms: Sequence[ase.Atoms]) -> Scale:
        """Measure a float64 model."""
        single = deepcopy(model).set_precision(torch.float32)
        low, moved, magnitude = (defaultdict[str, float](float) for _ in range(3))
        for entry in atoms:
            exact = evaluate(model, [entry])
            _keep_largest(magnitude, exact, len(entry))
            _keep_largest(low, _difference(evaluate(single, [entry]), exact), len(entry))
            _keep_largest(moved, _difference(evaluate(model, [_moved_by_rounding(entry)]), exact), len(entry))
        for name, readout in readouts_of(model).items() if low else ():
            # Errors of atom terms partly cancel in totals, but not for an atom alone.
            low[name] = max(low[name], low[readout.atom_quantity])
            for part in readout.derived_quantities:
                low[part] = max(low[part], low[name])
        ratio = torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
        return cls(low, {name: ratio * low[name] + moved[name] for name in low}, magnitude)

    def rounding(self, name: str, dtype: torch.dtype) -> float:
        """Rounding error of a quantity with weights of that precision."""
        return (self.double_rounding if dtype == torch.float64 else self.single_rounding).get(name, 0.0)


def _moved_by_rounding(atoms: ase.Atoms) -> ase.Atoms:
    made = atoms.copy()
    made.positions += np.random.default_rng(6).normal(0.0, np.spacing(FARTHEST), made.positions.shape)
    return made


def _difference(first: Outputs, second: Outputs) -> Outputs:
    return {name: first[name] - value for name, value in second.items()}


def _keep_largest(worst: dict[str, float], outputs: Outputs, n_atoms: int) -> None:
    for name, value in outputs.items():
        share = 1.0 if quantity(name).per == "atom" else 1.0 / n_atoms
        worst[name] = max(worst[name], share * largest(value))


def evaluate(model: Model, atoms: Sequence[ase.Atoms], *, derivatives: bool = True) -> Outputs:
    """Everything that a model predicts for structures laid out as one batch; stress where all are crystals."""
    wanted = derivatives and "energy" in model.readouts
    bulk = all(entry.pbc.all() for entry in atoms)
    return predicted(model, atoms, forces=wanted, stress=wanted and bulk)


def predicted(model: Model, atoms: Sequence[ase.Atoms], *, forces: bool, stress: bool) -> Outputs:
    """The model's outputs, cut from the graph."""
    outputs = model(model.collate(list(atoms)), forces=forces, stress=stress)
    return {name: value.detach() for name, value in outputs.items()}


def readouts_of(model: Model) -> dict[str, Readout]:
    """A model's readouts by the property that each predicts."""
    return {name: cast(Readout, module) for name, module in model.readouts.items()}


def blended(outputs: Mapping[str, Tensor], name: str) -> Tensor:
    """One number for each system, (systems,), from all components of a property; a scalar stays what it is.

    The shares of the components, cosines of whole numbers, let no two of them cancel by symmetry.
    """
    value = outputs[name].reshape(len(outputs[name]), -1)
    return value @ torch.arange(value.shape[1], dtype=value.dtype, device=value.device).cos()


def largest(value: Tensor) -> float:
    """The largest absolute number in a tensor; NaN if one is NaN, zero if it is empty."""
    return float(value.abs().max()) if value.numel() else 0.0


def each(model: Model, atoms: Sequence[ase.Atoms]) -> Iterator[tuple[ase.Atoms, Outputs]]:
    """Structures one by one with what the model predicts for them."""
    return ((entry, evaluate(model, [entry])) for entry in atoms)
