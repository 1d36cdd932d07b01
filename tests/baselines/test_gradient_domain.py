"""Gradient-domain kernels (sGDML) on frames whose forces are known exactly."""

import importlib.util
import io
import json
import logging
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from small_sets import split_of

from atomlens.baselines import gradient_domain, run_baselines
from atomlens.baselines.gradient_domain import closed_solution_bytes
from atomlens.baselines.suite import serving

# Not by importing it: that would change how this process logs.
if importlib.util.find_spec("sgdml") is None:
    pytest.skip("sgdml is not installed", allow_module_level=True)
pytest.importorskip("sklearn")


def test_energies_and_forces_of_springs(frames, capfd):
    assert serving(frames, "energy")[-2:] == ["gdml", "sgdml"]
    rows = run_baselines(frames, split_of(frames, 30, 10), "energy", ["gdml", "sgdml"], title=False)
    plain, symmetric = rows
    assert [row.failure for row in rows] == [None, None]
    for row in rows:
        assert set(row.errors) == {"energy", "forces"}
        assert row.errors["energy"].count == 20
        assert row.errors["energy"].gain > 20
        assert row.errors["forces"].gain > 20
        assert row.chosen["solver"] == "analytic"
        assert row.size == 3
    assert (plain.chosen["permutations"], symmetric.chosen["permutations"]) == (1, 2)  # the hydrogens change places
    assert symmetric.errors["forces"].mae <= plain.errors["forces"].mae * 1.05
    shown = capfd.readouterr()
    assert shown.out == shown.err == ""


def test_nothing_of_ours_is_changed(frames):
    import torch

    before = logging.getLoggerClass(), torch.get_num_threads(), torch.get_default_dtype()
    run_baselines(frames, split_of(frames, 10, 5), "energy", ["gdml"], title=False)
    assert (logging.getLoggerClass(), torch.get_num_threads(), torch.get_default_dtype()) == before
    assert "sgdml" not in sys.modules


def test_other_structures_are_refused(molecules):
    (row,) = run_baselines(molecules, split_of(molecules, 120, 60), "energy", ["sgdml"], title=False)
    assert "serves frames of one molecule" in row.failure


def test_unknown_forces_are_refused(frames):
    from dataclasses import replace

    forces = frames.labels["forces"].copy()
    forces[4] = np.nan
    data = replace(frames, labels={**frames.labels, "forces": forces})
    (row,) = run_baselines(data, split_of(data, 30, 10), "energy", ["gdml"], title=False)
    assert "needs the forces of every frame" in row.failure


def test_a_broken_process_is_a_sentence(frames, monkeypatch):
    monkeypatch.setattr("atomlens.baselines.gradient_domain._given", lambda *_: {"numbers": np.array([8, 1, 1])})
    (row,) = run_baselines(frames, split_of(frames, 30, 10), "energy", ["gdml"], title=False)
    assert row.failure.startswith("sGDML ended without a result (KeyError")


def test_memory_of_the_closed_solution():
    # 1,000 frames of nine atoms: 27,000 numbers, three matrices of doubles.
    assert closed_solution_bytes(1000, 9) == 3 * 8 * 27_000**2


def test_a_bar_follows_a_total_that_changes(monkeypatch):
    told = [("kernel", 1, 100), ("kernel", 5, 40), ("kernel", 40, 40), ("test", 3, 7)]
    lines = "".join(json.dumps(dict(zip(("what", "done", "total"), line, strict=True))) + "\n" for line in told)
    seen = []

    class Bar:
        def __init__(self, title, total):
            self.entry = [title, total, 0]
            seen.append(self.entry)

        def expect(self, total):
            self.entry[1] = total

        def advance(self, steps):
            self.entry[2] += steps

    monkeypatch.setattr(gradient_domain, "track", lambda title, total: nullcontext(Bar(title, total)))
    gradient_domain._follow(SimpleNamespace(stdout=io.StringIO(lines)), "sgdml")
    assert seen == [["sgdml: kernel", 40, 40], ["sgdml: test", 7, 3]]
