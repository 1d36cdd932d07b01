"""Reference data by GFN-xTB: labels for given structures, and Langevin trajectories that repeat bit for bit.

All quantum chemistry runs in child processes with one thread each (`atomlens.reference.child`), where torch's threads
do not get in its way and sums have one order. Bit for bit means: on one machine, with the same tblite, numpy and ASE.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import ase
import numpy as np
from pydantic import Field, model_validator

from atomlens.config import Config
from atomlens.data.dataset import Dataset
from atomlens.data.store import is_store, read_store, write_store
from atomlens.errors import InputError
from atomlens.files import check_folder, read_json, write_json
from atomlens.progress import track
from atomlens.reference.child import require_tblite, run_task, run_tasks
from atomlens.reference.correlation import integrated_autocorrelation, judge_interval
from atomlens.reference.molecule import describe

Method = Literal["GFN2-xTB", "GFN1-xTB"]
RECIPE = 1  # raised when the same structure and configuration would give other data
LABELS = ("energy", "forces", "dipole", "charges")
_RELAXATION_STEPS = 100  # a guess, for the estimate of the wall time only


class SamplingConfig(Config):
    """How structures are drawn from Langevin trajectories and labelled.

    The default timestep of 1 fs samples X-H stretches well enough for training data (ethanol, 500 K: mean temperature
    and the spread of O-H distances agree with those at 0.5 fs within their noise), and every label is exact for its
    structure in any case. The default friction is near the frequency of torsions and lets ethanol's energy forget
    itself in 12 fs (22 fs at 0.02/fs), so that frames 25 fs apart are independent.
    """

    method: Method = Field("GFN2-xTB", description="tight-binding Hamiltonian that gives every label")
    temperature: float = Field(500.0, gt=0, description="of the thermostat, K")
    walkers: int = Field(8, ge=1, le=1000, description="independent trajectories")
    frames_per_walker: int = Field(163, ge=1, description="structures kept of each trajectory")
    timestep: float = Field(1.0, gt=0, le=20, description="of the dynamics, fs")
    interval: float = Field(25.0, gt=0, description="time between kept structures, fs; a multiple of the timestep")
    equilibration: float = Field(
        500.0, ge=0, description="time before the first interval, fs; a multiple of the timestep"
    )
    friction: float = Field(0.05, gt=0, description="of the Langevin thermostat, 1/fs")
    seed: int = Field(0, ge=0, description="of velocities and thermostat; each walker derives its own")
    workers: int = Field(
        default_factory=lambda: min(2, os.cpu_count() or 1),
        ge=1,
        description="processes at a time; leaves the data alone",
    )

    @model_validator(mode="after")
    def _whole_steps(self) -> Self:
        for name in ("interval", "equilibration"):
            steps = getattr(self, name) / self.timestep
            if abs(steps - round(steps)) > 1e-6:
                raise InputError(
                    f"{name} is {getattr(self, name):g} fs, no multiple of the timestep of {self.timestep:g} fs"
                )
        return self

    @property
    def equilibration_steps(self) -> int:
        """MD steps before the first interval."""
        return round(self.equilibration / self.timestep)

    @property
    def interval_steps(self) -> int:
        """MD steps between kept structures."""
        return round(self.interval / self.timestep)

    @property
    def steps_per_walker(self) -> int:
        """MD steps of one trajectory."""
        return self.equilibration_steps + self.frames_per_walker * self.interval_steps


def sample_trajectories(structure: ase.Atoms, config: SamplingConfig, folder: str | Path) -> Dataset:
    """Relax a molecule, run independent Langevin trajectories from there, and keep labelled structures.

    The data set is left as a store in ``folder/data``; a second call with the same structure and configuration only
    opens it. An interrupted call goes on with the walkers missing in ``folder/walkers``, and ends with the same bits.

    Args:
        structure: an open molecule, Å; ``info["charge"]`` in e, ``info["multiplicity"]`` (else 1, or 2 for an odd
            number of electrons), ``info["name"]`` for the record.
        config: see `SamplingConfig`.
        folder: where the data go.

    Returns:
        energy (eV), forces (eV/Å), dipole (e·Å, about the centre of mass) and Mulliken charges (e), walker by walker.
        The metadata say how they were made; ``walker`` lists the trajectory of each structure.

    Raises:
        InputError: tblite is missing, the structure is impossible, the SCF of a walker failed or its trajectory
            exploded (nothing of it is written), or the folder holds data of another structure or configuration.
    """
    require_tblite()
    molecule = describe(structure)
    if len(molecule["numbers"]) < 2:
        raise InputError("is a single atom, which has nothing to sample; give a molecule")
    identity = _identity(molecule, config)
    root = check_folder(folder, resuming=True)
    store, unfinished = root / "data", root / "walkers"
    if store.exists() and not is_store(store):
        raise InputError("is no data set of atomlens; choose another output folder", file=str(store))
    if not is_store(store):
        start = _start(molecule, config, identity, unfinished)
        _run_walkers({**molecule, "positions": start["positions"]}, config, unfinished)
        name = str(structure.info.get("name", structure.get_chemical_formula(mode="hill")))
        write_store(_assemble(molecule, config, start, unfinished, {"name": name, "identity": identity}), store)
    data = read_store(store)
    _same_identity(data.metadata.get("identity"), identity, store)
    shutil.rmtree(unfinished, ignore_errors=True)
    return data


def label(structures: Sequence[ase.Atoms], method: Method = "GFN2-xTB") -> Dataset:
    """Label given molecules; each one alone, so that its labels depend on nothing else.

    Args:
        structures: as for `sample_trajectories`.
        method: GFN2-xTB or GFN1-xTB.

    Returns:
        energy (eV), forces (eV/Å), dipole (e·Å, about the origin of the positions) and Mulliken charges (e).

    Raises:
        InputError: tblite is missing, a structure is impossible or its SCF failed; its place in the sequence is named.
    """
    require_tblite()
    molecules = []
    for place, structure in enumerate(structures):
        try:
            molecules.append(describe(structure))
        except InputError as error:
            raise error.at(structure=place) from None
    with tempfile.TemporaryDirectory() as folder, track(f"{method} labels", len(molecules), "structures") as progress:
        output = Path(folder) / "labels.npz"
        task = {"task": "label", "method": method, "structures": molecules, "output": str(output)}
        result = run_task(task, progress.advance) if molecules else {}
        arrays = _load(output) if molecules else {}
    return Dataset.from_arrays(
        numbers=np.concatenate([np.array(one["numbers"]) for one in molecules] or [np.empty(0)]),
        positions=np.concatenate([np.array(one["positions"]) for one in molecules] or [np.empty((0, 3))]),
        n_atoms=np.array([len(one["numbers"]) for one in molecules]),
        labels={name: arrays[name] for name in LABELS if name in arrays},
        charge=np.array([one["charge"] for one in molecules]),
        metadata={
            "source": f"given structures, labelled by {_program()}",
            "level_of_theory": method,
            "program": _program(),
            "multiplicity": [one["multiplicity"] for one in molecules],
            **result,
        },
    )


def estimate_seconds(structure: ase.Atoms, config: SamplingConfig) -> float:
    """Wall time in s that `sample_trajectories` will take from the beginning, by timing some steps for about 2 s.

    Raises:
        InputError: as for `sample_trajectories`.
    """
    require_tblite()
    started = time.perf_counter()
    measured = run_task({"task": "time", "structure": describe(structure), **_dynamics(config)})
    per_step = float(measured["seconds_per_step"])
    start_up = max(time.perf_counter() - started - float(measured["seconds"]), 0.0)
    rounds = math.ceil(config.walkers / config.workers)
    return start_up + _RELAXATION_STEPS * per_step + rounds * (start_up + config.steps_per_walker * per_step)


def _identity(molecule: Mapping[str, Any], config: SamplingConfig) -> str:
    """SHA-256 over everything that decides about the data."""
    content = {"recipe": RECIPE, "structure": molecule, "config": config.model_dump(exclude={"workers"})}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _same_identity(found: object, wanted: str, place: Path) -> None:
    if found != wanted:
        raise InputError(
            "holds data of another structure or sampling configuration; choose another output folder, or remove it",
            file=str(place),
        )


def _program() -> str:
    return f"tblite {importlib.metadata.version('tblite')}"


def _dynamics(config: SamplingConfig) -> dict[str, Any]:
    return config.model_dump(include={"method", "temperature", "timestep", "friction", "seed"})


def _start(molecule: Mapping[str, Any], config: SamplingConfig, identity: str, folder: Path) -> dict[str, Any]:
    """The relaxed geometry and the free atoms, calculated once and kept beside the unfinished walkers."""
    path = folder / "start.json"
    if path.exists():
        kept: dict[str, Any] = read_json(path)
        _same_identity(kept.get("identity"), identity, folder)
        if kept["program"] != _program():
            raise InputError(
                f"holds unfinished trajectories by {kept['program']}, this is {_program()}; remove it and start again",
                file=str(folder),
            )
        return kept
    start = run_task({"task": "relax", "method": config.method, "structure": molecule})
    start |= {"identity": identity, "program": _program()}
    write_json(path, start)
    return start


def _walker_file(folder: Path, walker: int) -> Path:
    return folder / f"{walker:02d}.npz"


def _run_walkers(molecule: Mapping[str, Any], config: SamplingConfig, folder: Path) -> None:
    missing = [walker for walker in range(config.walkers) if not _walker_file(folder, walker).exists()]
    tasks = [
        {
            "task": "walk",
            "structure": molecule,
            **_dynamics(config),
            "walker": walker,
            "frames": config.frames_per_walker,
            "interval_steps": config.interval_steps,
            "equilibration_steps": config.equilibration_steps,
            "output": str(_walker_file(folder, walker)),
        }
        for walker in missing
    ]
    if not tasks:
        return
    total, done = config.walkers * config.steps_per_walker, (config.walkers - len(missing)) * config.steps_per_walker
    with track(f"{config.method} trajectories", total, "MD steps", done) as progress:
        run_tasks(tasks, config.workers, progress.advance)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot be read ({error}); remove it and run again", file=str(path)) from None


def _assemble(
    molecule: Mapping[str, Any],
    config: SamplingConfig,
    start: Mapping[str, Any],
    folder: Path,
    names: Mapping[str, str],
) -> Dataset:
    parts = [_load(_walker_file(folder, walker)) for walker in range(config.walkers)]
    frames = config.walkers * config.frames_per_walker
    merged = {name: np.concatenate([part[name] for part in parts]) for name in (*LABELS, "positions")}
    per_atom = {name: merged[name].reshape(-1, *merged[name].shape[2:]) for name in ("positions", "forces", "charges")}
    tau = integrated_autocorrelation(np.stack([part["trace"] for part in parts])) * config.timestep
    return Dataset.from_arrays(
        numbers=np.tile(molecule["numbers"], frames),
        positions=per_atom.pop("positions"),
        n_atoms=np.full(frames, len(molecule["numbers"])),
        labels={"energy": merged["energy"], "dipole": merged["dipole"], **per_atom},
        charge=np.full(frames, float(molecule["charge"])),
        metadata={**names, **_provenance(molecule, config, start), **judge_interval(tau, config.interval)},
    )


def _provenance(molecule: Mapping[str, Any], config: SamplingConfig, start: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source": f"{config.walkers} Langevin trajectories at {config.temperature:g} K by {start['program']} and "
        f"ASE {importlib.metadata.version('ase')}",
        "level_of_theory": config.method,
        "program": start["program"],
        "formula": ase.Atoms(numbers=molecule["numbers"]).get_chemical_formula(mode="hill"),
        "charge": molecule["charge"],
        "multiplicity": molecule["multiplicity"],
        "temperature_K": config.temperature,
        "timestep_fs": config.timestep,
        "interval_fs": config.interval,
        "equilibration_fs": config.equilibration,
        "friction_per_fs": config.friction,
        "seed": config.seed,
        "walker": np.repeat(np.arange(config.walkers), config.frames_per_walker).tolist(),
        "relaxed": {
            "numbers": molecule["numbers"],
            **{name: start[name] for name in ("positions", "energy", "max_force")},
        },
        "free_atom_energies": start["free_atom_energies"],
    }
