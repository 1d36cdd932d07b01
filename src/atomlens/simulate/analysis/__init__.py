"""The analysis of runs: means with error bars, distributions, spectra, thermodynamics, and their panels.

Everything takes `atomlens.simulate.frames.Frames`. A new analysis is one file and one row of `RUN_ANALYSES`.
"""

from atomlens.simulate.analysis.blocks import Average, BlockCurve, block_average, block_curve
from atomlens.simulate.analysis.distributions import Comparison, Density, compare, sampled_density
from atomlens.simulate.analysis.mechanics import degrees_of_freedom
from atomlens.simulate.analysis.pairs import (
    Bonds,
    PairDistribution,
    bond_density,
    distance_density,
    find_bonds,
    nearest_density,
    pair_distributions,
)
from atomlens.simulate.analysis.registry import RUN_ANALYSES, RunAnalysis, run_panels
from atomlens.simulate.analysis.settings import RunSettings
from atomlens.simulate.analysis.sizes import diameter_density, gyration_density, opposite_density
from atomlens.simulate.analysis.spectra import (
    Autocorrelation,
    Spectrum,
    infrared,
    velocity_autocorrelation,
    vibrational_density,
)
from atomlens.simulate.analysis.thermodynamics import (
    KineticEnergyTest,
    Thermodynamics,
    kinetic_energy_test,
    thermodynamic_means,
)

__all__ = [
    "RUN_ANALYSES",
    "Autocorrelation",
    "Average",
    "BlockCurve",
    "Bonds",
    "Comparison",
    "Density",
    "KineticEnergyTest",
    "PairDistribution",
    "RunAnalysis",
    "RunSettings",
    "Spectrum",
    "Thermodynamics",
    "block_average",
    "block_curve",
    "bond_density",
    "compare",
    "degrees_of_freedom",
    "diameter_density",
    "distance_density",
    "find_bonds",
    "gyration_density",
    "infrared",
    "kinetic_energy_test",
    "nearest_density",
    "opposite_density",
    "pair_distributions",
    "run_panels",
    "sampled_density",
    "thermodynamic_means",
    "velocity_autocorrelation",
    "vibrational_density",
]
