"""Runs in a folder: what they write, how they stop, and that they go on to the same files, byte for byte."""

import errno
import json
import os
import signal

import ase
import numpy as np
import pytest
import torch
from ase import units
from ase.build import bulk, molecule
from ase.io import read
from pair_model import pair_model

from atomlens.errors import InputError, Interrupted
from atomlens.model import Model, ModelConfig
from atomlens.simulate.path_integrals import (
    PathIntegralConfig,
    bead_convergence,
    convergence_panel,
    path_energies,
    path_integrals_panel,
    read_observables,
    run_path_integrals,
)
from atomlens.simulate.path_integrals import run as run_module
from atomlens.simulate.path_integrals.estimators import missing_energy
from atomlens.simulate.recording import Recorder, load_checkpoint

pytest.importorskip("ipi")


@pytest.fixture(scope="module")
def model():
    return pair_model()


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(run_module, "BLOCK", 6)


def config_of(**settings) -> PathIntegralConfig:
    base = {"beads": 3, "record_interval": 2.0, "duration": 0.02, "timestep": 0.5, "checkpoint_seconds": 1e9}
    return PathIntegralConfig(**{**base, **settings})


def files_of(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name.startswith(("traj", "obs"))}


class StopAt:
    """Ctrl-C at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, structures, results, step):
        del structures, results
        if step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_run_writes_frames_of_every_bead_and_a_table(model, tmp_path):
    config = config_of(replicas=2)
    run = run_path_integrals(model, molecule("CH3OH"), tmp_path / "run", config)
    assert run.steps == 40
    found = read_observables(run.folder)
    assert found.steps.tolist() == list(range(0, 41, 4))
    np.testing.assert_allclose(found.times, 0.5 * found.steps)
    assert found.potential.shape == (11, 2)
    trajectories = [read(path, ":") for path in sorted(run.folder.glob("trajectory_*.extxyz"))]
    assert [len(frames) for frames in trajectories] == [11] * 6
    for copy, frames in enumerate(trajectories):
        last = frames[-1]
        assert (last.info["replica"], last.info["bead"], last.info["step"]) == (*divmod(copy, 3), 40)
        assert last.info["time_fs"] == 20.0
        wanted = model.predict(last)
        assert last.get_potential_energy() == pytest.approx(float(wanted["energy"]), abs=1e-5)
        np.testing.assert_allclose(last.get_forces(), wanted["forces"], atol=1e-4)
    energies = [frames[-1].get_potential_energy() for frames in trajectories[:3]]
    assert found.potential[-1, 0] == pytest.approx(np.mean(energies), abs=1e-7)
    momenta = np.stack([frames[-1].get_momenta() for frames in trajectories[:3]])
    twice = (np.square(momenta) / molecule("CH3OH").get_masses()[:, None]).sum()
    assert found.temperature[-1, 0] == pytest.approx(twice / (3 * units.kB) / (3 * 3 * 6 - 3), rel=1e-5)
    settings = json.loads((run.folder / "settings.json").read_text())
    assert (settings["beads"], settings["copies"], settings["interval_fs"]) == (3, 6, 2.0)
    assert run.timings.steps == 40
    assert 0.0 < run.timings.overhead < 1.0
    assert min(run.timings.model, run.timings.engine, run.timings.recording) > 0.0


GLE = "<A shape='(3,2,2)'>[{0}, {0}, {0}]</A>".format("2e-3, 4e-3, -4e-3, 8e-3")
KINDS = {
    "pile-l": {"replicas": 2},
    "pile-g": {"thermostat": "pile-g", "format": "traj"},
    "langevin": {"thermostat": "langevin", "beads": 1},
    "gle": {"thermostat": "gle"},
    "nve": {"ensemble": "nve"},
    "network": {"temperature": 20.0},
    "isotropic": {"ensemble": "npt"},
    "flexible": {"ensemble": "npt", "barostat": "flexible"},
}


def network() -> Model:
    """An untrained network in single precision, in which the order of sums is seen at once."""
    torch.manual_seed(0)
    config = {"representation": {"name": "schnet", "features": 16, "interactions": 2, "cutoff": 2.0}}
    return Model(ModelConfig.parse(config), [1, 6])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_stopped_comes_to_the_same_files(model, tmp_path, kind):
    settings = dict(KINDS[kind])
    if kind == "gle":
        (tmp_path / "gle.xml").write_text(GLE)
        settings["gle"] = str(tmp_path / "gle.xml")
    atoms = bulk("Si") if settings.get("ensemble") == "npt" else molecule("CH4")
    model = network() if kind == "network" else model
    config = config_of(**settings)
    run_path_integrals(model, atoms, tmp_path / "whole", config)
    with pytest.raises(Interrupted, match="--resume"):
        run_path_integrals(model, atoms, tmp_path / "parts", config, watch=StopAt(16))
    assert load_checkpoint(tmp_path / "parts")[0]["step"] == 18  # the next point
    run_path_integrals(model, atoms, tmp_path / "parts", config, resume=True)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(model, tmp_path):
    config = config_of(checkpoint_seconds=0.0)
    run_path_integrals(model, molecule("CH4"), tmp_path / "whole", config)

    def kill(structures, results, step):
        del structures, results
        if step == 28:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_path_integrals(model, molecule("CH4"), tmp_path / "parts", config, watch=kill)
    assert load_checkpoint(tmp_path / "parts")[0]["step"] == 24
    run_path_integrals(model, molecule("CH4"), tmp_path / "parts", config, resume=True)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


def test_a_run_that_is_over_goes_on_for_longer(model, tmp_path):
    short, long = config_of(duration=0.012), config_of(duration=0.021)  # the first ends at a point
    run_path_integrals(model, molecule("CH4"), tmp_path / "whole", long)
    run_path_integrals(model, molecule("CH4"), tmp_path / "parts", short)
    run_path_integrals(model, molecule("CH4"), tmp_path / "parts", long, resume=True)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")
    with pytest.raises(InputError, match="raise the duration"):
        run_path_integrals(model, molecule("CH4"), tmp_path / "parts", short, resume=True)


@pytest.mark.parametrize("where", ["frames", "row", "commit"])
def test_a_full_disk_costs_what_came_after_the_last_checkpoint(model, tmp_path, monkeypatch, where):
    config = config_of(checkpoint_seconds=0.0)
    run_path_integrals(model, molecule("CH4"), tmp_path / "whole", config)
    before, calls = getattr(Recorder, where), []

    def full(self, *values):
        calls.append(1)
        if len(calls) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return before(self, *values)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, where, full)
        with pytest.raises(InputError, match="disk is full; all up to") as caught:
            run_path_integrals(model, molecule("CH4"), tmp_path / "parts", config)
    kept = float(str(caught.value).split("all up to ")[1].split(" fs")[0])
    assert kept == 0.5 * load_checkpoint(tmp_path / "parts")[0]["step"]
    run_path_integrals(model, molecule("CH4"), tmp_path / "parts", config, resume=True)
    assert files_of(tmp_path / "parts") == files_of(tmp_path / "whole")


def test_a_watch_sees_marks_and_ends(model, tmp_path):
    class Watch:
        def __init__(self) -> None:
            self.alarms: list[int] = []
            self.seen: list[tuple[int, int]] = []

        def __call__(self, structures, results, step):
            self.seen.append((step, len(structures)))
            assert all(set(found) >= {"energy", "forces"} for found in results)
            if step == 12:
                self.alarms.append(step)
                raise InputError("the path left what the model knows")
            return [step == 8 and bead == 1 for bead in range(len(structures))]

    watch = Watch()
    with pytest.raises(InputError, match="left what the model knows; frames until then are kept"):
        run_path_integrals(model, molecule("CH4"), tmp_path / "run", config_of(), watch=watch)
    assert watch.seen == [(0, 3), (4, 3), (8, 3), (12, 3)]
    frames = [read(path, ":") for path in sorted((tmp_path / "run").glob("trajectory_*"))]
    marked = [[bool(atoms.info.get("marked", False)) for atoms in bead] for bead in frames]
    assert marked == [[False, False, False, True], [False, False, True, True], [False, False, False, True]]


def test_atoms_that_fly_apart_end_the_run(tmp_path):
    class Collapsing:
        """Bonds that pull ever stronger."""

        def __call__(self, structures):
            if max(abs(atoms.positions).max() for atoms in structures.values()) > 3.0:
                raise InputError("atoms flew apart", structure=1)
            return {name: {"energy": 0.0, "forces": 90 * atoms.positions} for name, atoms in structures.items()}

        def forget(self):
            """Nothing is kept."""

    with pytest.raises(InputError, match="bead 1: atoms flew apart; frames until then are kept") as caught:
        run_path_integrals(Collapsing(), molecule("CH4"), tmp_path / "run", config_of())
    assert caught.value.file == str(tmp_path / "run")
    assert len(read_observables(tmp_path / "run").times) >= 1


def test_a_run_goes_on_with_what_it_was_started_with(model, tmp_path):
    run_path_integrals(model, molecule("CH4"), tmp_path / "run", config_of())
    torch.manual_seed(0)
    other = Model(model.config, model.elements)
    for settings, changed, atoms, said in (
        ({"temperature": 350.0}, model, molecule("CH4"), "temperature"),
        ({}, other, molecule("CH4"), "model is another"),
        ({}, model, molecule("H2O"), "formula|structure|atoms"),
    ):
        with pytest.raises(InputError, match=said):
            run_path_integrals(changed, atoms, tmp_path / "run", config_of(**settings), resume=True)
    with pytest.raises(InputError, match="not empty"):
        run_path_integrals(model, molecule("CH4"), tmp_path / "run", config_of())
    with pytest.raises(InputError, match="no run to go on"):
        run_path_integrals(model, molecule("CH4"), tmp_path / "none", config_of(), resume=True)


def test_a_path_may_begin_where_another_ended(model, tmp_path):
    first = run_path_integrals(model, molecule("CH4"), tmp_path / "nvt", config_of())
    beads = [read(path, "-1") for path in sorted(first.folder.glob("trajectory_*"))]
    config = config_of(ensemble="nve", velocities="structure", fix_centre=False)
    run_path_integrals(model, beads, tmp_path / "nve", config)
    again = [read(path, "0") for path in sorted((tmp_path / "nve").glob("trajectory_*"))]
    for one, other in zip(beads, again, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-7)
        np.testing.assert_allclose(one.get_momenta(), other.get_momenta(), atol=1e-7)
    with pytest.raises(InputError, match="one for each bead"):
        run_path_integrals(model, beads[:2], tmp_path / "no", config)


class Wells:
    """Every atom in a well of its own, ħω = 2 k_B T at 300 K."""

    def __call__(self, structures):
        stiffness = 12.0 * (2 * units.kB * 300.0 / 0.06465415105180661) ** 2
        rows = {name: atoms.positions for name, atoms in structures.items()}
        return {
            name: {"energy": 0.5 * stiffness * np.square(q).sum(), "forces": -stiffness * q} for name, q in rows.items()
        }

    def forget(self) -> None:
        """Nothing is kept."""


def test_panels_tell_energies_and_their_convergence(tmp_path):
    atoms = ase.Atoms("C40", np.zeros((40, 3)))
    config = config_of(
        fix_centre=False, thermostat_time=10.0, timestep=1.0, record_interval=10.0, equilibration=0.1, duration=0.9
    )
    found = bead_convergence(Wells(), atoms, tmp_path, config, beads=(4, 1, 2))
    assert found.beads.tolist() == [1, 2, 4]
    # ħω = 2 k_B T: k_B T Σ ω²/(ω² + ω_k²) by hand for one, two and four beads, and coth(1) in the limit.
    shares = np.array([1.0, 1 + 1 / (1 + 4.0), 1 + 2 / (1 + 8.0) + 1 / (1 + 16.0)])
    np.testing.assert_array_less(np.abs(found.energies - 120 * units.kB * 300.0 * shares), 4 * found.errors)
    limit = 120 * units.kB * 300.0 / np.tanh(1.0)
    assert abs(found.extrapolation.energy - limit) < 4 * found.extrapolation.error + 0.02 * limit
    panel = convergence_panel(found)
    assert set(panel.figures) == {"bead_convergence"}
    assert [row[0] for row in panel.tables[0].rows] == [1, 2, 4, "limit"]
    json.dumps(panel.to_dict(), allow_nan=False)
    again = bead_convergence(Wells(), atoms, tmp_path, config, beads=(1, 2, 4), resume=True)
    np.testing.assert_array_equal(again.energies, found.energies)
    warmer = config.model_copy(update={"temperature": 400.0})
    with pytest.raises(InputError, match="'temperature' is 400"):  # what is over was run with other settings
        bead_convergence(Wells(), atoms, tmp_path, warmer, beads=(1, 2, 4), resume=True)

    energies = path_energies(tmp_path / "beads_004")
    assert energies.observables.times[0] == 100.0  # equilibration is left out
    panel = path_integrals_panel(energies, frequencies=[3000.0, 417.0])
    json.dumps(panel.to_dict(), allow_nan=False)
    checks = {check.name: check for check in panel.checks}
    assert checks["two estimators agree"].passed
    assert checks["temperature"].passed
    assert checks["time step small enough"].passed
    assert checks["enough beads"].passed is False
    assert "beads would bring that below" in panel.reading


def test_convergence_is_not_judged_by_two_numbers(tmp_path):
    with pytest.raises(InputError, match="three numbers"):
        bead_convergence(Wells(), molecule("CH4"), tmp_path, config_of(), beads=(1, 2))
    with pytest.raises(InputError, match="one number of beads"):
        bead_convergence(Wells(), molecule("CH4"), tmp_path, config_of(thermostat="gle", gle="A.xml"))


def test_a_run_keeps_the_matrices_of_its_thermostat(model, tmp_path):
    path = tmp_path / "A.xml"
    path.write_text(GLE)
    config = config_of(thermostat="gle", gle=str(path), duration=0.03)
    run_path_integrals(model, molecule("CH4"), tmp_path / "run", config)
    path.write_text(GLE.replace("8e-3", "9e-3"))
    with pytest.raises(InputError, match="matrices"):
        run_path_integrals(model, molecule("CH4"), tmp_path / "run", config, resume=True)
    path.unlink()
    found = path_energies(tmp_path / "run")
    # In equilibrium at the polymer's temperature the thermostat changes nothing of what three beads lack.
    assert found.lacking(2000.0) == pytest.approx(missing_energy(2000.0, 300.0, 3), rel=1e-4)
    assert "thermostat" in path_integrals_panel(found, frequencies=[2000.0]).reading
