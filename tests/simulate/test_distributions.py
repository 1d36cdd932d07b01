"""Distributions along runs against ideal gases, crystals and harmonic dimers, whose distributions are known."""

import dataclasses
import itertools
import json

import ase
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.geometry.rdf import get_rdf
from scipy import stats

from atomlens.errors import InputError
from atomlens.simulate.analysis import distributions, pairs, sizes
from atomlens.simulate.frames import Frames


def frames_of(positions, numbers, *, cell=None, beads=1, interval=1.0, masses=None):
    """Positions (frames, copies, atoms, 3)."""
    positions = np.asarray(positions, dtype=float)
    count = positions.shape[:2]
    cells = np.broadcast_to(np.zeros((3, 3)) if cell is None else np.asarray(cell, dtype=float), (*count, 3, 3))
    return Frames(
        numbers=np.asarray(numbers),
        masses=np.asarray(masses if masses is not None else ase.data.atomic_masses[np.asarray(numbers)]),
        pbc=np.full(3, cell is not None),
        times=interval * np.arange(count[0]),
        positions=positions,
        cells=cells.copy(),
        beads=beads,
    )


def dimer(distances, numbers=(7, 7)):
    """Dimers of given lengths (frames, copies), turned at random."""
    rng = np.random.default_rng(42)
    axis = rng.standard_normal((*distances.shape, 3))
    axis *= (distances / np.linalg.norm(axis, axis=-1))[..., None]
    return frames_of(np.stack([np.zeros_like(axis), axis], axis=2), numbers)


class TestRadialDistribution:
    def test_ideal_gas(self):
        """1 between elements, 1 - 1/N within one; also beyond half the cell, where images count."""
        rng = np.random.default_rng(0)
        gas = frames_of(rng.uniform(0.0, 7.0, (200, 2, 12, 3)), [18] * 4 + [10] * 8, cell=7.0 * np.eye(3))
        found = {each.pair: each for each in pairs.pair_distributions(gas, 9.0, bins=9)}
        for name, expected in (("Ar–Ar", 3 / 4), ("Ar–Ne", 1.0), ("Ne–Ne", 7 / 8)):
            # Own images lie at 7 Å and beyond, in the bins from 7 to 9 Å: of 6 at 7 Å, 12 at 9.9 Å.
            kept = found[name].centres < 7.0
            apart = (found[name].values - expected)[kept] / found[name].error[kept]
            assert np.abs(apart).max() < 4.0
            assert np.abs(apart).mean() < 1.5
        beyond = found["Ar–Ne"].centres > 7.0
        assert np.abs((found["Ar–Ne"].values - 1.0) / found["Ar–Ne"].error)[beyond].max() < 4.0

    @pytest.mark.parametrize(
        ("crystal", "shells"),
        [
            (bulk("Cu", "fcc", 3.6), {1 / np.sqrt(2): 12, 1.0: 6, np.sqrt(1.5): 24, np.sqrt(2): 12}),
            (bulk("Si", "diamond", 5.43), {np.sqrt(3) / 4: 4, 1 / np.sqrt(2): 12, np.sqrt(11) / 4: 12}),
        ],
    )
    def test_shells_of_crystals_from_a_primitive_cell(self, crystal, shells):
        """Neighbour counts of ideal crystals (tables of lattice sums), in cells far smaller than the distances."""
        lattice = {"Cu": 3.6, "Si": 5.43}[crystal.get_chemical_symbols()[0]]
        run = frames_of(crystal.positions[None, None], crystal.numbers, cell=crystal.cell.array)
        (found,) = pairs.pair_distributions(run, 6.0, bins=1200)
        running = 0
        for place, count in sorted(shells.items()):
            running += count
            at = found.neighbours[np.searchsorted(found.edges[1:], place * lattice + 0.05)]
            assert at == pytest.approx(running, abs=1e-9)

    def test_density_integrates_to_the_neighbours(self):
        """4π ρ_b ∫ g r² dr over exact shells counts b around a; with a cell that breathes, too."""
        rng = np.random.default_rng(1)
        salt = bulk("NaCl", "rocksalt", 5.64, cubic=True)
        shaken = salt.positions + 0.1 * rng.standard_normal((5, 1, 8, 3))
        run = frames_of(shaken, salt.numbers, cell=salt.cell.array)
        found = {each.pair: each for each in pairs.pair_distributions(run, 6.0, bins=60)}["Cl–Na"]
        shell = 4 / 3 * np.pi * np.diff(found.edges**3)
        np.testing.assert_allclose(np.cumsum(found.values * shell) * 4 / 5.64**3, found.neighbours, rtol=1e-12)

    def test_against_ase(self):
        """ASE's g(r) of a shaken supercell, whose half width holds all distances that it can do."""
        crystal = bulk("Al", cubic=True) * (3, 3, 3)
        crystal.rattle(0.1, seed=3)
        run = frames_of(crystal.positions[None, None], crystal.numbers, cell=crystal.cell.array)
        (found,) = pairs.pair_distributions(run, 6.0, bins=50)
        expected, _ = get_rdf(crystal, 6.0, 50)
        # Before 3.28 ASE took 4πr²dr for the volume of a shell, which differs by dr²/12r².
        np.testing.assert_allclose(found.values, expected, rtol=3e-4, atol=1e-12)

    def test_slab_is_refused(self):
        run = frames_of(np.zeros((1, 1, 1, 3)), [6], cell=np.eye(3))
        slab = dataclasses.replace(run, pbc=np.array([True, True, False]))
        with pytest.raises(InputError, match="three directions"):
            pairs.pair_distributions(slab)


class TestHarmonicDimer:
    """Bond length of a stiff dimer at temperature T: Gaussian of variance kT/k."""

    WIDTH = float(np.sqrt(units.kB * 300.0 / 20.0))  # Å, of a spring of 20 eV/Å²

    @pytest.fixture
    def run(self):
        rng = np.random.default_rng(3)
        return dimer(1.1 + self.WIDTH * rng.standard_normal((4000, 2)))

    @pytest.mark.parametrize("of", [pairs.bond_density, pairs.nearest_density, pairs.distance_density])
    def test_mean_width_and_shape(self, run, of):
        found = of(run, bins=40)
        assert abs(found.mean - 1.1) < 4 * found.mean_error
        assert found.mean_error == pytest.approx(self.WIDTH / np.sqrt(8000), rel=0.3)
        assert abs(found.width - self.WIDTH) < 4 * found.width_error
        assert found.width_error == pytest.approx(self.WIDTH / np.sqrt(2 * 8000), rel=0.3)
        expected = np.diff(stats.norm(1.1, self.WIDTH).cdf(found.edges)) / np.diff(found.edges)
        well = found.density * np.diff(found.edges) * 8000 > 20
        apart = ((found.density - expected) / np.where(found.error > 0, found.error, 1.0))[well]
        assert np.abs(apart).max() < 4.5
        assert 0.6 < np.sqrt(np.mean(np.square(apart))) < 1.5  # bars are neither too long nor too short
        assert (found.density * np.diff(found.edges)).sum() + found.outside == pytest.approx(1.0, abs=1e-12)

    def test_bars_cover_over_many_runs(self):
        rng = np.random.default_rng(4)
        shown = []
        for _ in range(60):
            values = 1.1 + self.WIDTH * rng.standard_normal((600, 1))
            found = pairs.bond_density(dimer(values), bins=8, limits=(0.95, 1.25))
            expected = np.diff(stats.norm(1.1, self.WIDTH).cdf(found.edges)) / np.diff(found.edges)
            shown += [(found.mean - 1.1) / found.mean_error, (found.width - self.WIDTH) / found.width_error]
            shown += ((found.density - expected) / np.maximum(found.error, 1e-9))[2:6].tolist()
        assert np.mean(np.abs(shown) < 1.0) == pytest.approx(0.66, abs=0.08)
        assert np.mean(np.abs(shown) < 2.0) == pytest.approx(0.94, abs=0.04)

    def test_wider_run_is_told_apart_and_equal_ones_are_not(self, run):
        rng = np.random.default_rng(5)
        limits = (0.9, 1.3)
        same = dimer(1.1 + self.WIDTH * rng.standard_normal((4000, 2)))
        wider = dimer(1.11 + 1.1 * self.WIDTH * rng.standard_normal((4000, 2)))
        own, equal, other = (pairs.bond_density(each, limits=limits) for each in (run, same, wider))
        found = distributions.compare(own, other)
        assert abs(found.shift - 0.01) < 4 * found.shift_error
        assert abs(found.widening - 0.1 * self.WIDTH) < 4 * found.widening_error
        assert max(found.shift_p, found.widening_p) < 1e-6
        assert found.overlap < 0.95
        alike = distributions.compare(own, equal)
        assert min(alike.shift_p, alike.widening_p) > 0.01
        json.dumps(found.to_dict(), allow_nan=False)
        with pytest.raises(InputError, match="same bins"):
            distributions.compare(own, pairs.bond_density(wider, bins=30, limits=limits))

    def test_chance_of_equal_runs_is_uniform(self):
        rng = np.random.default_rng(6)
        shown = []
        for _ in range(80):
            both = [
                pairs.bond_density(dimer(1.1 + self.WIDTH * rng.standard_normal((400, 1))), limits=(0.9, 1.3))
                for _ in range(2)
            ]
            found = distributions.compare(*both)
            shown += [found.shift_p, found.widening_p]
        assert stats.kstest(shown, "uniform").pvalue > 1e-3


class TestBeads:
    def test_beads_widen_the_distribution_but_not_the_certainty(self):
        """Beads that repeat each other are one sample, not eight."""
        rng = np.random.default_rng(7)
        once = 1.1 + 0.05 * rng.standard_normal((2000, 1))
        single = pairs.bond_density(dimer(once), limits=(0.8, 1.4))
        positions = np.repeat(dimer(once).positions, 8, axis=1)
        path = pairs.bond_density(frames_of(positions, [7, 7], beads=8), limits=(0.8, 1.4))
        np.testing.assert_allclose(path.density, single.density, atol=1e-12)
        assert path.mean_error == pytest.approx(single.mean_error, rel=1e-9)
        np.testing.assert_allclose(path.error, single.error, atol=1e-9)


class TestReadingInPieces:
    def test_long_runs_are_read_in_blocks(self, monkeypatch):
        rng = np.random.default_rng(8)
        run = dimer(1.1 + 0.05 * rng.standard_normal((6000, 1)))
        whole = pairs.bond_density(run, limits=(0.8, 1.4))
        monkeypatch.setattr(distributions, "_CHUNK", 500)
        monkeypatch.setattr(distributions, "MOST_BLOCKS", 512)
        pieces = pairs.bond_density(run, limits=(0.8, 1.4))
        kept = 6000 - 6000 % 11
        np.testing.assert_allclose(pieces.density, whole.density, atol=12 / 6000 / 0.005)
        assert pieces.average.frames == kept
        counts, _ = np.histogram(np.linalg.norm(run.positions[-kept:, 0, 1], axis=-1), 120, (0.8, 1.4))
        np.testing.assert_allclose(pieces.density, counts / kept / 0.005, atol=1e-9)
        np.testing.assert_allclose(pieces.error.mean(), whole.error.mean(), rtol=0.1)

    def test_values_outside_are_counted(self):
        found = pairs.bond_density(dimer(np.linspace(1.0, 1.2, 100)[:, None]), limits=(1.0, 1.1), bins=10)
        assert found.outside == pytest.approx(0.5, abs=0.01)
        assert found.highest == pytest.approx(1.2)


class TestNeighbours:
    def test_bonds_of_a_molecule(self):
        ethanol = molecule("CH3CH2OH")
        found = pairs.find_bonds(frames_of(ethanol.positions[None, None], ethanol.numbers))
        assert len(found) == 8
        by_kind = {name: len(bonds) for name, bonds in pairs.pairs_of(found, ethanol.numbers)}
        assert by_kind == {"C–H": 5, "O–H": 1, "C–C": 1, "O–C": 1}

    def test_bonds_follow_images_and_a_stretched_frame_breaks_none(self):
        silicon = bulk("Si", "diamond", 5.43, cubic=True)
        rng = np.random.default_rng(9)
        moved = silicon.positions + 0.05 * rng.standard_normal((50, 1, 8, 3)) + 3.0 * np.arange(50)[:, None, None, None]
        moved[25, 0, 0] += 0.6
        run = frames_of(moved, silicon.numbers, cell=silicon.cell.array)
        found = pairs.bond_density(run)
        assert found.values == 16
        assert found.mean == pytest.approx(5.43 * np.sqrt(3) / 4, abs=0.02)
        assert found.highest > 2.5

    def test_nearest_against_all_distances(self):
        ethanol = molecule("CH3CH2OH")
        run = frames_of(ethanol.positions[None, None], ethanol.numbers)
        found = pairs.nearest_distances(run.pbc)(run.positions[0], run.cells[0])[:, 0]
        apart = ethanol.get_all_distances()
        np.testing.assert_allclose(found, np.where(apart > 0, apart, np.inf).min(axis=1), rtol=1e-12)

    def test_nearest_of_a_lone_atom_in_a_cell_is_its_image(self):
        run = frames_of(np.zeros((1, 1, 1, 3)), [18], cell=np.diag([5.0, 6.0, 7.0]))
        found = pairs.nearest_distances(run.pbc)(run.positions[0], run.cells[0])
        assert found[0, 0] == pytest.approx(5.0)

    def test_a_gas_has_no_bonds(self):
        run = frames_of(np.array([[[[0.0, 0, 0], [0, 0, 4.0]]]]), [18, 18])
        with pytest.raises(InputError, match="bond"):
            pairs.find_bonds(run)


class TestSizes:
    CUBE = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))

    def test_cube(self):
        run = frames_of(np.repeat(self.CUBE[None, None], 3, axis=0), [6] * 8)
        assert sizes.diameter_density(run).mean == pytest.approx(2 * np.sqrt(3))
        assert sizes.opposite_density(run).mean == pytest.approx(2 * np.sqrt(3))
        assert sizes.gyration_density(run).mean == pytest.approx(np.sqrt(3))

    def test_gyration_weighs_by_mass(self):
        run = frames_of(np.array([[[[0.0, 0, 0], [0, 0, 2.0]]]]), [6, 1], masses=[3.0, 1.0])
        expected = np.sqrt((3 * 0.5**2 + 1.5**2) / 4)
        assert sizes.gyration_density(run).mean == pytest.approx(expected)

    def test_noise_lengthens_the_diameter_more_than_the_cage(self):
        """To first order the mean distance of opposite atoms stays, while the largest of four rises."""
        rng = np.random.default_rng(10)
        run = frames_of(self.CUBE + 0.05 * rng.standard_normal((500, 1, 8, 3)), [6] * 8)
        cage, diameter = sizes.opposite_density(run), sizes.diameter_density(run)
        assert cage.mean == pytest.approx(2 * np.sqrt(3), abs=0.01)
        # The largest of four independent normal numbers lies 1.029 standard deviations above their mean.
        assert diameter.mean - cage.mean == pytest.approx(1.029 * 0.05 * np.sqrt(2), rel=0.1)

    def test_refuses(self):
        water = molecule("H2O")
        run = frames_of(water.positions[None, None], water.numbers)
        with pytest.raises(InputError, match="opposite"):
            sizes.opposite_pairs(run)
        crystal = frames_of(np.zeros((1, 1, 1, 3)), [6], cell=np.eye(3))
        with pytest.raises(InputError, match="periodic"):
            sizes.gyration_density(crystal)
        with pytest.raises(InputError, match="single atom"):
            sizes.diameter_density(frames_of(np.zeros((1, 1, 1, 3)), [6]))
