"""Panels of runs: what they say, what they check, and what they refuse."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule

from atomlens.errors import InputError
from atomlens.simulate.analysis import RUN_ANALYSES, RunSettings, run_panels
from atomlens.simulate.analysis.wording import chance, halves_check, with_error
from atomlens.simulate.frames import Frames

CUBE = 0.75 * np.array(list(itertools.product((-1.0, 1.0), repeat=3)))  # cubane's carbons
SETTINGS = RunSettings(name="classical", beside="quantum", temperature=300.0, resolution=100.0, bins=40)
OMEGA = 0.2  # rad/fs, 1062 cm⁻¹


def oscillating(structure, *, width=0.04, replicas=10, frames=600, beads=1, seed=0):
    """Every coordinate swings at 1062 cm⁻¹ with thermal velocities; `width` in Å is that of the positions."""
    rng = np.random.default_rng(seed)
    masses, atoms, copies = structure.get_masses(), len(structure), replicas * beads
    speed = np.sqrt(units.kB * 300.0 / masses)[:, None] * units.fs * np.sqrt(beads)
    cosine, sine = rng.standard_normal((2, copies, atoms, 3))
    times = 1.0 * np.arange(frames)
    phase = OMEGA * times[:, None, None, None]
    along = cosine * np.sin(phase) + sine * np.cos(phase)
    # Fresh energy in every frame, as under a strong thermostat, but for the spectrum's regular part.
    fresh = rng.standard_normal((frames, copies, atoms, 3))
    return Frames(
        numbers=structure.numbers,
        masses=masses,
        pbc=structure.pbc,
        times=times,
        positions=structure.positions + width * fresh,
        cells=np.broadcast_to(structure.cell.array, (frames, copies, 3, 3)).copy(),
        velocities=speed * (cosine * np.cos(phase) - sine * np.sin(phase)),
        potential=0.5 * units.kB * 300.0 * np.square(fresh).sum(axis=(2, 3)) - 1000.0,
        dipoles=(np.array([1.0, -1.0] * (atoms // 2) + [0.0] * (atoms % 2))[:, None] * width * along).sum(axis=2),
        beads=beads,
    )


@pytest.fixture(scope="module")
def cage():
    from ase import Atoms

    return Atoms("C8", positions=CUBE)


@pytest.fixture(scope="module")
def both(cage):
    return oscillating(cage), oscillating(cage, width=0.06, beads=4, replicas=9, seed=1)


@pytest.fixture(scope="module")
def panels(both):
    found = run_panels(both[0], SETTINGS, both[1])
    return {panel.analysis: panel for panel in found}


class TestAll:
    def test_registry_is_in_order_and_every_panel_is_made(self, panels):
        names = [row.topic.name for row in RUN_ANALYSES]
        assert list(panels) == names == ["structure", "sizes", "spectra", "thermodynamics"]
        for row in RUN_ANALYSES:
            assert row.topic.title
            assert row.topic.definition
            panel = panels[row.topic.name]
            assert not panel.unavailable
            assert panel.reading
            assert panel.trust
            assert panel.checks
            assert panel.figures
            assert panel.views

    def test_facts_are_plain(self, panels):
        for panel in panels.values():
            json.dumps(panel.to_dict(), allow_nan=False)

    def test_tables_are_full(self, panels):
        for panel in panels.values():
            for table in panel.tables:
                assert all(len(row) == len(table.columns) for row in table.rows)

    def test_different_structures_are_not_compared(self, both):
        ethanol = oscillating(molecule("CH3CH2OH"))
        for row in RUN_ANALYSES:
            with pytest.raises(InputError, match="different structures"):
                row.panel(both[0], SETTINGS, ethanol)

    def test_equilibration_is_left_out(self, both):
        run = both[0]
        heated = run.positions.copy()
        heated[:300] *= 1.5
        whole = dataclasses.replace(run, positions=heated)
        settings = SETTINGS.model_copy(update={"skip": 300.0})
        panel = RUN_ANALYSES[0].panel(whole, settings, None)
        assert "first 300 fs left out" in panel.trust
        found = panel.facts["bonds_distribution"]["classical"]["mean"]["mean"]
        assert found == pytest.approx(1.5, abs=0.01)
        with pytest.raises(InputError, match="ends before"):
            RUN_ANALYSES[0].panel(run, SETTINGS.model_copy(update={"skip": 1e6}), None)

    def test_guards_warnings_are_told(self, both):
        marked = np.zeros(both[0].positions.shape[:2], dtype=bool)
        marked[5, :3] = True
        panel = RUN_ANALYSES[1].panel(dataclasses.replace(both[0], marked=marked), SETTINGS, None)
        assert "A guard warned of 3 frames" in panel.trust


class TestStructure:
    def test_widening_is_told_with_its_size(self, panels):
        panel = panels["structure"]
        assert "12 bonds" in panel.reading
        assert "narrower" in panel.reading  # of the classical run
        assert "quantum" in panel.reading
        found = panel.facts["bonds_comparison"]
        # Along a bond two coordinates of widths 0.04 and 0.06 Å differ.
        assert found["widening"] == pytest.approx(np.sqrt(2) * (0.04 - 0.06), abs=5 * found["widening_error"])
        assert found["widening_p"] < 1e-3

    def test_distributions_of_both_runs_are_in_the_figure(self, panels):
        figure = panels["structure"].figures["distributions"]
        assert len(figure.axes) == 3
        for axes in figure.axes:
            assert len(axes.lines) == 2

    def test_checks_hold_and_can_fail(self, panels, both):
        checks = {check.name: check for check in panels["structure"].checks}
        assert checks["distances by ASE"].passed
        assert checks["bonds hold: classical"].passed
        torn = both[0].positions.copy()
        torn[-1, 0, 0] -= 5.0
        panel = RUN_ANALYSES[0].panel(dataclasses.replace(both[0], positions=torn), SETTINGS, None)
        assert not next(check for check in panel.checks if check.name.startswith("bonds hold")).passed

    def test_bonds_that_broke_for_good_are_told(self, both):
        run = both[0]
        torn = run.positions.copy()
        torn[50:, 0, 0] -= 20.0 * CUBE[0]  # not bonded on average, so that means do not show it
        panel = RUN_ANALYSES[0].panel(dataclasses.replace(run, positions=torn), SETTINGS, None)
        assert panel.reading.startswith("In classical 3 of the 12 bonds of its first frame were torn")
        found = next(check for check in panel.checks if check.name == "bonds hold: classical")
        assert found.claim
        assert not found.passed

    def test_crystal_has_g_of_r(self):
        salt = bulk("NaCl", "rocksalt", 5.64, cubic=True)
        run = oscillating(salt, replicas=1, frames=40)
        panel = RUN_ANALYSES[0].panel(run, SETTINGS, None)
        radial = panel.facts["radial_distribution"]["classical"]
        assert [each["pair"] for each in radial] == ["Na–Na", "Cl–Na", "Cl–Cl"]
        assert "Cl–Na" in panel.reading
        assert len(panel.figures["distributions"].axes) >= 4

    def test_single_atom(self, both):
        run = both[0]
        parts = {name: getattr(run, name)[:, :, :1] for name in ("positions", "velocities")}
        alone = dataclasses.replace(run, numbers=run.numbers[:1], masses=run.masses[:1], **parts)
        with pytest.raises(InputError, match="single atom"):
            RUN_ANALYSES[0].panel(alone, SETTINGS, None)


class TestSizes:
    def test_cage_has_a_width(self, panels):
        assert "cage width" in panels["sizes"].reading
        assert panels["sizes"].checks[0].passed

    def test_crystal_has_no_size_and_the_page_says_why(self):
        run = oscillating(bulk("Si", cubic=True), replicas=1, frames=40)
        found = {panel.analysis: panel for panel in run_panels(run, SETTINGS)}
        assert "periodic" in found["sizes"].unavailable
        assert found["sizes"].to_dict() == {"unavailable": found["sizes"].unavailable}
        assert not found["structure"].unavailable


class TestSpectra:
    def test_peak_is_named(self, panels):
        place = OMEGA / (2 * np.pi * 2.99792458e-5)
        found = panels["spectra"].facts["peaks_cm"]
        assert found[0] == pytest.approx(place, abs=60.0)
        assert {"vibrational_density", "infrared"} <= set(panels["spectra"].figures)
        assert "centroids" in panels["spectra"].trust

    def test_noise_has_no_peaks(self, both):
        rng = np.random.default_rng(3)
        speeds = rng.standard_normal(both[0].velocities.shape) * np.abs(both[0].velocities).mean()
        panel = RUN_ANALYSES[2].panel(dataclasses.replace(both[0], velocities=speeds), SETTINGS, None)
        assert panel.facts["peaks_cm"] == []
        assert "No vibration" in panel.reading

    def test_a_run_beside_it_without_velocities_is_left_out(self, both):
        bare = dataclasses.replace(both[1], velocities=None)
        panel = RUN_ANALYSES[2].panel(both[0], SETTINGS, bare)
        assert "quantum is not shown" in panel.trust

    def test_no_velocities(self, both):
        bare = dataclasses.replace(both[0], velocities=None)
        with pytest.raises(InputError, match="velocities"):
            RUN_ANALYSES[2].panel(bare, SETTINGS, None)

    def test_sum_rule_fails_at_the_wrong_temperature(self, panels, both):
        wrong = SETTINGS.model_copy(update={"temperature": 600.0})
        for panel, passed in ((panels["spectra"], True), (RUN_ANALYSES[2].panel(both[0], wrong, None), False)):
            assert next(check for check in panel.checks if check.name == "sum rule").passed is passed


class TestThermodynamics:
    def test_temperatures(self, panels):
        runs = panels["thermodynamics"].facts["runs"]
        for each in runs.values():
            assert each["temperature"]["mean"] == pytest.approx(300.0, abs=4 * each["temperature"]["error"])
        assert "300 K were asked for" in panels["thermodynamics"].reading
        assert {"energy_traces", "block_averages"} <= set(panels["thermodynamics"].figures)

    def test_drifting_energy_is_found(self, both):
        run = both[0]
        drifting = dataclasses.replace(run, potential=run.potential + 0.002 * run.times[:, None])
        panel = RUN_ANALYSES[3].panel(drifting, SETTINGS, None)
        assert not next(check for check in panel.checks if check.name.startswith("settled")).passed

    def test_wrong_temperature_is_found(self, both):
        wrong = SETTINGS.model_copy(update={"temperature": 600.0})
        checks = {check.name: check.passed for check in RUN_ANALYSES[3].panel(both[0], wrong, None).checks}
        assert checks["temperature"] is False
        assert checks.get("canonical", False) is False

    @pytest.mark.parametrize("frames", [1, 2, 7])
    def test_a_handful_of_frames_has_means_but_no_test(self, both, frames):
        run = both[0]
        names = ("positions", "cells", "velocities", "potential")
        few = dataclasses.replace(
            run, **{name: getattr(run, name)[:frames, :1] for name in names}, times=run.times[:frames], dipoles=None,
            marked=None,
        )  # fmt: skip
        panel = RUN_ANALYSES[3].panel(few, SETTINGS, None)
        assert f"only {frames} frames" in panel.trust
        assert "canonical" not in {check.name for check in panel.checks}

    def test_needs_energies_or_velocities(self, both):
        bare = dataclasses.replace(both[0], velocities=None, potential=None)
        with pytest.raises(InputError, match="neither"):
            RUN_ANALYSES[3].panel(bare, SETTINGS, None)
        energies = dataclasses.replace(both[0], velocities=None)
        assert "potential energy is −99" in RUN_ANALYSES[3].panel(energies, SETTINGS, None).reading


class TestWording:
    def test_numbers_with_errors(self):
        assert with_error(1.43123, 0.0017, "Å") == "1.4312 ± 0.0017 Å"
        assert with_error(-1234.5, 12.3) == "−1234 ± 12"
        assert with_error(2.0, float("nan"), "K") == "2 K (no error bar)"
        assert with_error(2.0, 0.0) == "2"
        assert chance(1e-5) == "p < 0.001"
        assert chance(0.0312) == "p = 0.031"

    def test_halves(self):
        rng = np.random.default_rng(0)
        level = rng.standard_normal((400, 2))
        (good,) = halves_check(level, "x", "run")
        (bad,) = halves_check(level + np.linspace(0, 2, 400)[:, None], "x", "run")
        assert good.passed
        assert not bad.passed
        assert halves_check(level[:4], "x", "run") == ()

    def test_unknown_setting_is_refused(self):
        with pytest.raises(InputError, match="resolution"):
            RunSettings.parse({"resoluton": 3.0})
