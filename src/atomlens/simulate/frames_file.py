"""Trajectories of a run, read back."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from ase.data import atomic_masses, atomic_numbers
from ase.io.trajectory import TrajectoryReader

from atomlens.errors import InputError
from atomlens.files import read_json
from atomlens.simulate.frames import Frames
from atomlens.simulate.recording import trajectory_names
from atomlens.simulate.settings import SETTINGS

_AT_ONCE = 1000  # frames
_ENTRY = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')


@dataclass
class _Copy:
    """What one trajectory holds: for each quantity arrays of some frames each, in order."""

    numbers: np.ndarray
    masses: np.ndarray
    pbc: np.ndarray
    parts: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, name: str, values: Any) -> None:
        self.parts.setdefault(name, []).append(np.array(values))  # no view: that would keep all columns

    def joined(self) -> dict[str, np.ndarray]:
        """By quantity, for all frames; without what some frames lack."""
        found = {name: np.concatenate(parts) for name, parts in self.parts.items()}
        self.parts = {}  # the same numbers once more
        return {name: values for name, values in found.items() if len(values) == len(found["times"])}


def read_frames(folder: str | Path, *, every: int = 1, start: float | None = None) -> Frames:
    """The trajectories of a run of molecular dynamics or of paths, also of one that has not ended.

    A frame that is not whole at the end of a file is left out, and the copies are cut to the shortest.

    Args:
        folder: of the run.
        every: keep each so-manieth frame, from the first that is kept.
        start: in fs; frames before are left out. None: those of the run's equilibration are.

    Raises:
        InputError: the folder holds no run, or a file is missing, broken, or does not fit the others.
    """
    folder = Path(folder)
    if every < 1:
        raise InputError(f"every must be 1 or more, not {every}; 1 keeps all frames")
    settings = read_json(folder / SETTINGS)
    try:
        names = trajectory_names(int(settings["copies"]), settings["config"]["format"])
        beads, first = int(settings["beads"]), float(settings["equilibration_fs"]) if start is None else start
    except (KeyError, TypeError, ValueError):
        raise InputError("does not hold the settings of a run; give its folder", file=str(folder / SETTINGS)) from None
    return _joined([_read(folder / name, every, first) for name in names], beads, folder)


def _read(path: Path, every: int, start: float) -> _Copy:
    read = _read_extended_xyz if path.suffix == ".extxyz" else _read_ase
    try:
        copy = read(path, _Sieve(every, start))
    except InputError as error:
        raise error.at(file=str(path)) from None
    except FileNotFoundError:
        raise InputError("is missing; restore it, or run again", file=str(path)) from None
    except Exception as error:  # ASE raises every kind of exception for a broken file
        reason = str(error).strip().splitlines()
        raise InputError(
            f"is no trajectory of a run ({reason[0] if reason else type(error).__name__}); restore it, or run again",
            file=str(path),
        ) from None
    if not copy.parts:
        raise InputError(f"has no frames at {start:g} fs or later; leave out less of the beginning", file=str(path))
    return copy


def _joined(copies: list[_Copy], beads: int, folder: Path) -> Frames:
    first, found = copies[0], [copy.joined() for copy in copies]
    count = min(len(entry["times"]) for entry in found)
    for copy, entry in zip(copies, found, strict=True):
        same = np.array_equal(entry["times"][:count], found[0]["times"][:count])
        if not same or not np.array_equal(copy.numbers, first.numbers):
            raise InputError("has trajectories of different frames; restore them, or run again", file=str(folder))

    def stacked(name: str) -> np.ndarray | None:
        own = [entry.pop(name)[:count] for entry in found if name in entry]
        return np.stack(own, axis=1) if len(own) == len(copies) else None

    velocities, positions, cells = (stacked(name) for name in ("momenta", "positions", "cells"))
    assert positions is not None  # every frame has them, and a cell
    assert cells is not None
    if velocities is not None:
        velocities *= units.fs / first.masses[:, None]
    return Frames(
        numbers=first.numbers,
        masses=first.masses,
        pbc=first.pbc,
        times=found[0]["times"][:count],
        positions=positions,
        cells=cells,
        velocities=velocities,
        potential=stacked("energies"),
        dipoles=stacked("dipoles"),
        beads=beads,
        marked=stacked("marked"),
    )


@dataclass
class _Sieve:
    """Keeps each ``every``-th frame from ``start`` on."""

    every: int
    start: float
    seen: int = 0

    def keeps(self, time: float) -> bool:
        if time < self.start - 1e-6:
            return False
        self.seen += 1
        return (self.seen - 1) % self.every == 0


def _read_ase(path: Path, sieve: _Sieve) -> _Copy:
    with TrajectoryReader(path) as reader:
        first = reader[0]
        copy = _Copy(first.numbers, first.get_masses(), first.pbc)
        for place in range(len(reader)):
            if not sieve.keeps(float(reader.backend[place].info["time_fs"])):
                continue
            atoms = reader[place]
            copy.add("times", [atoms.info["time_fs"]])
            copy.add("positions", [atoms.positions])
            copy.add("cells", [atoms.cell.array])
            copy.add("marked", [bool(atoms.info.get("marked", False))])
            if atoms.has("momenta"):
                copy.add("momenta", [atoms.get_momenta()])
            for name, key in (("energies", "energy"), ("dipoles", "dipole")):
                if key in atoms.calc.results:
                    copy.add(name, [atoms.calc.results[key]])
        return copy


def _read_extended_xyz(path: Path, sieve: _Sieve) -> _Copy:
    """As ASE wrote it for a `Recorder`: the same columns in every frame. ASE's own reader takes ten times as long."""
    with path.open("rb") as file:
        head = file.readline()
        lines = int(head) + 2
        comment = _entries(file.readline())
        symbols = [line.split(maxsplit=1)[0].decode() for line in islice(file, lines - 2)]
        file.seek(0)
        numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
        columns = _columns(comment["Properties"])
        copy = _Copy(numbers, atomic_masses[numbers], np.array([word == "T" for word in comment["pbc"].split()]))
        while piece := list(islice(file, lines * _AT_ONCE)):
            if not piece[-1].endswith(b"\n"):
                piece.pop()
            whole = len(piece) // lines
            if any(line != head for line in piece[: whole * lines : lines]):
                raise ValueError("frames of different sizes")
            comments = [_entries(line) for line in piece[1 : whole * lines : lines]]
            kept = [place for place, entries in enumerate(comments) if sieve.keeps(float(entries["time_fs"]))]
            if kept:
                _add(copy, [comments[place] for place in kept], _values(piece, lines, kept, columns), columns)
    return copy


def _entries(comment: bytes) -> dict[str, str]:
    return {name: quoted or plain for name, quoted, plain in _ENTRY.findall(comment.decode())}


def _columns(properties: str) -> dict[str, slice]:
    """Where the numbers of each property are in a line, after the symbol."""
    words = properties.split(":")
    columns, place = {}, 0
    for name, kind, width in zip(words[3::3], words[4::3], words[5::3], strict=True):
        if kind != "R":
            raise InputError(f"has a column '{name}' that is no real number; give the folder of a run")
        columns[name] = slice(place, place + int(width))
        place += int(width)
    return columns


def _values(piece: list[bytes], lines: int, kept: list[int], columns: dict[str, slice]) -> np.ndarray:
    """Numbers of all atoms, (frames, atoms, columns)."""
    # A symbol has a field of two characters.
    text = b" ".join(line[2:] for place in kept for line in piece[place * lines + 2 : (place + 1) * lines])
    width = max(column.stop for column in columns.values())
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy's word for what is no number
        found: np.ndarray = np.fromstring(text, sep=" ").reshape(len(kept), lines - 2, width)
    return found


def _add(copy: _Copy, comments: list[dict[str, str]], values: np.ndarray, columns: dict[str, slice]) -> None:
    def numbers(text: str) -> np.ndarray:
        return np.array(text.split(), dtype=np.float64)

    copy.add("times", [float(entries["time_fs"]) for entries in comments])
    copy.add("positions", values[:, :, columns["pos"]])
    copy.add("cells", [numbers(entries.get("Lattice", "0 " * 9)).reshape(3, 3) for entries in comments])
    copy.add("marked", [entries.get("marked") == "T" for entries in comments])
    if "momenta" in columns:
        copy.add("momenta", values[:, :, columns["momenta"]])
    if "masses" in columns:
        copy.masses = values[0, :, columns["masses"]][:, 0]
    if all("energy" in entries for entries in comments):
        copy.add("energies", [float(entries["energy"]) for entries in comments])
    if all("dipole" in entries for entries in comments):
        copy.add("dipoles", [numbers(entries["dipole"]) for entries in comments])
