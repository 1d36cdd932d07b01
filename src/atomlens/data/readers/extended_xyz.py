"""Extended XYZ, frame by frame, so that an error names its structure and atom.

atomlens writes the units into each comment line, ``units="positions=Ang energy=eV forces=eV/Ang"``, and reads them from
there. Other programs state none: then the user names them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import ase
from ase.io.extxyz import read_extxyz
from ase.io.formats import open_with_compression

from atomlens.data.readers.ase_files import reason, translated_steps
from atomlens.data.readers.contents import Contents, Frame
from atomlens.data.readers.frames import laid_out
from atomlens.errors import InputError

_LOOKED_AT = 1 << 18  # bytes

FrameText = tuple[str, list[str]]  # the comment line and the lines of the atoms (and of cell vectors, if any)


def read_extended_xyz(path: Path, pieces_of: int | None) -> Iterator[Contents]:
    """Read plain or extended XYZ, compressed or not, in pieces.

    Raises:
        InputError: names the structure, and where one line is at fault the atom.
    """
    return laid_out(translated_steps(_frames(path), "extended XYZ"), pieces_of)


def _frames(path: Path) -> Iterator[Frame]:
    with open_with_compression(str(path)) as file:
        for place, (comment, lines) in enumerate(_split(file)):
            try:
                atoms = _parse(comment, lines)
            except Exception as error:  # ASE's parser raises every kind of exception
                raise _diagnosis(comment, lines, place, error) from None
            units = _units(atoms.info.pop("units", ""))
            yield Frame.from_atoms(atoms, units, results_stated=False)


def estimate_extended_xyz(path: Path) -> int | None:
    """About how many structures there are, from the first and the size of the file; None for a compressed one."""
    if path.suffix.lower() not in (".xyz", ".extxyz"):
        return None
    held = 0
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    lines = start.splitlines(keepends=True)
    place = 0
    while place < len(lines) and lines[place].strip().isdigit():
        place += 2 + int(lines[place])
        held += place <= len(lines)
    read = sum(map(len, lines[:place]))
    return max(round(held * path.stat().st_size / read), held) if held else None


def _split(file: IO[str]) -> Iterator[FrameText]:
    """Cut the file into frames by the counts of atoms."""
    place = 0
    for line in file:
        if not line.strip():
            # Blank lines may end the file. ASE stops at one and would silently leave out what follows.
            continue
        count = int(line) if re.fullmatch(r"\s*\d+\s*", line) else 0
        if count < 1:
            raise InputError(
                f"begins with {line.strip()[:40]!r}, not with its number of atoms; repair or remove the structure",
                structure=place,
            )
        comment = file.readline().rstrip("\n")
        lines = list(islice(file, count))
        if len(lines) < count or not lines[-1].strip():
            held = sum(bool(entry.strip()) for entry in lines)
            raise InputError(f"has {held} of its {count} atoms: the file is truncated; write it again", structure=place)
        yield comment, lines
        place += 1


def _parse(comment: str, lines: list[str]) -> ase.Atoms:
    text = "\n".join([str(len(lines)), comment, *(line.rstrip("\n") for line in lines)]) + "\n"
    return next(read_extxyz(io.StringIO(text), index=0))


def _diagnosis(comment: str, lines: list[str], place: int, error: Exception) -> InputError:
    """Read atom by atom: where all fail the comment line is at fault, else the first that fails."""
    bad = [atom for atom, line in enumerate(lines) if not _parses(comment, line)]
    if bad and len(bad) < len(lines):
        return InputError(
            f"the line {lines[bad[0]].strip()[:60]!r} cannot be read; repair or remove the structure",
            structure=place,
            atom=bad[0],
        )
    problem = f"cannot be read as extended XYZ ({reason(error)}); repair or remove the structure"
    return InputError(problem, structure=place)


def _parses(comment: str, line: str) -> bool:
    try:
        _parse(comment, [line])
    except Exception:  # as above
        return False
    return True


def _units(text: object) -> dict[str, str]:
    """The units of a comment line; text of another form states nothing."""
    pairs = [part.partition("=") for part in str(text).split()]
    return {key: unit for key, _, unit in pairs} if all(key and unit for key, _, unit in pairs) else {}
