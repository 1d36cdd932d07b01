"""An ASE calculator, so that any ASE script runs on a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
from ase.calculators.calculator import Calculator as AseCalculator
from ase.calculators.calculator import PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from atomlens.model import Model
from atomlens.model_file import load_model


class Calculator(AseCalculator):
    """Energies (eV), forces (eV/Å), stress (eV/Å³, Voigt order, in three periodic directions) and per-atom energies.

    Args:
        model: with an energy readout; or the path of its file.
    """

    implemented_properties: list[str] = [  # noqa: RUF012  declared so by ASE
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
    ]

    def __init__(self, model: Model | str | Path, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        model = model if isinstance(model, Model) else load_model(model)
        model.energy_readout  # noqa: B018  refuses models without energies at once
        self.model = model

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
        assert self.atoms is not None  # ASE's calculate has just set it
        bulk = bool(self.atoms.pbc.all())
        if "stress" in (properties or []) and not bulk:
            raise PropertyNotImplementedError("stress needs a structure that is periodic in three directions")
        found = self.model.predict(self.atoms, stress=bulk)
        energy = float(found["energy"])
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "energies": found["atom_energies"],
            "forces": found["forces"],
        }
        if bulk:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found["stress"])
