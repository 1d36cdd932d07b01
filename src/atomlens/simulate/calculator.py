"""An ASE calculator, so that any ASE script runs on a trained model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from atomlens.data.batch import Batch
from atomlens.data.quantities import quantity
from atomlens.errors import InputError
from atomlens.model import Model
from atomlens.model_file import load_model
from atomlens.simulate.skin import Searched, search

_OF_ENERGIES = ("energy", "free_energy", "energies", "forces", "stress")
_OF_DIPOLES = ("dipole", "charges")


class Calculator(AseCalculator):
    """Energies (eV), forces (eV/Å), stress (eV/Å³, Voigt order, in three periodic directions) and per-atom energies.

    A model with a dipole readout gives ASE's ``dipole`` (e·Å, about the centre of mass) and ``charges`` (e, the latent
    ones) as well, and where it has no energy these alone.

    Args:
        model: with an energy or a dipole readout, or both; or the path of its file.
        skin: how far beyond the model's cutoff neighbours are searched, in Å. The list is then kept until an atom has
            moved by half as much, or the cell was strained as far; 0 searches for every new structure. Results are the
            same. A wider skin saves searches and costs pairs.
    """

    implemented_properties: list[str] = [*_OF_ENERGIES, *_OF_DIPOLES]  # noqa: RUF012  declared so by ASE

    def __init__(self, model: Model | str | Path, *, skin: float = 0.5, **options: Any) -> None:
        if not 0.0 <= skin < math.inf:
            raise InputError(f"the skin must be a length of 0 Å or more, not {skin!r}; choose one such as 0.5")
        super().__init__(**options)  # type: ignore[no-untyped-call]
        model = model if isinstance(model, Model) else load_model(model)
        self.implemented_properties = predicted_by(model)
        self.model = model
        self.skin = skin
        self._searched: Searched | None = None
        self._searched_for: tuple[int, float | None, float] | None = None  # which model, its cutoff, and the skin

    def check_state(self, atoms: ase.Atoms, tol: float = 1e-15) -> list[str]:
        """What changed since the last calculation. ASE asks three times a step, and its own answer takes 80 µs."""
        return changes(self.atoms, atoms, tol)

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Called by ASE when something changed.

        Raises:
            InputError: the model refuses the structure (see `Model.collate`).
            PropertyNotImplementedError: stress of a structure that is not periodic in three directions.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        self.results = {}  # should the structure be refused, it must not get those of the one before
        assert self.atoms is not None  # ASE's calculate has just set it
        bulk = all(self.atoms.pbc.tolist())
        if "stress" in (properties or []) and not bulk:
            raise PropertyNotImplementedError("stress needs a structure that is periodic in three directions")
        batch = self._batch(self.atoms)
        found = self.model.predict(batch, forces=True, stress=bulk)
        self.results = ase_results({name: _of_one(name, value) for name, value in found.items()})

    @property
    def _scale(self) -> torch.Tensor:
        scale: torch.Tensor = next(iter(self.model.readouts.values())).scale  # type: ignore[assignment]
        return scale

    def forget(self) -> None:
        """Drop results and neighbours, so that the next calculation does not depend on what was calculated before."""
        self.atoms, self.results, self._searched = None, {}, None

    def _batch(self, atoms: ase.Atoms) -> Batch:
        # `Model.device` would look for a parameter, which takes twice the time of this.
        device = self._scale.device
        same = self._searched_for == (id(self.model), self.model.cutoff, self.skin)
        if self._searched is not None and same and self._searched.batch.numbers.device == device:
            batch = self._searched.moved([atoms])
            if batch is not None:
                return batch
        self._searched = None  # should the structure be refused, nothing is left of the one before
        self._searched = search([atoms], self.model, self.skin)
        self._searched_for = id(self.model), self.model.cutoff, self.skin
        return self._searched.batch


def changes(before: ase.Atoms | None, now: ase.Atoms, tol: float = 1e-15) -> list[str]:
    """What changed between two structures, in ASE's names. `Atoms.arrays` that are one object are not looked at."""
    if before is None:
        return list(all_changes)
    found = [name for name in ("cell", "pbc") if not np.array_equal(getattr(before, name), getattr(now, name))]
    for name in ("positions", "numbers", "initial_charges", "initial_magmoms"):
        first, second = before.arrays.get(name), now.arrays.get(name)
        if first is not second and (first is None or second is None or not _close(first, second, tol)):
            found.append(name)
    if before.info.get("charge") != now.info.get("charge"):  # of the whole structure, which ASE knows nothing of
        found.append("initial_charges")
    return found


def predicted_by(model: Model) -> list[str]:
    """ASE's names of what a model predicts.

    Raises:
        InputError: the model has neither energies nor dipoles.
    """
    names = [*(_OF_ENERGIES if model.has_energy else []), *(_OF_DIPOLES if "dipole" in model.predicted else [])]
    if not names:
        raise InputError(
            f"the model predicts neither energies nor dipoles, but {', '.join(model.predicted)}, for which ASE has "
            "no names; use Model.predict"
        )
    return names


def ase_results(found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """A model's predictions for one structure, under ASE's names."""
    results: dict[str, Any] = {}
    if "energy" in found:
        results["energy"] = results["free_energy"] = float(found["energy"])
        results |= {"energies": found["atom_energies"], "forces": found["forces"]}
    if "stress" in found:
        results["stress"] = full_3x3_to_voigt_6_stress(found["stress"])
    if "dipole" in found:
        results |= {"dipole": found["dipole"], "charges": found["charges"]}
    return results


def _close(first: np.ndarray, second: np.ndarray, tol: float) -> bool:
    return first.shape == second.shape and bool((np.abs(first - second) <= tol).all())


def _of_one(name: str, value: torch.Tensor) -> np.ndarray:
    array: np.ndarray = value.cpu().numpy()
    found: np.ndarray = array if quantity(name).per == "atom" else array[0]
    return found
