"""All figures of a study under one name."""

from atomlens.report.accuracy import learning_curve, parity
from atomlens.report.contributions import atom_contributions, contribution_distributions
from atomlens.report.physics import energy_drift, finite_difference_order
from atomlens.report.potential import atoms_near_plane, potential_cut
from atomlens.report.style import save_figure

__all__ = [
    "atom_contributions",
    "atoms_near_plane",
    "contribution_distributions",
    "energy_drift",
    "finite_difference_order",
    "learning_curve",
    "parity",
    "potential_cut",
    "save_figure",
]
