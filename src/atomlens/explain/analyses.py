"""The registry of analyses: one row each. What stands here is run by ``atomlens explain`` and shown on its page."""

from __future__ import annotations

from atomlens.explain import contributions
from atomlens.explain.panel import Analysis

ANALYSES: dict[str, Analysis] = {row.name: row for row in (contributions.ANALYSIS,)}
