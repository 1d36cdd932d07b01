"""Gradient-domain kernels for frames of one molecule (sGDML; Chmiela et al., Nat. Commun. 9, 3887 (2018))."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from atomlens.baselines.descriptor import kinds_of
from atomlens.baselines.memory import check_memory, free_memory
from atomlens.baselines.problem import Problem
from atomlens.baselines.result import BaselineResult
from atomlens.errors import InputError
from atomlens.progress import track

FEW = 200  # frames that σ is chosen with, and at most so many that choose it
_SHARE = 0.9  # of free memory that sGDML may use


def gradient_domain(problem: Problem, name: str, what: str, *, symmetric: bool, title: str = "") -> BaselineResult:
    """Learn from forces; energies follow up to a constant, which the training energies give.

    σ is chosen by the forces of at most 200 validation frames with models of at most 200 training frames, by doubling
    and halving. Where the closed solution does not fit into memory, sGDML solves by iteration.

    Args:
        problem: frames of one molecule, with label ``energy`` and known forces.
        name: of the result.
        what: about the method.
        symmetric: find the permutations of alike atoms among the frames, and treat these as the same.
        title: of progress bars.

    Raises:
        InputError: sgdml is not installed, these are no such frames, or its process broke down.
    """
    _check(problem)
    given = _given(problem, symmetric)
    found = _run(given, title)
    atoms = len(given["numbers"])
    return BaselineResult(
        name,
        what,
        {
            "energy": problem.errors(found["energy"]),
            "forces": problem.errors(found["forces"].reshape(-1, 3), "forces"),
        },
        {
            "sigma": float(found["sigma"]),
            "permutations": int(found["permutations"]),
            "solver": str(found["solver"]),
            "validation_forces_mae": float(found["validation_mae"]),
            "first_search": {f"{sigma:g}": error for sigma, error in found["tried"].tolist()},
        },
        {"fit": float(found["seconds"][0]), "predict": float(found["seconds"][1])},
        atoms * (atoms - 1) // 2,
    )


def _check(problem: Problem) -> None:
    if importlib.util.find_spec("sgdml") is None:
        raise InputError("needs sgdml, which is not installed: pip install 'atomlens[baselines]'")
    if "trajectory" not in kinds_of(problem.data):
        raise InputError("serves frames of one molecule with its atoms in one order; these structures are others")
    if problem.label != "energy" or "forces" not in problem.data.labels:
        raise InputError("learns from forces and is judged by energies; name both labels")
    learned = problem.data.subset(np.concatenate([problem.train, problem.validation]))
    if not learned.known(["forces"]).all():
        raise InputError("needs the forces of every frame to learn from; leave out those without")


def _given(problem: Problem, symmetric: bool) -> dict[str, np.ndarray]:
    data = problem.data
    atoms = int(data.n_atoms[0])
    shape = (len(data), atoms, 3)
    positions, forces = data.positions.reshape(shape), data.labels["forces"].reshape(shape)
    random = np.random.default_rng(0)
    parts = {
        "train": problem.train,
        "few": np.sort(random.permutation(problem.train)[:FEW]),
        "validation": np.sort(random.permutation(problem.validation)[:FEW]),
    }
    given = {"numbers": data.numbers[:atoms], "symmetric": np.array(symmetric), "test_R": positions[problem.test]}
    for part, rows in parts.items():
        given |= {f"{part}_R": positions[rows], f"{part}_F": forces[rows], f"{part}_E": data.labels["energy"][rows]}
    few = min(len(problem.train), FEW)
    check_memory(closed_solution_bytes(few, atoms), f"sGDML on {few} frames")
    given["gigabytes"] = np.array(_SHARE * (free_memory() or 2**33) / 2**30)
    return given


def closed_solution_bytes(frames: int, atoms: int) -> int:
    """What sGDML's closed solution takes: three matrices of (3 N n)² numbers."""
    return 3 * 8 * (3 * atoms * frames) ** 2


def _run(given: dict[str, np.ndarray], title: str) -> dict[str, Any]:
    """Hand arrays to the process and wait for its answer."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", errors="replace") as complaints:
        source, target = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(source, **given)  # type: ignore[arg-type]
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        # -P: files of the working folder must not pass for installed packages.
        command = [sys.executable, "-P", "-m", "atomlens.baselines.gradient_domain_process", str(source), str(target)]
        environment = {**os.environ, "PYTHONPATH": path}
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, env=environment, encoding="utf-8"
        ) as child:
            try:
                _follow(child, title)
            except BaseException:
                child.kill()
                raise
        if child.returncode or not target.is_file():
            complaints.seek(0)
            words = [line.strip() for line in complaints.read().splitlines() if line.strip()]
            reason = words[-1][:200] if words else f"code {child.returncode}"
            raise InputError(f"sGDML ended without a result ({reason}); use fewer frames, or more memory")
        with np.load(target, allow_pickle=False) as archive:
            return dict(archive)


def _follow(child: subprocess.Popen[str], title: str) -> None:
    """Show what the process says as one bar per task."""
    assert child.stdout is not None
    line = child.stdout.readline()
    while line:
        told = json.loads(line)
        what, done = told["what"], 0
        with track(f"{title}: {what}" if title else "", told["total"]) as bar:
            while line and told["what"] == what:
                bar.expect(told["total"])  # sGDML counts hundredths until it knows better
                bar.advance(told["done"] - done)
                done = told["done"]
                line = child.stdout.readline()
                told = json.loads(line) if line else told
