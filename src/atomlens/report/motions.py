"""From motions and trajectories of panels to what the page's script plays: thinned out, centred and packed."""

from __future__ import annotations

from typing import Any

import numpy as np

from atomlens.data.system import AtomicSystem
from atomlens.panel import Motion, Trajectory
from atomlens.report.packing import quantised, rounded

MOST_FRAMES = 200  # of one trajectory on the page
MOST_BEADS = 16
_MOST_NUMBERS = 300_000  # of one trajectory, about 0.5 MB of the page
_DISPLACEMENT_STEP = 0.005  # of the largest, 0.002 Å at the usual amplitude
_POSITION_STEP = 0.005  # Å


def motion_view(view: Motion, system: AtomicSystem) -> dict[str, Any]:
    """Displacements, motion by motion and atom by atom."""
    shape = (len(view.labels), len(system.numbers), 3)
    displacements = np.asarray(view.displacements, dtype=np.float64).reshape(shape)
    return {
        "name": view.name,
        "labels": list(view.labels),
        "amplitude": view.amplitude,
        "displacements": quantised(displacements, _DISPLACEMENT_STEP),
    }


def trajectory_view(view: Trajectory, system: AtomicSystem) -> dict[str, Any]:
    """Evenly spaced frames, held in place: there is nothing beside which a structure could be seen to drift.

    Coordinates lie frame by frame behind each other, for neighbours in time are neighbours in space.
    """
    positions = np.asarray(view.positions, dtype=np.float64).reshape(len(view.times), 1, len(system.numbers), 3)
    beads = positions[:, :0] if view.beads is None else np.asarray(view.beads, dtype=np.float64)
    beads = beads[:, _evenly(beads.shape[1], MOST_BEADS)]
    per_frame = 3 * len(system.numbers) * (1 + beads.shape[1])
    kept = _evenly(len(positions), min(MOST_FRAMES, max(2, _MOST_NUMBERS // per_frame)))
    copies = np.concatenate([positions, beads], axis=1)[kept]
    copies += system.positions.mean(axis=0) - copies[:, :1].mean(axis=2, keepdims=True)
    return {
        "name": view.name,
        "unit": view.unit,
        "times": rounded(np.asarray(view.times)[kept], 6),
        "recorded": len(positions),
        "beads": beads.shape[1],
        "positions": quantised(copies.transpose(1, 2, 3, 0), _POSITION_STEP),
    }


def _evenly(count: int, most: int) -> np.ndarray:
    """Places of at most so many out of ``count``, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
