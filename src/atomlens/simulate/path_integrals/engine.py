"""Paths moved by i-PI, in this process, all beads of all of them predicted in one batch.

i-PI is taken at its engine: none of its output, restart files, signal handlers, sockets or threads come along.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import ase
import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress
from greenlet import getcurrent, greenlet

from atomlens.errors import InputError
from atomlens.simulate.calculator import ase_results
from atomlens.simulate.path_integrals import estimators
from atomlens.simulate.path_integrals.config import PathIntegralConfig
from atomlens.simulate.path_integrals.driver import Driver, Potential, Results
from atomlens.simulate.path_integrals.gle import Matrices, read_matrices
from atomlens.simulate.path_integrals.thermostats import ipi_input

State = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sample:
    """A path at one instant."""

    beads: list[ase.Atoms]  # with momenta
    results: list[dict[str, Any]]  # of each bead under ASE's names; none where a checkpoint has just been taken up
    potential: float  # eV, mean over beads
    kinetic_virial: float  # eV
    kinetic_primitive: float  # eV
    temperature: float  # K, by momenta
    conserved: float  # eV, what exact dynamics would conserve, noise accounted for
    gyration: float  # Å
    pressure: float | None  # eV/Å³, of crystals
    volume: float | None  # Å³

    @property
    def energy(self) -> float:
        """Estimate of the total energy in eV."""
        return self.potential + self.kinetic_virial


class Engine:
    """Independent paths of one structure under one potential.

    Args:
        potential: see `Potential`.
        starts: for each replica its beads, all of the same atoms.
        config: of the run.

    Raises:
        InputError: i-PI is not installed, the ensemble does not fit the structure, or the thermostat's matrices are
            unfit.
    """

    def __init__(self, potential: Potential, starts: Sequence[Sequence[ase.Atoms]], config: PathIntegralConfig) -> None:
        require_ipi()
        if config.ensemble == "npt" and not all(starts[0][0].pbc):
            raise InputError("constant pressure needs a structure that is periodic in three directions; choose nvt")
        self.config = config
        self.potential = potential
        self.seconds = 0.0  # spent in the potential
        self._hub: greenlet | None = None
        gle = read_matrices(config.gle, config.beads, config.temperature) if config.gle is not None else None
        seeds = np.random.SeedSequence(config.seed).generate_state(config.replicas)
        with _quiet():
            self.paths = [
                Path(beads, config, int(seed), partial(self._ask, place), gle)
                for place, (beads, seed) in enumerate(zip(starts, seeds, strict=True))
            ]

    def advance(self, steps: int = 1) -> None:
        """Make time steps.

        Raises:
            InputError: the potential refuses a structure, or its energies are no longer finite.
        """
        for _ in range(steps):
            self._together([path.step for path in self.paths])

    def samples(self) -> list[Sample]:
        """All paths as they are now."""
        return self._together([path.sample for path in self.paths])

    def settle(self) -> list[State]:
        """Go on as if from a checkpoint, so that a run that does so comes to the same trajectory.

        Returns:
            What `restore` wants.
        """
        states = [path.capture() for path in self.paths]
        self.restore(states)
        return states

    def restore(self, states: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Take up the state of a checkpoint."""
        self.potential.forget()
        for path, state in zip(self.paths, states, strict=True):
            path.restore(state)

    def _together(self, tasks: Sequence[Callable[[], Any]]) -> list[Any]:
        """Run a task of each path; each stops where it needs predictions, which are made for all at once."""
        self._hub = getcurrent()
        runners = [greenlet(task) for task in tasks]
        try:
            said = [runner.switch() for runner in runners]
            while asking := [place for place, runner in enumerate(runners) if not runner.dead]:
                found = self._predict({place: said[place] for place in asking})
                for place in asking:
                    said[place] = runners[place].switch(found[place])
        finally:
            self._hub = None
        return said

    def _ask(self, place: int, beads: list[ase.Atoms]) -> list[Results]:
        if self._hub is None:
            return self._predict({place: beads})[place]
        found: list[Results] = self._hub.switch(beads)
        return found

    def _predict(self, asked: Mapping[int, list[ase.Atoms]]) -> dict[int, list[Results]]:
        count = self.config.beads
        flat = {place * count + bead: atoms for place, beads in asked.items() for bead, atoms in enumerate(beads)}
        begun = time.perf_counter()
        try:
            found = self.potential(flat)
        except InputError as error:
            place, bead = divmod(list(flat)[error.structure or 0], count)
            where = f"bead {bead}" + (f" of replica {place}" if len(self.paths) > 1 else "")
            raise InputError(f"{where}: {error.problem}", atom=error.atom) from None
        finally:
            self.seconds += time.perf_counter() - begun
        return {place: [found[place * count + bead] for bead in range(count)] for place in asked}


class Path:
    """One ring polymer of the whole structure, an i-PI simulation of its own."""

    def __init__(
        self,
        beads: Sequence[ase.Atoms],
        config: PathIntegralConfig,
        seed: int,
        ask: Callable[[list[ase.Atoms]], list[Results]],
        gle: Matrices | None,
    ) -> None:
        from ipi.engine.simulation import Simulation

        first, self.config = beads[0], config
        moving_cell = config.ensemble == "npt"
        # i-PI wants triangular cells; what it moves is turned there and back.
        cell: np.ndarray | None = None
        self._turn: np.ndarray | None = None
        if moving_cell:
            cell, self._turn = _triangular(first)
        if self._turn is not None:
            beads = [_turned(atoms, cell, self._turn) for atoms in beads]
        self._driver = Driver(beads, ask, moving_cell=moving_cell)
        self._scales = self._driver.scales
        self._masses = first.get_masses()
        xml = ipi_input(config, first, cell, seed, gle)
        self._simulation = Simulation.load_from_xml(xml, read_only=True, post_init_hook=partial(self._fill, beads))
        self._system = self._simulation.syslist[0]

    def _fill(self, beads: Sequence[ase.Atoms], simulation: Any) -> None:
        """Put positions and momenta in place before i-PI wires its quantities up."""
        simulation.fflist["model"].driver = self._driver
        path, scales, count = simulation.syslist[0].beads, self._scales, self.config.beads
        path.q = np.stack([atoms.positions.ravel() for atoms in beads]) * scales.length
        if self.config.velocities == "structure":
            path.p = np.stack([atoms.get_momenta().ravel() for atoms in beads]) * scales.momentum
            return
        # A classical polymer at the number of beads times the temperature.
        thermal = self.config.beads * self.config.temperature * scales.temperature
        spread = np.sqrt(np.repeat(self._masses * scales.mass, 3) * thermal)
        path.p = spread * simulation.prng.gvec((count, 3 * len(beads[0])))

    def step(self) -> None:
        """One time step."""
        try:
            self._simulation.run_step(self._simulation.step)
        except SystemExit:
            raise InputError("i-PI was asked to stop by something else in this process; start a new one") from None
        self._simulation.step += 1

    def sample(self) -> Sample:
        """Where the path is, and its estimators."""
        system, scales, thermal = self._system, self._scales, self.config.temperature
        count = self.config.beads
        potential = float(np.mean(system.forces.pots)) / scales.energy  # asks the driver where it has to
        shape = (count, len(self._masses), 3)
        positions = np.array(system.beads.q).reshape(shape) / scales.length
        momenta = np.array(system.beads.p).reshape(shape) / scales.momentum
        forces = np.array(system.forces.f).reshape(shape) / scales.force
        kinetic = estimators.kinetic_virial(positions, forces, thermal)
        beads = [atoms.copy() for atoms in self._driver.beads]
        stresses = np.array([found["stress"] for found in self._driver.results if "stress" in found])
        volume = beads[0].get_volume() if len(stresses) else None
        for atoms, values in zip(beads, momenta, strict=True):
            atoms.set_momenta(values)
        results = [dict(found) for found in self._driver.results]
        if self._turn is not None:
            beads = [_turned(atoms, atoms.cell @ self._turn, self._turn.T) for atoms in beads]
            results = [_turned_results(found, self._turn.T) for found in results]
        results = [_named(found) for found in results]
        return Sample(
            beads,
            results,
            potential=potential,
            kinetic_virial=kinetic,
            kinetic_primitive=estimators.kinetic_primitive(positions, self._masses, thermal),
            temperature=estimators.temperature(momenta, self._masses, fixed=3 if self.config.fix_centre else 0),
            conserved=float(system.ensemble.econs) / count / scales.energy,
            gyration=estimators.gyration_radius(positions),
            pressure=None if volume is None else estimators.pressure(kinetic, stresses, volume),
            volume=volume,
        )

    def capture(self) -> State:
        """Everything from which the future of the path follows."""
        system, simulation = self._system, self._simulation
        generator = simulation.prng.state[0]["state"]
        state = {
            "step": np.array(simulation.step),
            "positions": np.array(system.beads.q),
            "momenta": np.array(system.beads.p),
            "cell": np.array(system.cell.h),
            "work": np.array([system.ensemble.eens, system.ensemble.time]),
            "random_key": np.array(generator["key"]),
            "random_place": np.array(generator["pos"]),
            **self._driver.state(),
        }
        for name, thermostat in self._thermostats().items():
            state[f"{name}_heat"] = np.array([part.ethermo for part in _parts(thermostat)])
            if hasattr(thermostat, "s"):
                state[f"{name}_memory"] = np.array(thermostat.s)
        if self.config.ensemble == "npt":
            state["barostat_momentum"] = np.array(system.motion.barostat.p)
        return state

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `capture` returned."""
        system, simulation = self._system, self._simulation
        simulation.step = int(state["step"])
        system.cell.h = state["cell"]
        system.beads.q = state["positions"]
        system.beads.p = state["momenta"]
        system.ensemble.eens, system.ensemble.time = (float(value) for value in state["work"])
        generator = {"key": np.array(state["random_key"]), "pos": int(state["random_place"])}
        simulation.prng.state = [{"bit_generator": "MT19937", "state": generator}]
        for name, thermostat in self._thermostats().items():
            for part, heat in zip(_parts(thermostat), state[f"{name}_heat"], strict=True):
                part.ethermo = float(heat)
            if hasattr(thermostat, "s"):
                thermostat.s[...] = state[f"{name}_memory"]
        if self.config.ensemble == "npt":
            system.motion.barostat.p[...] = state["barostat_momentum"]
        self._driver.repeat(state)

    def _thermostats(self) -> dict[str, Any]:
        motion = self._system.motion
        found = {"thermostat": motion.thermostat}
        return found | ({"cell_thermostat": motion.barostat.thermostat} if self.config.ensemble == "npt" else {})


def require_ipi() -> None:
    """Raise `InputError` where i-PI cannot be imported."""
    try:
        with _quiet():
            import ipi.engine.simulation  # noqa: F401  the import that takes long
    except ImportError as error:
        raise InputError(f"path integrals need i-PI ({error}); run: pip install 'atomlens[ipi]'") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """i-PI sets how much it says for the whole process; leave that as it was."""
    from ipi.utils.messages import verbosity

    before = verbosity.level
    names = ("quiet", "low", "medium", "high", "debug", "trace")
    verbosity.level = "quiet"
    try:
        yield
    finally:
        verbosity.level = names[before]


def _parts(thermostat: Any) -> list[Any]:
    """The thermostats of the normal modes, where there are such."""
    return list(getattr(thermostat, "_thermos", [thermostat]))


def _triangular(atoms: ase.Atoms) -> tuple[np.ndarray, np.ndarray | None]:
    """The cell in i-PI's form (rows, lower triangle, right-handed), and the rotation R there: x becomes R x."""
    cell = np.array(atoms.cell)
    if np.all(np.diag(cell) > 0) and not np.triu(cell, 1).any():
        return cell, None
    lattice, turn = atoms.cell.standard_form()
    sign = atoms.cell.handedness  # a left-handed cell is mirrored as well, which no energy notices
    return np.tril(sign * np.array(lattice)), sign * np.array(turn)


def _turned(atoms: ase.Atoms, cell: np.ndarray | None, turn: np.ndarray) -> ase.Atoms:
    found: ase.Atoms = atoms.copy()
    found.set_cell(cell)
    found.positions = atoms.positions @ turn.T
    if atoms.has("momenta"):
        found.set_momenta(atoms.get_momenta() @ turn.T)
    return found


def _named(found: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Results under ASE's names."""
    if "atom_energies" in found:
        return ase_results(found)
    results: dict[str, Any] = {**found, "energy": float(found["energy"])}
    return results | ({"stress": full_3x3_to_voigt_6_stress(found["stress"])} if "stress" in found else {})


def _turned_results(found: Mapping[str, np.ndarray], turn: np.ndarray) -> dict[str, np.ndarray]:
    """Results with their vectors and tensors turned."""
    results = dict(found)
    results |= {name: np.asarray(found[name]) @ turn.T for name in ("forces", "dipole") if name in found}
    return results | ({"stress": turn @ np.asarray(found["stress"]) @ turn.T} if "stress" in found else {})
