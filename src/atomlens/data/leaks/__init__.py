"""Test structures that are close to training structures: what a test then measures is not what it seems to."""

from __future__ import annotations

from atomlens.data.leaks.find import find_leaks
from atomlens.data.leaks.report import InTime, LeakReport, SubsetLeaks

__all__ = ["InTime", "LeakReport", "SubsetLeaks", "find_leaks"]
