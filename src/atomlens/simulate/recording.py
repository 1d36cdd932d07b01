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
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Literal
from zipfile import BadZipFile

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import ulm
from ase.io.extxyz import write_extxyz
from ase.io.trajectory import TrajectoryWriter

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
        kind = _Text if format == "extxyz" else _AseTrajectory
        table, paths = self.folder / TABLE, [self.folder / name for name in trajectory_names(copies, format)]
        _check(table, _Text.marked(table.name), marks)
        for path in paths:
            _check(path, kind.marked(path.name), marks)  # all of them, before the first is touched
        self._table = _Text(table, marks)
        self._trajectories = [kind(path, marks) for path in paths]
        self._rows = csv.writer(self._table.file, lineterminator="\n")
        if marks is None:
            self._rows.writerow(columns)

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
        marks: dict[str, int] = {}
        for entry in (self._table, *self._trajectories):
            marks |= entry.commit()
        return marks

    def close(self) -> None:
        """Close the files. Nothing beyond the last `commit` is promised to be there."""
        for entry in (self._table, *self._trajectories):
            with suppress(OSError):  # what a full disk has refused, it refuses again
                entry.close()


def read_table(folder: str | Path) -> tuple[list[str], np.ndarray]:
    """The table of a run, also of one that goes on or was killed: its columns, and (rows, columns).

    A row that is not whole at the end is left out.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is none, or broken, or has no rows yet.
    """
    names, *lines = (Path(folder) / TABLE).read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    if not lines:
        raise ValueError("it has no rows")
    table = np.loadtxt(lines, delimiter=",", ndmin=2)
    columns = names.strip().split(",")
    if table.shape[1] != len(columns):
        raise ValueError(f"{table.shape[1]} numbers in a row under {len(columns)} names")
    return columns, table


class _Text:
    """A file of text that grows; its mark is its length in bytes."""

    def __init__(self, path: Path, marks: Mapping[str, int] | None) -> None:
        self.path = path
        if marks is None:
            self.file: IO[str] = path.open("x", encoding="utf-8", newline="")
            return
        self.file = path.open("r+", encoding="utf-8", newline="")
        self.file.truncate(marks[path.name])
        self.file.seek(0, os.SEEK_END)

    @staticmethod
    def marked(name: str) -> tuple[str, ...]:
        return (name,)

    def append(self, atoms: ase.Atoms) -> None:
        write_extxyz(self.file, atoms)

    def commit(self) -> dict[str, int]:
        self.file.flush()
        os.fsync(self.file.fileno())
        return {self.path.name: os.fstat(self.file.fileno()).st_size}

    def close(self) -> None:
        self.file.close()


class _AseTrajectory:
    """A trajectory in ASE's format; its marks are its length in bytes, and the frames and the place of their index."""

    def __init__(self, path: Path, marks: Mapping[str, int] | None) -> None:
        self.path = path
        if marks is not None:
            _keep_frames(path, *(marks[name] for name in self.marked(path.name)))
        self._writer = TrajectoryWriter(path, mode="w" if marks is None else "a")

    @staticmethod
    def marked(name: str) -> tuple[str, ...]:
        return name, f"{name} frames", f"{name} index"

    def append(self, atoms: ase.Atoms) -> None:
        self._writer.write(atoms)

    def commit(self) -> dict[str, int]:
        with self.path.open("rb") as written:  # ASE has flushed every frame
            os.fsync(written.fileno())
            length = os.fstat(written.fileno()).st_size
            _, _, frames, index, _ = ulm.read_header(written) if length else (None, None, 0, 0, None)
        return dict(zip(self.marked(self.path.name), (length, int(frames), int(index)), strict=True))

    def close(self) -> None:
        try:
            self._writer.close()
        finally:
            self._writer.backend.fd.close()  # which ASE leaves open where the disk is full


def _check(path: Path, names: Sequence[str], marks: Mapping[str, int] | None) -> None:
    """See that a run can go on with a file."""
    if marks is None:
        return
    if any(name not in marks for name in names):
        raise InputError(
            "is not in the run's checkpoint; go on with the settings that it was started with", file=str(path)
        )
    if not path.is_file() or path.stat().st_size < marks[path.name]:
        raise InputError("lacks frames that its checkpoint vouches for; restore it, or start anew", file=str(path))


def _keep_frames(path: Path, length: int, frames: int, index: int) -> None:
    """Cut a trajectory of ASE's back to its first frames.

    A header of 48 bytes holds the number of frames (at 32) and the place (at 40) of an index, which lists where each
    frame begins, with zeros where there is none yet; ASE writes a longer index at the end when one is full
    (`ase.io.ulm`, version 3). Copying the frames that are left instead would take minutes where they are many.
    """
    with path.open("r+b") as file:
        file.truncate(length)
        if not length:
            return
        room = 1
        while room < frames:
            room *= ulm.N1
        for place, value in ((32, frames), (40, index), *((index + 8 * entry, 0) for entry in range(frames, room))):
            ulm.writeint(file, value, place)


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
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        return json.loads(str(arrays.pop("state"))), arrays
    except FileNotFoundError:
        raise InputError("holds no checkpoint to go on from; start a new run", file=str(folder)) from None
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise InputError(f"cannot be read ({error}); start anew", file=str(path)) from None
