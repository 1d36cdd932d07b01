"""What a simulation recorded, in the shape that every analysis of it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from atomlens.errors import InputError


@dataclass(frozen=True)
class Frames:
    """Samples at equal intervals of one structure that moves in several copies: replicas, or replicas times beads.

    Copies are in the order of replicas, the beads of one replica beside each other.

    Raises:
        InputError: on building, for arrays that do not fit each other, or times that are not equally spaced.
    """

    numbers: np.ndarray  # (atoms,) atomic numbers
    masses: np.ndarray  # (atoms,) atomic mass units
    pbc: np.ndarray  # (3,) bool
    times: np.ndarray  # (frames,) fs
    positions: np.ndarray  # (frames, copies, atoms, 3) Å, not wrapped into the cell
    cells: np.ndarray  # (frames, copies, 3, 3) Å, rows are lattice vectors; zeros where there is none
    velocities: np.ndarray | None = None  # (frames, copies, atoms, 3) Å/fs
    potential: np.ndarray | None = None  # (frames, copies) eV
    dipoles: np.ndarray | None = None  # (frames, copies, 3) e·Å
    beads: int = 1  # of the path of each replica; 1: classical nuclei
    marked: np.ndarray | None = None  # (frames, copies) bool, frames that a guard warned of

    def __post_init__(self) -> None:
        frames, copies, atoms = self.positions.shape[:3] if self.positions.ndim == 4 else (0, 0, 0)
        shapes = {
            "positions": (frames, copies, atoms, 3),
            "numbers": (atoms,),
            "masses": (atoms,),
            "times": (frames,),
            "cells": (frames, copies, 3, 3),
            "velocities": (frames, copies, atoms, 3),
            "potential": (frames, copies),
            "dipoles": (frames, copies, 3),
            "marked": (frames, copies),
        }
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values is not None and (values.shape != shape or 0 in shape):
                raise InputError(f"a run needs {name} of shape {shape}, not {values.shape}; record it again")
        if self.beads < 1 or copies % self.beads:
            raise InputError(f"{copies} copies are no whole number of paths of {self.beads} beads; record all beads")
        steps = np.diff(self.times)
        if len(steps) and (steps.min() <= 0 or np.ptp(steps) > 1e-6 * abs(self.times[-1])):
            raise InputError("the frames are not equally spaced in time; record them at one interval")

    @property
    def interval(self) -> float:
        """Time between frames in fs; 0 for a single one."""
        return float(self.times[-1] - self.times[0]) / (len(self.times) - 1) if len(self.times) > 1 else 0.0

    @property
    def replicas(self) -> int:
        """Independent runs, each with a path of `beads`."""
        return self.positions.shape[1] // self.beads

    def after(self, time: float) -> Frames:
        """The frames from a time in fs on, such as the end of equilibration.

        Raises:
            InputError: there are none.
        """
        kept = self.times >= time
        if not kept.any():
            raise InputError(f"the run ends before {time:g} fs; leave out less of its beginning, or run longer")
        return self._with(lambda values: values[kept])

    def centroids(self) -> Frames:
        """Positions (and velocities) averaged over the beads of each path: one copy per replica."""
        if self.beads == 1:
            return self

        def mean(values: np.ndarray) -> np.ndarray:
            split = values.reshape(len(values), self.replicas, self.beads, *values.shape[2:])
            return np.asarray(split.any(axis=2) if values.dtype == bool else split.mean(axis=2))

        return self._with(lambda values: values if values is self.times else mean(values), beads=1)

    def _with(self, change: Callable[[np.ndarray], np.ndarray], **others: Any) -> Frames:
        """All that varies from frame to frame, changed."""
        names = ("times", "positions", "cells", "velocities", "potential", "dipoles", "marked")
        found: dict[str, Any] = {}
        for name in names:
            values = getattr(self, name)
            found[name] = None if values is None else change(values)
        return replace(self, **found, **others)
