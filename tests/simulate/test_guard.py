"""Every danger that is planted is found, nothing is found where there is none, and a resumed run hears the same."""

import errno
import json

import ase
import ase.io
import numpy as np
import pytest
import torch
from ase import units
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from atomlens.coverage import KEY, Coverage
from atomlens.data.dataset import Dataset
from atomlens.data.readers import read_structures
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.simulate.guard import Guard, GuardConfig
from atomlens.simulate.guard.motion import disagreement, highest_temperature
from atomlens.simulate.skin import search

NUMBERS = np.array([8, 1, 1, 6])
REST = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0], [0.5, 0.5, 2.6]])


def made_model(seed=0):
    torch.manual_seed(seed)
    config = {"representation": {"name": "schnet", "features": 24, "interactions": 2, "cutoff": 4.0}}
    return Model(ModelConfig.parse(config), [1, 6, 8]).set_precision(torch.float64)


def frames(count, seed, spread=0.05):
    positions = REST + spread * np.random.default_rng(seed).normal(size=(count, 4, 3))
    return [ase.Atoms(NUMBERS, entry) for entry in positions]


def dataset(structures):
    sizes = [len(atoms) for atoms in structures]
    join = [np.concatenate([getattr(atoms, name) for atoms in structures]) for name in ("numbers", "positions")]
    return Dataset.from_arrays(*join, np.array(sizes), {})


@pytest.fixture(scope="module")
def model():
    made = made_model()
    made.provenance = {KEY: Coverage.of(made, dataset(frames(600, 0)), dataset(frames(400, 1))).to_dict()}
    return made


@pytest.fixture(scope="module")
def bare():
    return made_model()


def guarded(model, *, timestep=0.5, committee=(), suspects=None, **settings):
    config = GuardConfig.parse({"interval": 1, **settings})
    return Guard(config, model, timestep=timestep, committee=committee, suspects=suspects)


def looked(guard, structures, step=0, **rest):
    structures = [structures] if isinstance(structures, ase.Atoms) else structures
    return guard.look(structures, guard.model.predict(structures), step=step, **rest)


def with_atom(position, atom=1):
    atoms = ase.Atoms(NUMBERS, REST)
    atoms.positions[atom] = position
    return atoms


def kinds(alarms):
    return [alarm.kind for alarm in alarms]


# What is found


def test_squeezed_atoms(model):
    coverage = Coverage.stored(model)
    found = [a for a in looked(guarded(model), with_atom([0.6, 0.0, 0.0]), step=40) if a.kind == "distance"]
    assert len(found) == 1
    assert found[0].atoms == (0, 1)
    assert (found[0].step, found[0].time, found[0].copy) == (40, 20.0, 0)
    assert found[0].value == pytest.approx(0.6)
    assert found[0].limit == pytest.approx(coverage.pair(1, 8) - 0.05)
    assert found[0].sentence.startswith("step 40 (20 fs), copy 0: O 0 and H 1 are 0.600 Å apart, closer than all such")


def test_the_distance_tolerance_decides(model):
    least = Coverage.stored(model).pair(1, 8)
    for off, expected in ((0.04, 0), (0.06, 1)):
        alarms = looked(guarded(model), with_atom([least - off, 0.0, 0.0]))
        assert kinds(alarms).count("distance") == expected


def test_elements_that_never_met(model):
    atoms = ase.Atoms("C3", [[0, 0, 0], [1.45, 0, 0], [3.1, 0, 0]])  # the closest of three pairs is named
    found = [alarm for alarm in looked(guarded(model), atoms) if alarm.kind == "pair"]
    assert [alarm.atoms for alarm in found] == [(0, 1)]
    assert found[0].value == pytest.approx(1.45)
    assert "training had no pair of these elements within 4 Å" in found[0].sentence


def test_a_stretched_bond_is_isolated_and_strange(model):
    alarms = looked(guarded(model), with_atom([2.2, 0.0, 0.0]))
    assert {"isolated", "surroundings"} <= set(kinds(alarms))
    assert {alarm.atoms for alarm in alarms if alarm.kind == "isolated"} == {(1,)}
    assert all(alarm.value > alarm.limit and alarm.severity > 1 for alarm in alarms)


def test_strange_surroundings_without_any_strange_distance(model):
    """The hydrogens change sides against the carbon: every distance occurred, the angles did not."""
    atoms = ase.Atoms(NUMBERS, REST)
    atoms.positions[3] = REST[3] * [-1.0, -1.0, 1.0]
    config = {"distance_tolerance": 1.0}
    alarms = looked(guarded(model, **config), atoms)
    assert kinds(alarms) == ["surroundings"]
    assert kinds(looked(guarded(model, feature_tolerance=1.1 * alarms[0].value, **config), atoms)) == []


def test_an_atom_that_left(model):
    found = [a for a in looked(guarded(model), with_atom([30.0, 0.0, 0.0])) if a.kind == "isolated"]
    assert found[0].value == 4.0
    assert "neighbours out of reach" in found[0].sentence
    json.dumps(found[0].to_dict(), allow_nan=False)


def test_a_hot_frame(model):
    atoms, limit = frames(1, 3)[0], highest_temperature(300.0, 4, GuardConfig())
    assert kinds(looked(guarded(model), atoms, temperature=limit - 1, target=300.0)) == []
    (alarm,) = looked(guarded(model), atoms, temperature=limit + 1, target=300.0)
    assert (alarm.kind, alarm.atoms, alarm.value) == ("temperature", (), limit + 1)


def test_temperatures_of_each_copy(model):
    alarms = looked(guarded(model), frames(3, 3), temperature=[300.0, 9000.0, 300.0], target=300.0)
    assert [(alarm.copy, alarm.kind) for alarm in alarms] == [(1, "temperature")]


@pytest.mark.parametrize("atoms", [2, 4, 20, 2000])
def test_the_highest_temperature_is_that_of_the_canonical_ensemble(atoms):
    config = GuardConfig(temperature_chance=1e-3, temperature_rise=0.0)
    freedom = max(3 * atoms - 6, 1)
    limit = highest_temperature(300.0, atoms, config)
    assert chi2.sf(limit / 300.0 * freedom, freedom) == pytest.approx(1e-3)
    if atoms == 2000:  # of a sharp peak; 3.09 deviations of a normal distribution
        assert limit == pytest.approx(300.0 * (1 + 3.0902 * np.sqrt(2 / freedom)), rel=3e-3)
    assert highest_temperature(300.0, atoms, GuardConfig(temperature_rise=50.0)) == pytest.approx(51 * 300.0)


def test_an_energy_that_drifts(model):
    guard, atoms = guarded(model), frames(1, 3)[0]
    atoms.set_momenta(np.zeros((4, 3)))
    results = model.predict(atoms)
    assert guard.look([atoms], [results], step=0) == ()
    atoms.set_momenta([[np.sqrt(2 * atoms.get_masses()[0] * 0.036), 0, 0], *np.zeros((3, 3))])  # 0.009 eV per atom
    assert atoms.get_kinetic_energy() == pytest.approx(0.036)
    assert guard.look([atoms], [results], step=1) == ()
    (alarm,) = guard.look([atoms], [{**results, "energy": results["energy"] + 0.008}], step=2)
    assert (alarm.kind, alarm.limit) == ("energy", 0.01)
    assert alarm.value == pytest.approx(0.011)
    assert guard.look([atoms], [{**results, "energy": results["energy"] + 9.0}], step=3, target=300.0) == ()


def test_a_committee_that_disagrees(model):
    others = [made_model(seed) for seed in (1, 2)]
    atoms = frames(3, 3)
    forces = np.array([[entry["forces"] for entry in member.predict(atoms)] for member in (model, *others)])
    spread = np.stack([disagreement(forces[:, copy]) for copy in range(3)])
    limit = float(np.sort(spread.max(axis=1))[0] + np.sort(spread.max(axis=1))[1]) / 2
    alarms = looked(guarded(model, committee=others, committee_limit=limit), atoms, target=300.0)
    assert kinds(alarms) == ["committee", "committee"]
    for alarm in alarms:
        assert alarm.value == pytest.approx(spread[alarm.copy].max(), rel=1e-9)
        assert alarm.atoms == (int(spread[alarm.copy].argmax()),)
    same = guarded(model, committee=[made_model()], committee_limit=1e-6)
    assert looked(same, atoms, target=300.0) == ()


def test_disagreement_is_the_deviation_of_forces():
    forces = np.array([[[1.0, 0, 0], [0, 0, 0]], [[-1.0, 0, 0], [0, 0, 6.0]], [[0.0, 0, 0], [0, 0, 0]]])
    np.testing.assert_allclose(disagreement(forces), [np.sqrt(2 / 3), np.std([0, 6, 0])])


def test_a_committee_needs_forces_and_the_elements(model, bare):
    water = Model(bare.config, [1, 8])
    with pytest.raises(InputError, match=r"model 0 of the committee.*C is an element"):
        looked(guarded(model, committee=[water]), frames(1, 0))
    looked(guarded(model, committee=[water]), ase.Atoms("OH", [[0, 0, 0], [0.96, 0, 0]]))
    blind = Model(ModelConfig.parse({"readouts": [{"name": "dipole"}]}), [1, 6, 8])
    with pytest.raises(InputError, match="no forces to compare"):
        guarded(model, committee=[blind])
    with pytest.raises(InputError, match="needs the forces"):
        guarded(model, committee=[bare]).look(frames(1, 0), [{"energy": np.array(0.0)}], step=0)


@pytest.mark.parametrize("what", ["energy", "forces", "positions"])
def test_what_is_not_finite(model, what, tmp_path):
    structures = frames(2, 3)
    results = model.predict(structures)
    if what == "positions":
        structures[1].positions[2, 0] = np.nan
    else:
        results[1] = {**results[1], what: np.full_like(results[1][what], np.nan)}
    guard = guarded(model, suspects=tmp_path / "suspicious.extxyz")
    (alarm,) = guard.look(structures, results, step=0, target=300.0)
    assert (alarm.kind, alarm.copy) == ("broken", 1)
    assert alarm.sentence.endswith(f"the {what} are not finite") or what == "energy"
    assert guard.saved == (what != "positions")


def test_atoms_on_top_of_each_other_do_not_hide_the_other_copies(model):
    guard, clash, squeezed = guarded(model), with_atom([0.1, 0.0, 0.0]), with_atom([0.6, 0.0, 0.0])
    good = frames(1, 3)[0]
    results = model.predict([good, good, squeezed])
    for step in range(2):
        alarms = guard.look([clash, good, squeezed], results, step=step, target=300.0)
        assert {(alarm.copy, alarm.kind) for alarm in alarms} >= {(0, "broken"), (2, "distance")}
        assert all(alarm.copy != 1 for alarm in alarms)
        assert "0.100 Å apart" in alarms[0].sentence


def test_without_a_coverage_distances_are_judged_by_radii_and_that_is_said_once(bare, capsys):
    guard = guarded(bare)
    assert kinds(looked(guard, with_atom([0.55, 0.0, 0.0]), step=0, target=300.0)) == ["distance"]  # of 0.58 Å
    assert kinds(looked(guard, with_atom([0.60, 0.0, 0.0]), step=1, target=300.0)) == []
    assert kinds(looked(guard, with_atom([30.0, 0.0, 0.0]), step=2, target=300.0)) == []
    assert capsys.readouterr().err.count("does not say what it saw in training") == 1
    assert kinds(looked(guard, frames(1, 0)[0], step=3, temperature=9000.0, target=300.0)) == ["temperature"]


# What is not found


def test_frames_like_those_of_training_hardly_ever_raise_one(model):
    """Alarms of 0.4 % of 2000 frames.

    Among the 600 frames of training and one more, each is equally likely to have the shortest distance of a pair of
    elements, of which five meet, or the most lonely atom of an element, of which there are three; and among 400 that
    were held out and one more, the strangest surroundings. Tolerances make alarms rarer than that.
    """
    guard = guarded(model)
    frames_seen, alarmed = 2000, set()
    for step in range(20):
        alarms = looked(guard, frames(100, 100 + step), step=step, temperature=300.0, target=300.0)
        alarmed |= {(step, alarm.copy) for alarm in alarms}
    assert len(alarmed) < frames_seen * ((5 + 3) / 601 + 1 / 401)


def test_motions_and_order_change_nothing(model):
    atoms = frames(4, 5, spread=0.25)
    rotation = Rotation.from_rotvec([0.4, 0.2, -1.3]).as_matrix()
    turned = [ase.Atoms(a.numbers[::-1], (a.positions @ rotation.T + [3.0, -1.0, 2.0])[::-1]) for a in atoms][::-1]
    first = looked(guarded(model), atoms, target=300.0)
    second = looked(guarded(model), turned, target=300.0)
    assert len(first) > 4
    plain = {(a.copy, a.kind, a.atoms, round(a.value, 8)) for a in first}
    assert plain == {(3 - a.copy, a.kind, tuple(sorted(3 - i for i in a.atoms)), round(a.value, 8)) for a in second}


def test_kept_neighbours_are_searched_anew_in_time(model):
    """A hydrogen comes in from beyond the cutoff: the guard that saw the whole way finds what a fresh one finds."""
    guard = guarded(model)
    for step, x in enumerate(np.arange(5.0, 0.5, -0.2)):
        atoms = with_atom([x, 0.0, 0.0])
        kept, fresh = looked(guard, atoms, step, target=300.0), looked(guarded(model), atoms, step, target=300.0)
        assert kinds(kept) == kinds(fresh)
        assert [a.value for a in kept] == pytest.approx([a.value for a in fresh], rel=1e-9)
    assert kinds(kept)[0] == "distance"


# What it does about it


def test_it_looks_at_the_interval_only(model):
    guard, bad = guarded(model, interval=10), with_atom([0.6, 0.0, 0.0])
    steps = [step for step in range(0, 40, 4) if looked(guard, bad, step)]
    assert steps == [0, 12, 24, 36]
    assert guard.counts["distance"] == 4


def test_an_alarm_stops_the_run_if_it_shall(model):
    for action in ("warn", "stop"):
        guard = guarded(model, action=action)
        looked(guard, frames(1, 3))
        assert not guard.stopped
        looked(guard, with_atom([0.6, 0.0, 0.0]), step=1)
        assert guard.stopped is (action == "stop")


def test_suspects_are_saved_once_in_a_while_and_can_be_labelled(model, tmp_path, capsys):
    path = tmp_path / "run" / "suspicious.extxyz"
    guard = guarded(model, suspects=path, save_interval=10)
    worse = with_atom([0.5, 0.0, 0.0])
    worse.info["charge"] = 0.0
    for step in range(25):
        assert len(looked(guard, [with_atom([0.6, 0.0, 0.0]), worse], step)) >= 2
    saved = ase.io.read(path, ":")
    distances = [frame for frame in saved if frame.info["kind"] == "distance"]
    assert [frame.info["step"] for frame in distances] == [0, 10, 20]
    assert guard.saved == len(saved)
    assert len(capsys.readouterr().err.splitlines()) == len(saved)  # what is said is what is saved
    for frame in distances:
        np.testing.assert_allclose(frame.positions, worse.positions, atol=1e-8)  # the worst of the copies
        assert frame.info["copy"] == 1
        assert frame.info["value"] == pytest.approx(0.5)
        assert frame.arrays["suspicious"].tolist() == [1, 1, 0, 0]
        assert frame.calc is None  # energies of the doubted model must not be learned
        assert not {"energy", "forces"} & {*frame.info, *frame.arrays}
    assert [system.formula for system in read_structures(path)] == ["CH2O"] * len(saved)


def test_no_more_than_the_most_are_saved(model, tmp_path):
    guard = guarded(model, suspects=tmp_path / "s.extxyz", save_interval=1, most_saved=5)
    for step in range(9):
        looked(guard, with_atom([0.6, 0.0, 0.0]), step)
    assert len(ase.io.read(tmp_path / "s.extxyz", ":")) == guard.saved == 5


def test_a_file_that_is_taken_away_for_labelling_is_begun_anew(model, tmp_path):
    path = tmp_path / "s.extxyz"
    guard = guarded(model, suspects=path, save_interval=1)
    looked(guard, with_atom([0.6, 0.0, 0.0]), 0)
    path.rename(tmp_path / "taken.extxyz")
    looked(guard, with_atom([0.6, 0.0, 0.0]), 1)
    assert {frame.info["step"] for frame in ase.io.read(path, ":")} == {1}
    assert b"\0" not in path.read_bytes()


def test_a_file_of_another_run_is_refused(model, tmp_path):
    path = tmp_path / "s.extxyz"
    path.write_text("something of value")
    with pytest.raises(InputError, match="structures of another run"):
        looked(guarded(model, suspects=path), frames(1, 3))
    assert path.read_text() == "something of value"


def test_a_full_disk_loses_nothing_of_before(model, tmp_path, monkeypatch):
    path = tmp_path / "s.extxyz"
    guard = guarded(model, suspects=path, save_interval=1)
    looked(guard, with_atom([0.6, 0.0, 0.0]), 0)
    before = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(InputError, match=r"s\.extxyz: .*No space left"):
            looked(guard, with_atom([0.6, 0.0, 0.0]), 1)
    looked(guard, with_atom([0.6, 0.0, 0.0]), 2)
    assert path.read_bytes().startswith(before)
    steps = [frame.info["step"] for frame in ase.io.read(path, ":")]
    assert set(steps) == {0, 2}  # what failed half-way is not there twice


# Going on


def run(guard, steps, model):
    said = []
    for step in steps:
        rng = np.random.default_rng(step)
        structures = [ase.Atoms(NUMBERS, REST + (0.02 + 0.01 * step) * rng.normal(size=(4, 3))) for _ in range(2)]
        for atoms in structures:
            atoms.set_momenta(0.01 * step * rng.normal(size=(4, 3)) * units.fs)
        said += guard.look(structures, model.predict(structures), step=step)
    return said


def test_a_run_that_goes_on_hears_the_same(model, tmp_path):
    whole = guarded(model, suspects=tmp_path / "whole.extxyz", save_interval=4, interval=2)
    expected = run(whole, range(30), model)
    first = guarded(model, suspects=tmp_path / "parts.extxyz", save_interval=4, interval=2)
    begun = run(first, range(13), model)
    state = json.loads(json.dumps(first.state(), allow_nan=False))
    run(first, range(13, 21), model)  # lost in a crash: the checkpoint was before
    second = guarded(model, suspects=tmp_path / "parts.extxyz", save_interval=4, interval=2)
    second.restore(state)
    assert begun + run(second, range(13, 30), model) == expected
    assert {"energy", "surroundings", "distance"} <= set(kinds(expected))
    assert (tmp_path / "parts.extxyz").read_bytes() == (tmp_path / "whole.extxyz").read_bytes()
    assert second.state() == whole.state()


def test_going_on_begins_with_what_the_checkpoint_vouches_for(model, tmp_path, monkeypatch):
    searches = []

    def counted(structures, *rest):
        searches.append(len(structures))
        return search(structures, *rest)

    monkeypatch.setattr("atomlens.simulate.guard.guard.search", counted)
    path = tmp_path / "s.extxyz"
    guard, bad = guarded(model, suspects=path, save_interval=1), with_atom([0.6, 0.0, 0.0])
    looked(guard, bad, 0)
    before = path.read_bytes()
    state = guard.state()
    looked(guard, bad, 1)
    looked(guard, bad, 2)
    assert searches == [1, 1]  # a run that goes on has no neighbours yet, so the run itself keeps none either
    guarded(model, suspects=path).restore(state)
    assert path.read_bytes() == before


def test_a_checkpoint_from_before_the_first_look(model, tmp_path):
    guard, path = guarded(model, suspects=tmp_path / "s.extxyz"), tmp_path / "s.extxyz"
    state = guard.state()
    looked(guard, with_atom([0.6, 0.0, 0.0]), 0)
    expected = path.read_bytes()
    again = guarded(model, suspects=path)
    again.restore(state)
    looked(again, with_atom([0.6, 0.0, 0.0]), 0)
    assert path.read_bytes() == expected


def test_a_file_taken_away_for_labelling_is_begun_anew(model, tmp_path):
    path = tmp_path / "s.extxyz"
    guard = guarded(model, suspects=path, save_interval=1)
    looked(guard, with_atom([0.6, 0.0, 0.0]), 0)
    again = guarded(model, suspects=path, save_interval=1)
    again.restore(guard.state())
    path.unlink()
    third = guarded(model, suspects=path, save_interval=1)
    third.restore(guard.state())
    looked(third, with_atom([0.6, 0.0, 0.0]), 1)
    assert {frame.info["step"] for frame in ase.io.read(path, ":")} == {1}


@pytest.mark.parametrize("state", [{}, {"last_look": 3}, None])
def test_a_damaged_state_is_refused(model, state):
    with pytest.raises(InputError, match="state of the guard is damaged"):
        guarded(model).restore(state)


def test_copies_may_not_come_and_go_at_constant_energy(model):
    guard = guarded(model)
    looked(guard, frames(2, 3))
    with pytest.raises(InputError, match="watches 2 copies, not 1"):
        looked(guard, frames(1, 3), step=1)
