"""The shape in which runs are handed to analyses."""

from dataclasses import replace

import numpy as np
import pytest

from atomlens.errors import InputError
from atomlens.simulate.frames import Frames


def made(frames=5, replicas=2, beads=3, **changes):
    rng = np.random.default_rng(0)
    copies = replicas * beads
    values = {
        "numbers": np.array([6, 1]),
        "masses": np.array([12.0, 1.0]),
        "pbc": np.zeros(3, dtype=bool),
        "times": 10.0 + 2.0 * np.arange(frames),
        "positions": rng.normal(size=(frames, copies, 2, 3)),
        "cells": np.zeros((frames, copies, 3, 3)),
        "velocities": rng.normal(size=(frames, copies, 2, 3)),
        "potential": rng.normal(size=(frames, copies)),
        "marked": np.zeros((frames, copies), dtype=bool),
        "beads": beads,
    }
    return Frames(**(values | changes))


def test_centroids_are_means_over_the_beads_of_each_path():
    frames = made()
    found = frames.centroids()
    assert (found.beads, found.replicas, found.positions.shape[1]) == (1, 2, 2)
    np.testing.assert_allclose(found.positions[:, 1], frames.positions[:, 3:].mean(axis=1))
    np.testing.assert_allclose(found.velocities[:, 0], frames.velocities[:, :3].mean(axis=1))
    np.testing.assert_allclose(found.potential[:, 0], frames.potential[:, :3].mean(axis=1))
    np.testing.assert_array_equal(found.times, frames.times)
    assert found.centroids() is found


def test_a_frame_is_marked_when_one_of_its_beads_is():
    marked = np.zeros((5, 6), dtype=bool)
    marked[2, 4] = True
    found = made(marked=marked).centroids().marked
    assert found.tolist() == [[False, False]] * 2 + [[False, True]] + [[False, False]] * 2


def test_times():
    frames = made()
    assert frames.interval == 2.0
    later = frames.after(13.9)
    np.testing.assert_array_equal(later.times, [14.0, 16.0, 18.0])
    np.testing.assert_array_equal(later.positions, frames.positions[2:])
    with pytest.raises(InputError, match="ends before 100 fs"):
        frames.after(100.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masses": np.ones(3)}, "masses"),
        ({"potential": np.ones((5, 2))}, "potential"),
        ({"positions": np.ones((5, 2, 3))}, "positions"),
        ({"times": np.array([0.0, 1.0, 2.0, 4.0, 5.0])}, "equally spaced"),
        ({"times": np.array([4.0, 3.0, 2.0, 1.0, 0.0])}, "equally spaced"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        made(**changes)


def test_paths_need_all_their_beads():
    with pytest.raises(InputError, match="6 copies are no whole number of paths of 4 beads"):
        replace(made(), beads=4)
