"""Figures of plain arrays, in one style: what analyses draw and reports show."""

from atomlens.figures.accuracy import learning_curve, parity
from atomlens.figures.contributions import atom_contributions, contribution_distributions
from atomlens.figures.physics import energy_drift, finite_difference_order
from atomlens.figures.potential import atoms_near_plane, potential_cut
from atomlens.figures.style import save_figure

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
