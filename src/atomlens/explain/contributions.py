"""Atom contributions: how a model shares an energy out over the atoms (thesis 3.6.1, 4.5; insights paper 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ase
import numpy as np

from atomlens import figures
from atomlens.data.system import AtomicSystem, symbol
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.evaluation import predict_structures
from atomlens.explain.baseline import Baseline, energy_baseline
from atomlens.explain.panel import Analysis, AtomValues, Panel
from atomlens.explain.subject import Subject
from atomlens.model import Model, Structure


@dataclass(frozen=True)
class AtomContributions:
    """Energies of the atoms of one or many structures, laid end to end.

    A partition of an energy is not unique: models with the same totals may share them out differently.
    """

    numbers: np.ndarray  # (atoms,) atomic numbers
    values: np.ndarray  # (atoms,) eV, relative to the baseline
    sizes: np.ndarray  # (structures,) atoms of each
    relative_to: Baseline

    @property
    def per_structure(self) -> list[np.ndarray]:
        """The contributions of each structure, (atoms,) in eV."""
        return np.split(self.values, np.cumsum(self.sizes)[:-1])

    @property
    def per_element(self) -> Mapping[str, np.ndarray]:
        """All contributions of an element, by symbol, in eV."""
        return {symbol(int(number)): self.values[self.numbers == number] for number in np.unique(self.numbers)}

    def to_dict(self) -> dict[str, Any]:
        """Mean and spread per element, and per atom where all structures have the same atoms; for JSON, in eV."""
        facts: dict[str, Any] = {
            "unit": "eV",
            "definition": f"Terms of the atoms in the energy, relative to {self.relative_to}",
            "relative_to": self.relative_to,
            "structures": len(self.sizes),
            "per_element": {name: _moments(values) for name, values in self.per_element.items()},
        }
        atoms = int(self.sizes[0])
        numbers = self.numbers.reshape(-1, atoms) if (self.sizes == atoms).all() else None
        if numbers is not None and (numbers == numbers[0]).all():
            columns = self.values.reshape(-1, atoms).T
            facts["per_atom"] = [
                {"index": index, "symbol": symbol(int(numbers[0, index])), **_moments(column)}
                for index, column in enumerate(columns)
            ]
        return facts


def atom_contributions(
    model: Model, structures: Structure | Sequence[Structure], *, relative_to: Baseline | None = None, title: str = ""
) -> AtomContributions:
    """E_i of every atom.

    Args:
        model: any model with an energy readout.
        structures: one or many molecules or crystals.
        relative_to: what is subtracted; see `explain.baseline.energy_baseline`. With "nothing" they sum to the total.
        title: of a progress bar; none without it.

    Raises:
        InputError: the model predicts no energies, or a structure is refused (see `Model.collate`).
    """
    baseline, chosen = energy_baseline(model, relative_to)
    if isinstance(structures, ase.Atoms | AtomicSystem):
        structures = [structures]
    if not len(structures):
        raise InputError("there is no structure to explain; give at least one")
    results = predict_structures(model, structures, forces=False, stress=False, title=title)
    numbers = np.concatenate([np.asarray(structure.numbers) for structure in structures])
    values = np.concatenate([result["atom_energies"] for result in results]) - baseline[numbers]
    return AtomContributions(numbers, values, np.array([len(structure.numbers) for structure in structures]), chosen)


def _moments(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), "std": float(values.std()), "count": len(values)}


def _of_structure(subject: Subject, place: int) -> Panel:
    """Contributions of one structure's atoms, by every model that predicts energies."""
    entry, system = subject.serving("energy")[0], subject.systems[place]
    baseline, chosen = energy_baseline(entry.model, None)
    values = subject.of_structure(entry, place)["atom_energies"] - baseline[system.numbers]
    symbols = [symbol(int(number)) for number in system.numbers]
    label = f"energy contribution, relative to {chosen}"
    return Panel(
        ANALYSIS.name,
        place,
        reading=f"{values.sum() / KCAL_PER_MOL:.1f} kcal/mol are shared out over {len(values)} atoms.",
        trust=f"Model {entry.name}.",
        facts={"unit": "eV", "symbols": symbols, "values": values.tolist(), "relative_to": chosen},
        figures={"atom_contributions": figures.atom_contributions(symbols, system.positions, values, label)},
        views=(AtomValues("energy contribution", "eV", values),),
    )


ANALYSIS = Analysis(
    "contributions",
    "What each atom adds",
    "The network predicts the energy as a sum over atoms, E = Σ E_i; every atom is coloured by its E_i.",
    "Thesis 3.6.1 and fig. 3.9-3.11; insights paper eq. 2 and fig. 2, 4",
    of_structure=_of_structure,
)
