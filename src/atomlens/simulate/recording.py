"""What a run writes while it goes on: trajectories, a table of observables, and checkpoints that vouch for both.

A checkpoint holds how far each file had got when it was made, after these files had reached the disk. Going on from it
cuts the files back to that point, so that a crash, a kill or a full disk costs what came after the last checkpoint, and
nothing is ever there twice.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz
from ase.io.trajectory import TrajectoryReader, TrajectoryWriter

from atomlens.errors import InputError
from atomlens.files import replacing

Format = Literal["extxyz", "traj"]
TABLE, CHECKPOINT = "observables.csv", "checkpoint.npz"


def trajectory_names(copies: int, format: Format) -> list[str]:
    """The trajectory file of each copy, such as ``trajectory_03.extxyz``; without a number for a single one."""
    width = len(str(copies - 1))
    return [f"trajectory_{copy:0{width}d}.{format}" if copies > 1 else f"trajectory.{format}" for copy in range(copies)]


def snapshot(atoms: ase.Atoms, results: Mapping[str, Any], info: Mapping[str, Any]) -> ase.Atoms:
    """A structure as it is now, with its velocities, results under ASE's names and ``info``, ready to be written."""
    frame: ase.Atoms = atoms.copy()
    frame.info |= dict(info)
    frame.calc = SinglePointCalculator(frame, **dict(results))
    return frame


class Recorder:
    """The files of a run in a folder.

    Args:
        folder: made when needed.
        copies: replicas times beads, each with a trajectory of its own.
        columns: of the table.
        format: of trajectories, extended XYZ or ASE's own.
        marks: what `commit` returned when the checkpoint was made from which the run goes on: files are cut back to it.
            None: the files are new.

    Raises:
        InputError: a file of the run that goes on is missing, or shorter than its checkpoint says.
    """

    def __init__(
        self,
        folder: str | Path,
        copies: int,
        columns: Sequence[str],
        format: Format = "extxyz",
        marks: Mapping[str, int] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._table = _Text(self.folder / TABLE, marks)
        self._rows = csv.writer(self._table.file, lineterminator="\n")
        if marks is None:
            self._rows.writerow(columns)
        kind = _Text if format == "extxyz" else _AseTrajectory
        self._trajectories = [kind(self.folder / name, marks) for name in trajectory_names(copies, format)]

    def frames(self, structures: Sequence[ase.Atoms]) -> None:
        """Append a frame to the trajectory of each copy (see `snapshot`)."""
        for trajectory, atoms in zip(self._trajectories, structures, strict=True):
            trajectory.append(atoms)

    def row(self, *values: float | int | str) -> None:
        """Append a row to the table."""
        self._rows.writerow([f"{value:.10g}" if isinstance(value, float) else value for value in values])

    def commit(self) -> dict[str, int]:
        """See that everything is on the disk.

        Returns:
            How far each file has got, for `marks`.
        """
        return {entry.path.name: entry.commit() for entry in (self._table, *self._trajectories)}

    def close(self) -> None:
        """Close the files. Nothing beyond the last `commit` is promised to be there."""
        for entry in (self._table, *self._trajectories):
            entry.close()


class _Text:
    """A file of text that grows; its mark is its length in bytes."""

    def __init__(self, path: Path, marks: Mapping[str, int] | None) -> None:
        self.path = path
        if marks is None:
            self.file: IO[str] = path.open("x", encoding="utf-8", newline="")
            return
        length = _marked(path, marks)
        if not path.is_file() or path.stat().st_size < length:
            raise InputError("lacks frames that its checkpoint vouches for; restore it, or start anew", file=str(path))
        self.file = path.open("r+", encoding="utf-8", newline="")
        self.file.truncate(length)
        self.file.seek(0, os.SEEK_END)

    def append(self, atoms: ase.Atoms) -> None:
        write_extxyz(self.file, atoms)

    def commit(self) -> int:
        self.file.flush()
        os.fsync(self.file.fileno())
        return os.fstat(self.file.fileno()).st_size

    def close(self) -> None:
        self.file.close()


class _AseTrajectory:
    """A trajectory in ASE's format; its mark is the number of frames."""

    def __init__(self, path: Path, marks: Mapping[str, int] | None) -> None:
        self.path = path
        self._frames = 0
        if marks is not None:
            self._frames = _marked(path, marks)
            _keep_frames(path, self._frames)
        self._writer = TrajectoryWriter(path, mode="a" if marks else "w")

    def append(self, atoms: ase.Atoms) -> None:
        self._writer.write(atoms)
        self._frames += 1

    def commit(self) -> int:
        if self.path.exists():  # ASE makes the file with its first frame
            with self.path.open("rb") as written:
                os.fsync(written.fileno())
        return self._frames

    def close(self) -> None:
        self._writer.close()


def _marked(path: Path, marks: Mapping[str, int]) -> int:
    if path.name not in marks:
        raise InputError(
            "is not in the run's checkpoint; go on with the settings that it was started with", file=str(path)
        )
    return marks[path.name]


def _keep_frames(path: Path, count: int) -> None:
    """Cut a trajectory of ASE's back to its first frames."""
    if count == 0:
        path.unlink(missing_ok=True)
        return
    try:
        with TrajectoryReader(path) as reader:
            enough = len(reader) >= count
            if enough and len(reader) > count:
                with replacing(path) as temporary, TrajectoryWriter(temporary) as writer:
                    for place in range(count):
                        writer.write(reader[place])
    except Exception:  # whatever ASE finds wrong with a file
        enough = False
    if not enough:
        raise InputError("lacks frames that its checkpoint vouches for; restore it, or start anew", file=str(path))


def save_checkpoint(folder: str | Path, state: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write ``checkpoint.npz`` in one step: what JSON can say, and arrays. The one before stays until it is there."""
    with replacing(Path(folder) / CHECKPOINT) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, state=np.array(json.dumps(state)), **arrays)


def load_checkpoint(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `save_checkpoint` wrote.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = Path(folder) / CHECKPOINT
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return json.loads(str(arrays.pop("state"))), arrays
    except FileNotFoundError:
        raise InputError("holds no checkpoint to go on from; start a new run", file=str(folder)) from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read ({error}); start anew", file=str(path)) from None
