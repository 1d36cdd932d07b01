"""What is simulated: a model, and structures from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ase
import torch

from atomlens.data.readers import read_structures
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.model import Model
from atomlens.progress import say

SHOWN = 10  # structures with panels of their own, unless others are asked for


@dataclass(frozen=True)
class Simulated:
    """A model under its name, and the structures that it is to move."""

    model: Model
    model_name: str
    systems: tuple[AtomicSystem, ...]
    file: str  # of the structures

    @property
    def atoms(self) -> list[ase.Atoms]:
        """The structures for ASE."""
        return [system.to_ase() for system in self.systems]

    @property
    def names(self) -> list[str]:
        """Place in the file, and formula."""
        return [f"{place} {system.formula}" for place, system in enumerate(self.systems)]

    def one(self, place: int | None) -> tuple[int, AtomicSystem]:
        """The structure that a run of a single one takes: the one asked for, or the only one.

        Raises:
            InputError: there are several and none was chosen, or there is none at this place.
        """
        if place is None and len(self.systems) > 1:
            raise InputError(
                f"holds {len(self.systems)} structures, and one is moved; choose it, counted from 0 (--structure)",
                file=self.file,
            )
        chosen = place or 0
        if not 0 <= chosen < len(self.systems):
            last = len(self.systems) - 1
            raise InputError(f"there is no structure {chosen} (the last one is {last}); choose another", file=self.file)
        return chosen, self.systems[chosen]


def read_simulated(
    model: Model,
    model_name: str,
    structures: str | Path,
    *,
    position_unit: str | None = None,
    precision: str | None = None,
) -> Simulated:
    """Read structures that a model is to move.

    Args:
        model: with an energy readout.
        model_name: that tables and pages give it.
        structures: any file that `atomlens.data.readers.read_structures` reads.
        position_unit: of positions where it is not Å.
        precision: ``float32`` or ``float64``, to which the model is changed; None leaves it as it is.

    Raises:
        InputError: the file cannot be read, or the model has no energies.
    """
    model.energy_readout  # noqa: B018  refuses models without energies, before long reading
    if precision is not None:
        if precision not in ("float32", "float64"):
            raise InputError(f"the precision is float32 or float64, not '{precision}'")
        model.set_precision(getattr(torch, precision)).refine_tables()
    systems = read_structures(structures, position_unit)
    if not systems:
        raise InputError("holds no structures; give at least one", file=str(structures))
    warn_of_energies_alone(model)
    return Simulated(model, model_name, tuple(systems), str(structures))


def warn_of_energies_alone(model: Model) -> None:
    """Say so where a model never learned forces: its minima and vibrations are then anyone's guess."""
    learned = model.provenance.get("training_means")
    if learned and "forces" not in learned:
        say(
            f"note: the model was trained on {', '.join(sorted(learned))}, not on forces; where it puts minima and how "
            "stiff bonds are is hardly learned from energies alone, so check what moves against a reference"
        )
