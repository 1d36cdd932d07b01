"""What runs of every kind have in common: where they can be taken up, what their frames hold, how fast they are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import ase

from atomlens.errors import InputError
from atomlens.simulate.recording import CHECKPOINT, TABLE, trajectory_names
from atomlens.simulate.settings import SETTINGS, agree

BLOCK = 100  # steps between the points from which a run can go on
WRITTEN = ("energy", "forces", "stress", "dipole")  # of the predictions for a structure, with each of its frames


def moved_copy(atoms: ase.Atoms, place: int | None = None) -> ase.Atoms:
    """What of a structure moves: atoms, masses, momenta, cell, boundaries and charge.

    Whatever else it carries, such as tags or an energy of its own, would go into every frame as if it were of the run.

    Args:
        atoms: not changed.
        place: of the structure, for the error.

    Raises:
        InputError: it has constraints.
    """
    if atoms.constraints:
        raise InputError("has constraints, under which no ensemble holds; remove them", structure=place)
    found = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    if atoms.has("masses"):
        found.set_masses(atoms.get_masses())
    if atoms.has("momenta"):
        found.set_momenta(atoms.get_momenta())
    if "charge" in atoms.info:
        found.info["charge"] = atoms.info["charge"]
    return found


def begin(folder: Path, settings: Mapping[str, Any], *, resume: bool, free: Collection[str]) -> None:
    """Write the settings of a run or see that it goes on with them, and clear away what has no checkpoint.

    Args:
        folder: of the run.
        settings: see `agree`; ``copies`` says how many trajectories there are.
        resume: whether the run goes on.
        free: see `agree`.

    Raises:
        InputError: the run was started differently.
    """
    killed = resume and (folder / SETTINGS).is_file() and not (folder / CHECKPOINT).is_file()
    agree(folder, settings, resume=resume, free=free)
    if killed:  # before its first checkpoint
        copies = int(settings["copies"])
        for name in (TABLE, *trajectory_names(copies, "extxyz"), *trajectory_names(copies, "traj")):
            (folder / name).unlink(missing_ok=True)


def ns_per_day(steps_per_second: float, timestep: float) -> float:
    """Nanoseconds of a run in a day of computing, at time steps in fs."""
    return steps_per_second * timestep * 86400e-6
