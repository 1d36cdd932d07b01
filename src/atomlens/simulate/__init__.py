"""Simulation with trained models, through the engines that exist. One engine is one file."""

from atomlens.simulate.calculator import Calculator
from atomlens.simulate.dynamics import EnergyTrace, constant_energy_run

__all__ = ["Calculator", "EnergyTrace", "constant_energy_run"]
