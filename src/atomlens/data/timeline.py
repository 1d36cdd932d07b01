"""When the structures of a data set were met along their trajectories, and how long these remember."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from atomlens.data.compositions import compositions
from atomlens.data.correlation import autocorrelation_time
from atomlens.data.dataset import Dataset

FRAME, TRAJECTORY = "frame", "trajectory"  # the columns
_ENERGIES = ("energy", "formation_energy")


@dataclass(frozen=True)
class Timeline:
    """A place in time for every structure."""

    run: np.ndarray  # (structures,) number of the trajectory, from 0
    time: np.ndarray  # (structures,) place in time along it, in steps of the column `frame` or of the file
    stated: bool  # whether a column says so; otherwise the order in the file is taken for the order in time

    @property
    def runs(self) -> int:
        """How many trajectories there are."""
        return int(self.run.max()) + 1

    @property
    def unit(self) -> str:
        """What times are counted in."""
        return "steps of the column 'frame'" if self.stated else "frames of the file"


def timeline(data: Dataset) -> Timeline | None:
    """The columns `trajectory` and `frame`, or else one trajectory in the order of the file.

    Returns:
        None for structures of several compositions that no column puts into trajectories.
    """
    names = system_column(data, TRAJECTORY)
    times = system_column(data, FRAME)
    if names is None and compositions(data).any():
        return None
    run = np.zeros(len(data), dtype=np.int64)
    if names is not None:
        run = np.asarray(np.unique(names, return_inverse=True)[1]).reshape(-1)
    stated = times is not None
    return Timeline(run, np.arange(len(data), dtype=float) if times is None else times.astype(float), stated)


def system_column(data: Dataset, name: str) -> np.ndarray | None:
    """(structures,) a column with one finite number per structure; None where there is none of that name."""
    column = data.columns.get(name)
    if column is None or column.per != "system":
        return None
    values = np.asarray(column.values)
    return values if values.shape == (len(data),) and np.isfinite(values).all() else None


def memory(data: Dataset, when: Timeline) -> tuple[float, str] | None:
    """Integrated autocorrelation time in steps of the timeline, and of what.

    It is that of the energy or, where this is longer, of an open structure's size (root mean square distance of two
    atoms): torsions hardly show in the energy. Changes that are slower still may show in neither.

    Returns:
        None where neither can be followed: periodic structures without energies, or a single frame.
    """
    series = {name: np.asarray(data.labels[name]) for name in _ENERGIES if name in data.labels}
    if not data.pbc.any():
        series["size of the structure"] = root_mean_square_distance(data)
    found = []
    for name, values in series.items():
        known = np.isfinite(values)
        if known.sum() > 1:
            time = autocorrelation_time(values[known], when.time[known], when.run[known])
            found.append((time, name.replace("_", " ")))
    found = [entry for entry in found if np.isfinite(entry[0])]
    return max(found) if found else None


def root_mean_square_distance(data: Dataset, weights: np.ndarray | None = None) -> np.ndarray:
    """(structures,) Å, sqrt(Σ w_i w_j d_ij² / number of pairs) over the pairs of atoms i < j; images are not looked at.

    With Σ_{i<j} w_i w_j d_ij² = (Σ w_i) (Σ w_i r_i²) - |Σ w_i r_i|² it costs no more than the atoms.

    Args:
        data: the structures.
        weights: (atoms,); None: 1.
    """
    starts, sizes = data.offsets[:-1], data.n_atoms
    weight = np.ones(len(data.numbers)) if weights is None else weights
    total, second = np.add.reduceat(weight, starts), np.zeros(len(data))
    for axis in range(3):
        along = np.asarray(data.positions[:, axis])
        along = along - np.repeat(along[starts], sizes)  # far from the origin digits would be lost
        weighted = weight * along
        second += total * np.add.reduceat(weighted * along, starts) - np.square(np.add.reduceat(weighted, starts))
    return np.asarray(np.sqrt(np.maximum(second, 0.0) / np.maximum(sizes * (sizes - 1) / 2, 1)))
