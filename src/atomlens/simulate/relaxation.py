"""Relaxation of molecules and crystals by ASE's optimisers, many structures in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import ase
import numpy as np
from ase import units
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE2, LBFGS
from pydantic import Field

from atomlens.config import Config
from atomlens.errors import InputError
from atomlens.model import Model
from atomlens.progress import track
from atomlens.simulate.lockstep import Lockstep

OPTIMISERS: dict[str, Callable[..., Any]] = {"bfgs": BFGS, "lbfgs": LBFGS, "fire": FIRE2}
_SMALL = 60  # atoms; beyond, the full Hessian of BFGS costs more than it saves


class RelaxationConfig(Config):
    """When a structure counts as relaxed, and how it gets there."""

    force: float = Field(0.01, gt=0, description="the largest force left on an atom, in eV/Å")
    cell: Literal["fixed", "full", "isotropic"] = Field(
        "fixed", description="whether the cell relaxes as well: fixed, in all its components, or in its volume only"
    )
    stress: float = Field(0.05, gt=0, description="the largest deviation of the stress from -pressure, in GPa")
    pressure: float = Field(0.0, description="external pressure on a cell that relaxes, in GPa")
    steps: int = Field(1000, ge=0, description="most steps per structure")
    optimiser: Literal["auto", "bfgs", "lbfgs", "fire"] = Field(
        "auto", description="BFGS (auto: up to 60 atoms), LBFGS (auto: beyond) or FIRE"
    )


@dataclass(frozen=True)
class Relaxed:
    """Where the relaxation of a structure ended."""

    atoms: ase.Atoms  # without a calculator
    converged: bool
    steps: int
    energy: float  # eV
    gain: float  # eV, by which the energy fell; with a cell under pressure the enthalpy
    force: float  # eV/Å, the largest left on an atom
    moved: float  # Å, root mean square over the atoms; of a crystal beyond the strain of its cell
    stress: float | None = None  # GPa, the largest deviation from -pressure; None: the cell was fixed
    volume_change: float | None = None  # of the volume, relative
    problem: str | None = None  # why it ended early, as when atoms fell into each other

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without the structure itself."""
        return {name: value for name, value in vars(self).items() if name != "atoms"}


def relax(
    model: Model,
    structures: Sequence[ase.Atoms],
    config: RelaxationConfig | None = None,
    *,
    title: str = "",
    keep: Callable[[int, Relaxed], None] | None = None,
) -> list[Relaxed]:
    """Relax structures to a stated force, side by side in one batch.

    Args:
        model: with an energy readout.
        structures: where to start; not changed. Constraints of ASE that they carry are kept.
        config: settings.
        title: of the progress bar; none without it.
        keep: called with the place of each structure and its result as soon as it is done.

    Returns:
        A result per structure, in their order. One that did not converge says so, and where it got.

    Raises:
        InputError: the model refuses a structure to start from, or a cell is to relax that is not periodic in three
            directions.
    """
    config = config or RelaxationConfig()
    for place, atoms in enumerate(structures):
        if config.cell != "fixed" and not atoms.pbc.all():
            raise InputError("has no cell to relax; only crystals that repeat in three directions do", structure=place)
    model.energy_readout  # noqa: B018  refuses models without energies
    moving = [atoms.copy() for atoms in structures]
    if not moving:
        raise InputError("there is no structure to relax; give at least one")
    together = Lockstep(model, moving)
    before = together.run({place: partial(_state, atoms, config) for place, atoms in enumerate(moving)})
    for state in before.values():  # refused structures are named before work begins
        if isinstance(state, InputError):
            raise state
    counts = [0] * len(moving)
    done: dict[int, Relaxed] = {}
    with track(title, len(moving), "structures") as bar:

        def task(place: int) -> None:
            _drive(moving[place], config, partial(_count, counts, place))
            finish(place, None)

        def finish(place: int, problem: str | None) -> None:
            done[place] = _result(structures[place], moving[place], config, before[place], counts[place], problem)
            if keep is not None:
                keep(place, done[place])
            bar.advance()
            bar.note(f"{sum(counts) / (len(done) or 1):.0f} steps each")

        outcomes = together.run({place: partial(task, place) for place in range(len(moving))})
        for place, outcome in outcomes.items():
            if isinstance(outcome, InputError):
                finish(place, outcome.problem)
    return [done[place] for place in range(len(moving))]


@dataclass(frozen=True)
class _State:
    energy: float
    force: float
    stress: float | None


def _count(counts: list[int], place: int) -> None:
    counts[place] += 1


def _drive(atoms: ase.Atoms, config: RelaxationConfig, step: Callable[[], None]) -> None:
    """Relax one structure in place; ``step`` is called at every step."""
    name = config.optimiser
    if name == "auto":
        name = "bfgs" if len(atoms) <= _SMALL else "lbfgs"
    target: Any = atoms
    if config.cell != "fixed":
        pressure = config.pressure * units.GPa
        target = FrechetCellFilter(atoms, scalar_pressure=pressure, hydrostatic_strain=config.cell == "isotropic")
    optimiser = OPTIMISERS[name](target, logfile=None)
    # Forces and stress have limits of their own, where ASE's filter would measure both by one.
    for number, _ in enumerate(optimiser.irun(fmax=0.0, steps=config.steps)):
        if number:
            step()
        if _reached(_state(atoms, config), config):
            break


def _reached(state: _State, config: RelaxationConfig) -> bool:
    return state.force <= config.force and (state.stress is None or state.stress <= config.stress)


def _state(atoms: ase.Atoms, config: RelaxationConfig) -> _State:
    """Energy (under pressure the enthalpy) in eV, largest force in eV/Å, largest excess stress in GPa."""
    energy = float(atoms.get_potential_energy())
    force = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    if config.cell == "fixed":
        return _State(energy, force, None)
    excess = atoms.get_stress(voigt=False) / units.GPa + config.pressure * np.eye(3)
    if config.cell == "isotropic":
        excess = np.eye(3) * np.trace(excess) / 3.0
    return _State(energy + config.pressure * units.GPa * atoms.get_volume(), force, float(np.abs(excess).max()))


def _result(
    start: ase.Atoms, atoms: ase.Atoms, config: RelaxationConfig, before: _State, steps: int, problem: str | None
) -> Relaxed:
    end = before if problem is not None else _state(atoms, config)
    found = start.copy() if problem is not None else atoms.copy()
    volumes = None if config.cell == "fixed" else (start.get_volume(), found.get_volume())
    return Relaxed(
        atoms=found,
        converged=problem is None and _reached(end, config),
        steps=steps,
        energy=end.energy - (0.0 if volumes is None else config.pressure * units.GPa * volumes[1]),
        gain=before.energy - end.energy,
        force=end.force,
        moved=_moved(start, found),
        stress=end.stress,
        volume_change=None if volumes is None else volumes[1] / volumes[0] - 1.0,
        problem=problem,
    )


def _moved(start: ase.Atoms, end: ase.Atoms) -> float:
    if start.pbc.any():
        steps = (end.get_scaled_positions(wrap=False) - start.get_scaled_positions(wrap=False)) @ end.cell.array
    else:
        steps = end.positions - start.positions
    steps = steps - steps.mean(axis=0)
    return float(np.sqrt((steps**2).sum(axis=1).mean()))
