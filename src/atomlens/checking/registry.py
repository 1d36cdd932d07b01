"""Every check of data by name: a new one is a file and a row here."""

from __future__ import annotations

from atomlens.checking import (
    cells,
    coverage,
    duplicates,
    energies,
    force_energy,
    forces,
    label_order,
    lengths,
    net_force,
    outliers,
    properties,
    statistics,
    stress,
    structures,
)
from atomlens.checking.outcome import DataCheck

# In the order in which they are shown: what the data are, whether structures can be, whether labels can be.
_ROWS: tuple[DataCheck, ...] = (
    statistics.CHECK,
    coverage.CHECK,
    structures.CHECK,
    cells.CELLS,
    cells.CHARGES,
    lengths.CHECK,
    energies.CHECK,
    forces.CHECK,
    properties.CHECK,
    net_force.NET_FORCE,
    force_energy.FORCE_ENERGY,
    stress.STRESS,
    label_order.LABEL_ORDER,
    outliers.CHECK,
    duplicates.CHECK,
)
CHECKS: dict[str, DataCheck] = {row.name: row for row in _ROWS}
