"""Explanations: what a model has learned, in terms that a chemist knows. One analysis is one file."""

from atomlens.explain.chemical_potential import (
    PotentialCut,
    local_chemical_potential,
    potential_cut,
    probe_reach,
)
from atomlens.explain.contributions import AtomContributions, atom_contributions
from atomlens.explain.field import Plane

__all__ = [
    "AtomContributions",
    "Plane",
    "PotentialCut",
    "atom_contributions",
    "local_chemical_potential",
    "potential_cut",
    "probe_reach",
]
