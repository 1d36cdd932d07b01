"""Path-integral molecular dynamics: quantum nuclei as ring polymers, moved by i-PI."""

from atomlens.simulate.path_integrals.config import PathIntegralConfig
from atomlens.simulate.path_integrals.convergence import BeadConvergence, bead_convergence
from atomlens.simulate.path_integrals.energies import PathEnergies, path_energies
from atomlens.simulate.path_integrals.estimators import beads_needed
from atomlens.simulate.path_integrals.observables import Observables, read_observables
from atomlens.simulate.path_integrals.panel import convergence_panel, path_integrals_panel
from atomlens.simulate.path_integrals.run import PathIntegralRun, run_path_integrals

__all__ = [
    "BeadConvergence",
    "Observables",
    "PathEnergies",
    "PathIntegralConfig",
    "PathIntegralRun",
    "bead_convergence",
    "beads_needed",
    "convergence_panel",
    "path_energies",
    "path_integrals_panel",
    "read_observables",
    "run_path_integrals",
]
