"""The structures that are made for the benchmarks."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from benchmarks import structures
from benchmarks.cases import SIZES


@pytest.mark.parametrize("atoms", SIZES)
def test_crystals_come_close_to_the_size_asked_for(atoms):
    counts = structures.repeats(atoms)
    assert math.prod(counts) * structures.PER_CUBE == pytest.approx(atoms, rel=0.03)
    assert max(counts) <= 1.6 * min(counts)


def test_one_cell_at_least():
    assert structures.repeats(3) == (1, 1, 1)


def test_silicon_neighbours():
    """4 + 12 + 12 atoms within 5 Å in the diamond structure, in a mean that rattling hardly changes."""
    from benchmarks.inputs import batch_arrays

    arrays, _ = batch_arrays([structures.silicon(216)], 5.0)
    assert len(arrays["numbers"]) == 216
    assert len(arrays["centre"]) / 216 == pytest.approx(28.0, abs=0.5)


def test_dodecahedron_has_thirty_equal_edges():
    distances = np.sort(pdist(structures.dodecahedron(1.45)))
    assert distances[:30] == pytest.approx(1.45)
    assert distances[30] > 2.0


def test_molecules_without_a_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("ATOMLENS_SHARED_DATA", str(tmp_path / "absent"))
    molecules, source = structures.mixed_molecules(80)
    assert len(molecules) == 80
    assert "g2" in source
    assert min(len(system.numbers) for system in molecules) >= structures.SMALLEST
    assert structures.ethanol_frames(2)[1] == "ethanol, rattled"
    assert structures.cage()[1] == "dodecahedron, rattled"


def test_velocities_have_no_drift_and_the_right_temperature():
    system = structures.silicon(8000)
    drawn = structures.velocities(system, 300.0)
    assert drawn.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    atoms = system.to_ase()
    atoms.set_velocities(drawn)
    assert atoms.get_temperature() == pytest.approx(300.0, rel=0.02)  # 1/√12,000 is 0.01
