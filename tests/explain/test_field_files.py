"""Files of fields, read back by ASE and by a reader of the VTK format written from its description."""

import io
import re

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.io.cube import read_cube

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.probes.field import Grid, ScalarField

SKEW = np.array([[0.31, 0.0, 0.0], [0.14, 0.29, 0.0], [0.05, -0.12, 0.33]])
GRIDS = {
    "straight": Grid(np.array([-1.5, 0.25, -2.0]), np.diag([0.2, 0.3, 0.25]), (4, 5, 7)),
    "skew": Grid(np.array([-1.5, 0.25, -2.0]), SKEW, (5, 3, 8)),
    "mirrored": Grid(np.zeros(3), np.diag([0.2, -0.3, 0.25]), (3, 4, 2)),
}


def field(name, spoilt=None):
    grid = GRIDS[name]
    values = np.random.default_rng(0).normal(0.0, 3.0, grid.shape)
    values[0, 0, 0], values[1, 1, 1] = 1e-120, -1234.5
    if spoilt is not None:
        values[2, 1, 0] = spoilt
    return ScalarField(grid, values, "potential of a probe Ω", "eV", AtomicSystem.from_ase(molecule("CH3OH")))


@pytest.mark.parametrize("name", GRIDS)
def test_cubes_are_read_back_by_ase(name, tmp_path):
    made = field(name)
    made.to_cube(tmp_path / "a.cube")
    with (tmp_path / "a.cube").open() as file:
        found = read_cube(file, verbose=True)
    np.testing.assert_allclose(found["data"], made.values, rtol=1e-5, atol=1e-30)
    # The header has six digits behind the point, in bohr.
    np.testing.assert_allclose(found["spacing"], made.grid.steps, atol=1e-6)
    np.testing.assert_allclose(found["origin"], made.grid.origin, atol=1e-6)
    np.testing.assert_allclose(found["atoms"].positions, made.system.positions, atol=1e-6)
    assert found["atoms"].numbers.tolist() == made.system.numbers.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["a.cube"]


def test_cubes_have_the_columns_of_gaussian(tmp_path):
    field("straight").to_cube(tmp_path / "a.cube")
    lines = (tmp_path / "a.cube").read_bytes().decode("ascii").splitlines()
    assert lines[0] == "potential of a probe ? of CH4O"
    assert lines[1] == "values in eV, lengths in bohr"
    assert lines[2] == f"    6{-1.5 / units.Bohr:12.6f}{0.25 / units.Bohr:12.6f}{-2 / units.Bohr:12.6f}"
    assert lines[3] == f"    4{0.2 / units.Bohr:12.6f}    0.000000    0.000000"
    assert re.fullmatch(r"    6    6\.000000( +-?\d+\.\d{6}){3}", lines[6])
    assert [len(line) for line in lines[12:14]] == [6 * 13, 13]  # seven values along z, then a new line
    assert lines[12].startswith("  0.00000E+00")
    assert len(lines) == 12 + 2 * 4 * 5


@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_cubes_of_what_is_no_number_are_refused(spoilt, tmp_path):
    with pytest.raises(InputError, match="finite numbers only"):
        field("straight", spoilt).to_cube(tmp_path / "a.cube")
    assert list(tmp_path.iterdir()) == []


def read_vtk(path):
    """A legacy file with binary numbers, big end first, by the format's description."""
    stream = io.BytesIO(path.read_bytes())
    assert stream.readline() == b"# vtk DataFile Version 3.0\n"
    title = stream.readline().decode("ascii").strip()
    assert len(title) < 256
    assert stream.readline() == b"BINARY\n"
    found = {"title": title, "dataset": stream.readline().decode().split()[1]}
    points = None
    while line := stream.readline().decode().split():
        if line[0] in ("ORIGIN", "SPACING"):
            found[line[0]] = np.array([float(part) for part in line[1:]])
        elif line[0] == "DIMENSIONS":
            shape = tuple(int(part) for part in line[1:])
        elif line[0] == "POINTS":
            assert line[2] == "double"
            points = np.frombuffer(stream.read(8 * 3 * int(line[1])), ">f8").reshape(*shape[::-1], 3)
            assert stream.read(1) == b"\n"
        elif line[0] == "SCALARS":
            assert line[2:] == ["double", "1"]
            found["name"] = line[1]
            assert stream.readline() == b"LOOKUP_TABLE default\n"
            found["values"] = np.frombuffer(stream.read(8 * np.prod(shape)), ">f8").reshape(shape[::-1]).T
            assert stream.read() == b"\n"
        else:
            assert line == ["POINT_DATA", str(np.prod(shape))]
    if points is None:
        axes = [np.arange(n) * step for n, step in zip(shape, found["SPACING"], strict=True)]
        points = (np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) + found["ORIGIN"]).transpose(2, 1, 0, 3)
    return found | {"points": points.transpose(2, 1, 0, 3)}


@pytest.mark.parametrize("name", GRIDS)
def test_vtk_files_are_read_back(name, tmp_path):
    made = field(name, spoilt=np.nan)
    made.to_vtk(tmp_path / "a.vtk")
    found = read_vtk(tmp_path / "a.vtk")
    np.testing.assert_array_equal(found["values"], made.values)
    np.testing.assert_allclose(found["points"].reshape(-1, 3), made.grid.points, atol=1e-12)
    assert found["dataset"] == ("STRUCTURED_POINTS" if name == "straight" else "STRUCTURED_GRID")
    assert found["name"] == "potential_of_a_probe_eV"
    assert found["title"] == "potential of a probe ? of CH4O, values in eV, lengths in Angstrom"
    assert [path.name for path in tmp_path.iterdir()] == ["a.vtk"]


def test_a_field_of_a_cell_keeps_the_cell(tmp_path):
    crystal = Atoms("CO", [[0, 0, 0], [1.1, 0.4, 0.2]], cell=10.0 * SKEW, pbc=True)
    grid = Grid.of_cell(crystal, 0.4)
    values = np.random.default_rng(0).normal(size=grid.shape)
    ScalarField(grid, values, "a", "V", AtomicSystem.from_ase(crystal)).to_cube(tmp_path / "a.cube")
    with (tmp_path / "a.cube").open() as file:
        atoms = read_cube(file)["atoms"]
    np.testing.assert_allclose(atoms.cell.array, 10.0 * SKEW, atol=1e-5)
