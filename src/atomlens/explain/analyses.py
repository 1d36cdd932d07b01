"""The registry of analyses: one row each, in the order of the page. ``atomlens explain`` runs what stands here."""

from __future__ import annotations

from atomlens.explain.alchemy import alchemy
from atomlens.explain.analysis import Analysis
from atomlens.explain.electrostatics import charges, electrostatics
from atomlens.explain.elements import embeddings
from atomlens.explain.errors import error_analysis
from atomlens.explain.interactions import bond_breaking, filters
from atomlens.explain.partition import contributions, groups, stability
from atomlens.explain.probes import potential_panel
from atomlens.explain.rings import rings

_MODULES = (
    contributions, stability, groups, potential_panel, electrostatics, charges, embeddings, bond_breaking, filters,
    rings, alchemy, error_analysis,
)  # fmt: skip
ANALYSES: dict[str, Analysis] = {module.ANALYSIS.name: module.ANALYSIS for module in _MODULES}
