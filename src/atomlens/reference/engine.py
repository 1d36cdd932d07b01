"""The program of a child process: GFN-xTB by tblite, one thread, no torch.

Reads one task as JSON from standard input and answers in lines of JSON on standard output: ``{"steps": n}`` as work
gets done, then ``{"result": …}``, or ``{"problem": …}`` for what the user can mend. Arrays are written to the file that
the task names. `atomlens.reference.child` is the other end.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase import units
from ase.calculators.calculator import CalculationFailed
from ase.data import chemical_symbols, ground_state_magnetic_moments
from ase.md.langevin import Langevin
from ase.optimize import BFGS

from atomlens.errors import InputError
from atomlens.files import replacing
from atomlens.reference.calculator import prepare

MAX_FORCE = 0.01  # eV/Å, where relaxation ends
MAX_RELAXATION_STEPS = 1000
TIMING_S = 0.7  # how long `_time` steps
EXPLODED = 10.0  # times the target temperature; by chance once in 10¹⁰ looks at two atoms, never at more
CHECK_EVERY = 10  # steps between looks at the temperature

Task = Mapping[str, Any]
Advance = Callable[[int], None]


def free_atom_energies(numbers: list[int], method: str) -> dict[str, float]:
    """Energy of each element's neutral atom in eV, by symbol; an atom whose SCF fails is left out.

    A single determinant of an open shell (C, O, …) is not spherical. Here the Fermi smearing of 300 K spreads the
    electrons evenly over degenerate orbitals, which makes the density spherical; the price is the electronic entropy in
    the energy (-49 meV for carbon), a constant for each element.
    """
    energies = {}
    for number in sorted(set(numbers)):
        # The 4f electrons belong to the core in GFN-xTB: lanthanides have three valence electrons, one unpaired.
        unpaired = 1 if 57 <= number <= 71 else int(ground_state_magnetic_moments[number])
        one = {"numbers": [number], "positions": [[0.0, 0.0, 0.0]], "charge": 0, "multiplicity": unpaired + 1}
        try:
            energies[chemical_symbols[number]] = float(prepare(one, method).get_potential_energy())
        except CalculationFailed:
            continue
    return energies


def langevin(atoms: ase.Atoms, task: Task, rng: np.random.Generator) -> Langevin:
    """Maxwell-Boltzmann momenta, and Langevin dynamics in all 3N directions (the centre of mass moves freely)."""
    spread = np.sqrt(atoms.get_masses() * units.kB * task["temperature"])
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * spread[:, None])
    return Langevin(
        atoms,
        timestep=task["timestep"] * units.fs,
        temperature_K=task["temperature"],
        friction=task["friction"] / units.fs,
        fixcm=False,
        rng=rng,
    )


def _relax(task: Task, advance: Advance) -> dict[str, Any]:  # noqa: ARG001
    try:
        atoms = prepare(task["structure"], task["method"])
        BFGS(atoms, logfile=None).run(fmax=MAX_FORCE, steps=MAX_RELAXATION_STEPS)
        labels = atoms.calc.labels(atoms)
    except CalculationFailed as error:
        raise InputError(f"the structure cannot be relaxed ({error}); check its geometry and charge") from None
    return {
        "positions": atoms.positions.tolist(),
        "energy": float(labels["energy"]),
        "max_force": float(np.linalg.norm(labels["forces"], axis=1).max()),
        "free_atom_energies": free_atom_energies(task["structure"]["numbers"], task["method"]),
    }


def _time(task: Task, advance: Advance) -> dict[str, Any]:  # noqa: ARG001
    try:
        atoms = prepare(task["structure"], task["method"])
        dynamics = langevin(atoms, task, np.random.default_rng(0))
        dynamics.run(3)  # the first one starts without a density
        started, steps = time.perf_counter(), 0
        while time.perf_counter() - started < TIMING_S:
            dynamics.run(1)
            steps += 1
    except CalculationFailed as error:
        raise InputError(f"{task['method']} fails ({error}); check geometry and charge") from None
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "seconds_per_step": seconds / steps}


def _label(task: Task, advance: Advance) -> dict[str, Any]:
    rows = []
    for place, structure in enumerate(task["structures"]):
        try:
            atoms = prepare(structure, task["method"])
            rows.append(atoms.calc.labels(atoms))
        except CalculationFailed as error:
            problem = f"{task['method']} fails ({error}); check geometry and charge, or leave the structure out"
            raise InputError(problem, structure=place) from None
        advance(1)
    per_atom = {name: np.concatenate([row[name] for row in rows]) for name in ("forces", "charges")}
    per_structure = {name: np.stack([row[name] for row in rows]) for name in ("energy", "dipole")}
    _save(task["output"], {**per_atom, **per_structure})
    numbers = [number for structure in task["structures"] for number in structure["numbers"]]
    return {"free_atom_energies": free_atom_energies(numbers, task["method"])}


def _walk(task: Task, advance: Advance) -> dict[str, Any]:
    rng = np.random.default_rng(np.random.SeedSequence(task["seed"], spawn_key=(task["walker"],)))
    frames: list[dict[str, np.ndarray]] = []
    trace: list[float] = []
    steps = 0
    try:
        atoms = prepare(task["structure"], task["method"])
        dynamics = langevin(atoms, task, rng)
        _step(dynamics, task["equilibration_steps"], task, advance)
        for _ in range(task["frames"]):
            trace += _step(dynamics, task["interval_steps"], task, advance)
            frames.append(_frame(atoms, task["structure"]["charge"]))
            steps = dynamics.nsteps
    except CalculationFailed as error:
        raise InputError(
            f"walker {task['walker']} failed after {steps * task['timestep']:g} fs ({error}); lower the timestep or "
            "the temperature, or check the structure and its charge"
        ) from None
    merged = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
    _save(task["output"], {**merged, "trace": np.array(trace)})
    return {}


def _step(dynamics: Langevin, steps: int, task: Task, advance: Advance) -> list[float]:
    """Step on, and give the potential energy (eV) after every step."""
    energies = []
    for done in range(1, steps + 1):
        dynamics.run(1)
        energies.append(float(dynamics.atoms.get_potential_energy()))
        if done % CHECK_EVERY == 0 or done == steps:
            temperature = dynamics.atoms.get_temperature()
            if not math.isfinite(temperature) or temperature > EXPLODED * task["temperature"]:
                raise CalculationFailed(f"the trajectory exploded: {temperature:.0f} K")
            advance(CHECK_EVERY if done % CHECK_EVERY == 0 else done % CHECK_EVERY)
    return energies


def _frame(atoms: ase.Atoms, charge: int) -> dict[str, np.ndarray]:
    """Positions about the centre of mass, with their labels; the dipole of an ion moves along."""
    labels = atoms.calc.labels(atoms)
    centre = atoms.get_center_of_mass()
    return {**labels, "positions": atoms.positions - centre, "dipole": labels["dipole"] - charge * centre}


def _save(path: str, arrays: dict[str, Any]) -> None:
    with replacing(Path(path)) as temporary:
        np.savez(temporary, **arrays)


TASKS: dict[str, Callable[[Task, Advance], dict[str, Any]]] = {
    "relax": _relax,
    "time": _time,
    "label": _label,
    "walk": _walk,
}


def main() -> None:
    """Do the one task on standard input."""
    # Whatever a library prints goes to standard error, so that the answers stay readable.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: Mapping[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    task = json.load(sys.stdin)
    try:
        result = TASKS[task["task"]](task, lambda steps: say({"steps": steps}))
    except InputError as error:
        say({"problem": error.problem, "structure": error.structure})
    else:
        say({"result": result})


if __name__ == "__main__":
    main()
