"""Simulation with trained models, through the engines that exist: ASE, and i-PI for path integrals."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atomlens.simulate.analysis.registry import RUN_ANALYSES, run_panels
    from atomlens.simulate.analysis.settings import RunSettings
    from atomlens.simulate.calculator import Calculator
    from atomlens.simulate.dynamics import EnergyTrace, constant_energy_run
    from atomlens.simulate.frames import Frames
    from atomlens.simulate.frames_file import read_frames
    from atomlens.simulate.guard import Guard, GuardConfig
    from atomlens.simulate.guard.watcher import Watcher
    from atomlens.simulate.lockstep import Lockstep
    from atomlens.simulate.molecular_dynamics import (
        MolecularDynamicsConfig,
        MolecularDynamicsRun,
        run_molecular_dynamics,
    )
    from atomlens.simulate.path_integrals import (
        PathIntegralConfig,
        PathIntegralRun,
        bead_convergence,
        path_energies,
        run_path_integrals,
    )
    from atomlens.simulate.relaxation import RelaxationConfig, Relaxed, relax
    from atomlens.simulate.symmetry import PointGroup, point_group
    from atomlens.simulate.vibrations import Vibrations, harmonic_vibrations

# Looked up on first use, so that a calculator need not wait for what draws figures.
_PLACES = {
    "RUN_ANALYSES": "analysis.registry",
    "Calculator": "calculator",
    "EnergyTrace": "dynamics",
    "Frames": "frames",
    "Guard": "guard",
    "GuardConfig": "guard",
    "Lockstep": "lockstep",
    "MolecularDynamicsConfig": "molecular_dynamics",
    "MolecularDynamicsRun": "molecular_dynamics",
    "PathIntegralConfig": "path_integrals",
    "PathIntegralRun": "path_integrals",
    "PointGroup": "symmetry",
    "RelaxationConfig": "relaxation",
    "Relaxed": "relaxation",
    "RunSettings": "analysis.settings",
    "Vibrations": "vibrations",
    "Watcher": "guard.watcher",
    "bead_convergence": "path_integrals",
    "constant_energy_run": "dynamics",
    "harmonic_vibrations": "vibrations",
    "path_energies": "path_integrals",
    "point_group": "symmetry",
    "read_frames": "frames_file",
    "relax": "relaxation",
    "run_molecular_dynamics": "molecular_dynamics",
    "run_panels": "analysis.registry",
    "run_path_integrals": "path_integrals",
}

__all__ = [
    "RUN_ANALYSES",
    "Calculator",
    "EnergyTrace",
    "Frames",
    "Guard",
    "GuardConfig",
    "Lockstep",
    "MolecularDynamicsConfig",
    "MolecularDynamicsRun",
    "PathIntegralConfig",
    "PathIntegralRun",
    "PointGroup",
    "RelaxationConfig",
    "Relaxed",
    "RunSettings",
    "Vibrations",
    "Watcher",
    "bead_convergence",
    "constant_energy_run",
    "harmonic_vibrations",
    "path_energies",
    "point_group",
    "read_frames",
    "relax",
    "run_molecular_dynamics",
    "run_panels",
    "run_path_integrals",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'atomlens.simulate' has no attribute '{name}'")
    return getattr(import_module(f"atomlens.simulate.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
