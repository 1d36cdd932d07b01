"""Gradient-domain learning in a process of its own: ``python -m ... IN.npz OUT.npz``.

sGDML changes how everybody logs, prints to standard output and ends the process where memory runs out; here that
disturbs nobody. Standard output carries one JSON object per line about the progress.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

FIRST_SIGMA = 20.0
_STEP = 2.0
_LAMBDA = 1e-10  # sGDML's own default; forces are scaled to a deviation of 1


def learn(given: dict[str, np.ndarray], report: Callable[[str, int, int], None]) -> dict[str, np.ndarray]:
    """Choose σ with some frames, fit with all, and predict the test frames.

    Args:
        given: ``numbers`` (atoms,), and of ``few``, ``train``, ``validation`` and ``test`` frames ``_R``, ``_E`` and
            ``_F`` (of the test ``_R`` only) in units that belong together; ``symmetric``, ``gigabytes``.
        report: called with what is done, how much of it, and of how much.

    Returns:
        ``energy`` (test,), ``forces`` (test, atoms, 3), ``sigma``, ``permutations``, ``solver``, ``validation_mae`` of
        the forces, ``tried`` (σ, error) and ``seconds`` (fit, predict).
    """
    from sgdml.train import GDMLTrain

    began = time.perf_counter()
    trainer = GDMLTrain(max_memory=float(given["gigabytes"]), max_processes=1)
    symmetric = bool(given["symmetric"])
    task = trainer.create_task(*_frames(given, "few"), *_frames(given, "validation"), FIRST_SIGMA, _LAMBDA,
                               use_sym=symmetric)  # fmt: skip
    permutations = task["perms"]
    tried: dict[float, float] = {}

    def error(sigma: float) -> float:
        if sigma not in tried:
            report(f"σ {sigma:g}", 0, 1)
            model = trainer.train({**task, "sig": sigma})
            off = _predict(model, given["validation_R"])[1] - given["validation_F"]
            tried[sigma] = float(np.abs(off).mean())
        return tried[sigma]

    sigma = FIRST_SIGMA
    while (best := min((sigma * _STEP, sigma / _STEP), key=error)) and error(best) < error(sigma):
        sigma = best
    full = trainer.create_task(*_frames(given, "train"), *_frames(given, "validation"), sigma, _LAMBDA,
                               perms=permutations)  # fmt: skip

    def assembling(current: int, total: int = 0, disp_str: str = "", **_: Any) -> None:
        if disp_str.startswith("Assembling") and total > 1:
            report("kernel", current, total)

    model = trainer.train(full, callback=assembling)
    off = _predict(model, given["validation_R"])[1] - given["validation_F"]
    fitted = time.perf_counter()
    energy, forces = _predict(model, given["test_R"], report)
    return {
        "energy": energy,
        "forces": forces,
        "sigma": np.array(sigma),
        "permutations": np.array(len(permutations)),
        "solver": np.array(str(model["solver_name"])),
        "validation_mae": np.array(np.abs(off).mean()),
        "tried": np.array(sorted(tried.items())),
        "seconds": np.array([fitted - began, time.perf_counter() - fitted]),
    }


def _frames(given: dict[str, np.ndarray], part: str) -> tuple[dict[str, Any], int]:
    """Frames as sGDML's data set, and that all of them are wanted."""
    frames = {key: given[f"{part}_{key}"] for key in "REF"}
    names = {"name": np.array(part), "theory": np.array("unknown"), "type": "d"}
    return {**names, "z": given["numbers"], **frames}, len(frames["E"])


def _predict(
    model: dict[str, Any], positions: np.ndarray, report: Callable[[str, int, int], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Energies (frames,) and forces (frames, atoms, 3), some frames at a time."""
    from sgdml.predict import GDMLPredict

    predictor = GDMLPredict(model, max_processes=1)
    energies, forces = [], []
    for start in range(0, len(positions), 100):
        some = positions[start : start + 100]
        energy, force = predictor.predict(some.reshape(len(some), -1))
        energies.append(energy)
        forces.append(force.reshape(some.shape))
        if report is not None:
            report("test", start + len(some), len(positions))
    return np.concatenate(energies), np.concatenate(forces)


def _teller(stream: TextIO) -> Callable[[str, int, int], None]:
    def tell(what: str, done: int, total: int) -> None:
        print(json.dumps({"what": what, "done": int(done), "total": int(total)}), file=stream, flush=True)

    return tell


def main() -> None:
    """Read, learn, write."""
    source, target = sys.argv[1:]
    tell = _teller(sys.stdout)
    sys.stdout = sys.stderr  # for what sGDML prints
    with np.load(source, allow_pickle=False) as archive:
        given = dict(archive)
    np.savez(target, **learn(given, tell))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
