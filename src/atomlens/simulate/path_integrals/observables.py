"""The table of a path-integral run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import units

from atomlens.errors import InputError
from atomlens.simulate.path_integrals.engine import Sample
from atomlens.simulate.recording import TABLE, read_table

COLUMNS = (
    "step",
    "time_fs",
    "replica",
    "potential_eV",
    "kinetic_virial_eV",
    "kinetic_primitive_eV",
    "temperature_K",
    "conserved_eV",
    "gyration_A",
)
OF_CRYSTALS = ("volume_A3", "pressure_GPa")


@dataclass(frozen=True)
class Observables:
    """Estimators along a run; arrays are (rows, replicas)."""

    steps: np.ndarray  # (rows,)
    times: np.ndarray  # (rows,) fs
    potential: np.ndarray  # eV, mean over beads
    kinetic_virial: np.ndarray  # eV
    kinetic_primitive: np.ndarray  # eV
    temperature: np.ndarray  # K, by momenta
    conserved: np.ndarray  # eV
    gyration: np.ndarray  # Å
    volume: np.ndarray | None = None  # Å³
    pressure: np.ndarray | None = None  # GPa

    @property
    def energy(self) -> np.ndarray:
        """Total energy by the centroid-virial estimator, eV."""
        return np.asarray(self.potential + self.kinetic_virial)

    @property
    def interval(self) -> float:
        """Between rows, fs; 0 for a single one."""
        return float(self.times[1] - self.times[0]) if len(self.times) > 1 else 0.0

    def after(self, time: float) -> Observables:
        """Rows from a time in fs on.

        Raises:
            InputError: there are none.
        """
        kept = self.times >= time
        if not kept.any():
            raise InputError(f"the run ends before {time:g} fs; leave out less of its beginning, or run longer")
        found: dict[str, Any] = {name: None if value is None else value[kept] for name, value in vars(self).items()}
        return Observables(**found)


def row(step: int, time: float, replica: int, sample: Sample) -> list[str | int]:
    """What the table says of one path; energies with nine decimals, for drifts are small beside them."""
    values = [sample.potential, sample.kinetic_virial, sample.kinetic_primitive]
    cells: list[str | int] = [step, f"{time:.10g}", replica, *(f"{value:.9f}" for value in values)]
    cells += [f"{sample.temperature:.6f}", f"{sample.conserved:.9f}", f"{sample.gyration:.9f}"]
    if sample.pressure is not None and sample.volume is not None:
        cells += [f"{sample.volume:.9f}", f"{sample.pressure / units.GPa:.9f}"]
    return cells


def read_observables(folder: str | Path) -> Observables:
    """The table that a run wrote.

    Raises:
        InputError: there is none, or it is no table of a path-integral run.
    """
    path = Path(folder) / TABLE
    try:
        names, table = read_table(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error}); give the folder of a run", file=str(path)) from None
    if tuple(names[: len(COLUMNS)]) != COLUMNS:
        raise InputError("is not the table of a path-integral run; give the folder of one", file=str(path))
    replicas = int(table[:, 2].max()) + 1
    table = table[: len(table) // replicas * replicas].reshape(-1, replicas, len(names))
    more = [table[:, :, len(COLUMNS) + k] for k in range(len(names) - len(COLUMNS))]
    values = [table[:, :, k] for k in range(3, len(COLUMNS))]
    return Observables(table[:, 0, 0].astype(int), table[:, 0, 1], *values, *more)
