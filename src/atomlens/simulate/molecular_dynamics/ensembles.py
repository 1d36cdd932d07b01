"""What a run holds constant, and by which integrator of ASE. One ensemble is one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import ase
import numpy as np
from ase import units
from ase.md.bussi import Bussi
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import MTKNPT, IsotropicMTKNPT, NoseHooverChainNVT, NoseHooverChainThermostat
from ase.md.verlet import VelocityVerlet

from atomlens.simulate.molecular_dynamics.config import MolecularDynamicsConfig
from atomlens.simulate.molecular_dynamics.velocities import degrees_of_freedom

Make = Callable[[ase.Atoms, MolecularDynamicsConfig, np.random.Generator], MolecularDynamics]


@dataclass(frozen=True)
class Ensemble:
    """A way to move atoms.

    Momentum and angular momentum are conserved by all but Langevin dynamics, and by thermostats that scale momenta are
    kept at zero if they are zero: they are set so, and thermostats count the degrees of freedom that are left.
    """

    title: str
    make: Make
    variables: tuple[str, ...]  # attributes that decide how the engine goes on, beside atoms and random numbers
    at_rest: bool = True  # whether the whole is at rest, see `velocities.degrees_of_freedom`
    scales_at_random: bool = False  # what rounding leaves of the motion of the whole would grow without bounds
    conserved: Callable[[Any], float] | None = None  # eV; None: it exchanges heat that nobody counts
    moves_cell: bool = False

    def degrees_of_freedom(self, atoms: ase.Atoms) -> int:
        """Among which the kinetic energy is shared out."""
        return degrees_of_freedom(atoms, at_rest=self.at_rest)


def state(engine: MolecularDynamics, ensemble: Ensemble) -> dict[str, np.ndarray]:
    """Atoms and `Ensemble.variables` of an engine, copied."""
    atoms = engine.atoms
    own = {"positions": atoms.positions, "momenta": atoms.get_momenta(), "cell": atoms.cell.array}
    own |= {name: attrgetter(name)(engine) for name in ensemble.variables}
    return {name: np.array(value, dtype=np.float64) for name, value in own.items()}


def restore(engine: MolecularDynamics, ensemble: Ensemble, found: dict[str, np.ndarray]) -> None:
    """Bring an engine, made of the structure that the run began with, to a `state`."""
    atoms = engine.atoms
    atoms.set_cell(found["cell"])
    atoms.set_positions(found["positions"])
    atoms.set_momenta(found["momenta"])
    for name in ensemble.variables:
        *path, last = name.split(".")
        owner = attrgetter(".".join(path))(engine) if path else engine
        value = found[name]
        setattr(owner, last, value.copy() if value.ndim else float(value))


def _step(config: MolecularDynamicsConfig) -> float:
    return config.timestep * units.fs


def _constant_energy(atoms: ase.Atoms, config: MolecularDynamicsConfig, rng: np.random.Generator) -> MolecularDynamics:
    del rng
    return VelocityVerlet(atoms, _step(config))


def _langevin(atoms: ase.Atoms, config: MolecularDynamicsConfig, rng: np.random.Generator) -> MolecularDynamics:
    # Of ASE's two, this one samples the positions of a harmonic oscillator exactly at any time step.
    time = config.thermostat_time * units.fs
    return LangevinBAOAB(atoms, _step(config), temperature_K=config.temperature, T_tau=time, hydrostatic=True, rng=rng)


def _bussi(atoms: ase.Atoms, config: MolecularDynamicsConfig, rng: np.random.Generator) -> MolecularDynamics:
    engine = Bussi(atoms, _step(config), config.temperature, config.thermostat_time * units.fs, rng=rng)
    engine.ndof = degrees_of_freedom(atoms, at_rest=True)  # ASE counts three for every atom
    engine.target_kinetic_energy = 0.5 * engine.temp * engine.ndof
    return engine


def _chain(atoms: ase.Atoms, config: MolecularDynamicsConfig) -> NoseHooverChainThermostat:
    """A thermostat for the degrees of freedom that there are; ASE's own counts three for every atom."""
    atoms_worth: Any = degrees_of_freedom(atoms, at_rest=True) / 3  # need be no whole number
    return NoseHooverChainThermostat(
        num_atoms_global=atoms_worth,
        masses=atoms.get_masses()[:, None],
        temperature_K=config.temperature,
        tdamp=config.thermostat_time * units.fs,
    )


def _nose_hoover(atoms: ase.Atoms, config: MolecularDynamicsConfig, rng: np.random.Generator) -> MolecularDynamics:
    del rng
    engine = NoseHooverChainNVT(atoms, _step(config), config.temperature, config.thermostat_time * units.fs)
    engine._thermostat = _chain(atoms, config)
    return engine


def _constant_pressure(kind: Callable[..., MolecularDynamics]) -> Make:
    def make(atoms: ase.Atoms, config: MolecularDynamicsConfig, rng: np.random.Generator) -> MolecularDynamics:
        del rng
        times = {"tdamp": config.thermostat_time * units.fs, "pdamp": config.barostat_time * units.fs}
        pressure = config.pressure * units.GPa
        engine: Any = kind(atoms, _step(config), temperature_K=config.temperature, pressure_au=pressure, **times)
        engine._thermostat = _chain(atoms, config)
        engine._num_atoms_global = degrees_of_freedom(atoms, at_rest=True) / 3  # d/N_f of the equations of motion
        if kind is MTKNPT:
            # The momenta of the cell are a symmetric matrix: six degrees of freedom, where ASE counts nine.
            barostat = engine._barostat
            barostat._cell_dof = 6
            barostat._R[0] *= 6 / 9
        return engine

    return make


_CHAIN = ("_q", "_p", "_thermostat._eta", "_thermostat._p_eta")
_BAROSTAT = ("_barostat._xi", "_barostat._p_xi")

ENSEMBLES: dict[str, Ensemble] = {
    "nve": Ensemble(
        "constant energy, velocity Verlet", _constant_energy, (), conserved=lambda engine: _total(engine.atoms)
    ),
    "langevin": Ensemble(
        "constant temperature, Langevin dynamics (BAOAB; Leimkuhler and Matthews, J. Chem. Phys. 138, 174102, 2013)",
        _langevin,
        ("accel",),
        at_rest=False,
    ),
    "bussi": Ensemble(
        "constant temperature, stochastic velocity rescaling (Bussi et al., J. Chem. Phys. 126, 014101, 2007)",
        _bussi,
        ("transferred_energy",),
        scales_at_random=True,
        conserved=lambda engine: _total(engine.atoms) - engine.transferred_energy,
    ),
    "nose-hoover": Ensemble(
        "constant temperature, Nosé-Hoover chain (Martyna et al., J. Chem. Phys. 97, 2635, 1992)",
        _nose_hoover,
        _CHAIN,
        conserved=lambda engine: engine.get_conserved_energy(),
    ),
    "npt": Ensemble(
        "constant temperature and pressure, volume varies (Martyna et al., J. Chem. Phys. 101, 4177, 1994)",
        _constant_pressure(IsotropicMTKNPT),
        (*_CHAIN, *_BAROSTAT, "_eps", "_p_eps"),
        conserved=lambda engine: engine.get_conserved_energy(),
        moves_cell=True,
    ),
    "npt-cell": Ensemble(
        "constant temperature and pressure, cell varies (Martyna et al., J. Chem. Phys. 101, 4177, 1994)",
        _constant_pressure(MTKNPT),
        (*_CHAIN, *_BAROSTAT, "_h", "_p_g"),
        conserved=lambda engine: engine.get_conserved_energy(),
        moves_cell=True,
    ),
}


def _total(atoms: ase.Atoms) -> float:
    return atoms.get_potential_energy() + atoms.get_kinetic_energy()
