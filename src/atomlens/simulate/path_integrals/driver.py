"""What i-PI asks when it needs energies and forces of all beads of a path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import ase
import numpy as np

from atomlens.errors import InputError

Results = Mapping[str, np.ndarray]
Answer = tuple[float, np.ndarray, np.ndarray, str]  # potential, forces, virial in atomic units, and nothing more to say


class Potential(Protocol):
    """Whatever predicts many structures at once, such as `atomlens.simulate.evaluator.Evaluator`."""

    def __call__(self, structures: Mapping[int, ase.Atoms], /) -> Mapping[int, Results]:
        """``energy`` (eV) and ``forces`` (eV/Å) of each, and ``stress`` (eV/Å³, 3 by 3) of crystals."""
        ...

    def forget(self) -> None:
        """Drop what is kept from call to call, so that results do not depend on what was asked before."""
        ...


@dataclass(frozen=True)
class Scales:
    """Atomic units, as i-PI has them, per unit of ASE: multiply by these on the way in, divide on the way out."""

    length: float
    energy: float
    force: float
    mass: float
    momentum: float
    time: float
    temperature: float

    @staticmethod
    def of_ipi() -> Scales:
        """From i-PI's own table, so that nothing is lost between its constants and ASE's."""
        from ipi.utils.units import unit_to_internal

        return Scales(**{name: float(unit_to_internal(name, "ase", 1.0)) for name in Scales.__dataclass_fields__})


class Driver:
    """The potential of one path, in the shape in which i-PI calls it.

    Args:
        beads: structures to begin with; copies of them move.
        ask: predicts them, in their order.
        moving_cell: whether cells follow those of i-PI.
    """

    def __init__(
        self, beads: Sequence[ase.Atoms], ask: Callable[[list[ase.Atoms]], list[Results]], *, moving_cell: bool
    ) -> None:
        self.beads = [atoms.copy() for atoms in beads]
        self.results: list[Results] = []  # of the last call
        self.scales = Scales.of_ipi()
        self._ask = ask
        self._moving_cell = moving_cell
        self._answers: list[Answer] = []
        self._repeat = False

    def __call__(self, cells: Any, positions: Any) -> Any:
        """Answer for all beads, for which i-PI hands over lists, or for the only one."""
        if not isinstance(positions, list):
            return self([cells], [positions])[0]
        if not self._repeat:
            self._move(cells, positions)
            self.results = self._ask(self.beads)
            self._answers = [self._answer(atoms, found) for atoms, found in zip(self.beads, self.results, strict=True)]
        self._repeat = False
        return self._answers

    def repeat(self, state: Mapping[str, np.ndarray]) -> None:
        """Let the next answer be that of `state`, which is known for the positions that will be asked for."""
        rows = zip(state["potentials"], state["forces"], state["virials"], strict=True)
        self._answers = [(float(energy), forces, virial, "") for energy, forces, virial in rows]
        self._repeat = True

    def state(self) -> dict[str, np.ndarray]:
        """The last answers, for `repeat`."""
        names = ("potentials", "forces", "virials")
        # i-PI clears the lower triangle of virials in place, and would again do so.
        return {name: np.array([answer[k] for answer in self._answers]) for k, name in enumerate(names)}

    def _move(self, cells: list[np.ndarray], positions: list[np.ndarray]) -> None:
        for atoms, cell, places in zip(self.beads, cells, positions, strict=True):
            if not np.isfinite(places).all():
                raise InputError("atoms are no longer at finite places; a shorter time step may help")
            atoms.positions[:] = places / self.scales.length
            if self._moving_cell:
                atoms.set_cell(cell.T / self.scales.length)

    def _answer(self, atoms: ase.Atoms, found: Results) -> Answer:
        energy, forces = float(found["energy"]), np.asarray(found["forces"], dtype=float)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise InputError("energy or forces are no longer finite numbers; a shorter time step may help")
        virial = np.zeros((3, 3))
        if self._moving_cell:
            virial = -atoms.get_volume() * np.asarray(found["stress"], dtype=float) * self.scales.energy
        return energy * self.scales.energy, forces.reshape(-1) * self.scales.force, virial, ""
