"""Molecular dynamics by ASE's integrators: one ensemble is one row of `ensembles.ENSEMBLES`."""

from atomlens.simulate.molecular_dynamics.config import MolecularDynamicsConfig
from atomlens.simulate.molecular_dynamics.run import MolecularDynamicsRun, run_molecular_dynamics

__all__ = ["MolecularDynamicsConfig", "MolecularDynamicsRun", "run_molecular_dynamics"]
