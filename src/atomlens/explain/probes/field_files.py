"""Files of scalar fields, for programs that draw them: Gaussian cubes and legacy VTK."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from atomlens.data.units import parse_unit
from atomlens.errors import InputError
from atomlens.files import replacing

if TYPE_CHECKING:
    from atomlens.explain.probes.field import ScalarField

_PER_LINE = 6
_SMALLEST = 1e-99  # a cube's numbers have exponents of two digits


def write_cube(field: ScalarField, path: str | Path) -> None:
    """Write a Gaussian cube: lengths in bohr, values in the field's unit, which the second comment line states.

    Numbers are laid out as Gaussian does (header I5 and F12.6, values 6E13.5), so values keep six digits.

    Raises:
        InputError: a value is not a finite number.
    """
    if not np.isfinite(field.values).all():
        raise InputError("a cube holds finite numbers only, and this field has others; write VTK", file=str(path))
    bohr = parse_unit("bohr")[0]
    grid, system = field.grid, field.system
    vectors = np.vstack([grid.origin, grid.steps]) / bohr
    counts = [len(system.numbers), *grid.shape]
    header = [_ascii(f"{field.name} of {system.formula}"), _ascii(f"values in {field.unit}, lengths in bohr")]
    header += [
        f"{count:5d}" + "".join(f"{part:12.6f}" for part in row) for count, row in zip(counts, vectors, strict=True)
    ]
    for number, position in zip(system.numbers, system.positions / bohr, strict=True):
        header.append(f"{number:5d}{number:12.6f}" + "".join(f"{part:12.6f}" for part in position))
    values = np.where(np.abs(field.values) < _SMALLEST, 0.0, field.values).reshape(-1, grid.shape[2])
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write("\n".join(header) + "\n")
        file.writelines(_lines(column) for column in values)


def _lines(column: np.ndarray) -> str:
    """The values along the last axis, which begin a line of their own."""
    words = [f"{value:13.5E}" for value in column.tolist()]
    return "".join("".join(words[first : first + _PER_LINE]) + "\n" for first in range(0, len(words), _PER_LINE))


def write_vtk(field: ScalarField, path: str | Path) -> None:
    """Write a legacy VTK file with binary float64 numbers: lengths in Å, values in the field's unit.

    A grid along x, y and z is written as structured points, another as a structured grid with all its points. The
    scalars' name ends in the unit.
    """
    grid = field.grid
    count = int(np.prod(grid.shape))
    straight = np.array_equal(grid.steps, np.diag(np.diag(grid.steps))) and (np.diag(grid.steps) > 0.0).all()
    title = _ascii(f"{field.name} of {field.system.formula}, values in {field.unit}, lengths in Angstrom")[:255]
    with replacing(path) as temporary, temporary.open("wb") as file:
        kind = "STRUCTURED_POINTS" if straight else "STRUCTURED_GRID"
        file.write(f"# vtk DataFile Version 3.0\n{title}\nBINARY\nDATASET {kind}\n".encode())
        file.write("DIMENSIONS {} {} {}\n".format(*grid.shape).encode())
        if straight:
            file.write("ORIGIN {!r} {!r} {!r}\n".format(*grid.origin.tolist()).encode())
            file.write("SPACING {!r} {!r} {!r}\n".format(*np.diag(grid.steps).tolist()).encode())
        else:
            file.write(f"POINTS {count} double\n".encode())
            points = grid.points.reshape(*grid.shape, 3)
            file.write(points.transpose(2, 1, 0, 3).astype(">f8").tobytes() + b"\n")
        name = re.sub(r"\W+", "_", _ascii(f"{field.name} {field.unit}"))
        file.write(f"POINT_DATA {count}\nSCALARS {name} double 1\nLOOKUP_TABLE default\n".encode())
        # The first axis is the fastest.
        file.write(np.asarray(field.values).transpose(2, 1, 0).astype(">f8").tobytes() + b"\n")


def _ascii(text: str) -> str:
    return " ".join(text.replace("Å", "Angstrom").encode("ascii", "replace").decode().split())
