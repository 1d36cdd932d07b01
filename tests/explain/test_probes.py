"""Probes against formulas written out atom by atom, and in every way in which they can be had."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from probes_by_hand import PERIODIC, REPRESENTATIONS, gain_by_hand, make_model

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.explain.probes import surroundings
from atomlens.explain.probes.probe_comparison import by_the_whole_network
from atomlens.explain.probes.probes import BYTES_AT_ONCE, Probing
from atomlens.model import Model, ModelConfig

# Of Ω's size. Filters come from tables that are good to 1e-6 (SchNet) and 1e-7 (DTNN) of their range.
TABLES = {"schnet": 1e-5, "schnet, mean": 1e-5, "dtnn": 1e-6, "dtnn, cutoff": 1e-6, "wacsf": 1e-12}


def carbide():
    made = bulk("CO", "zincblende", a=3.9)  # smaller than the cutoffs: atoms have images of their own near them
    made.rattle(0.05, seed=2)
    return made


STRUCTURES = {"molecule": molecule("CH3OH"), "crystal": carbide()}
CASES = [
    (kind, name) for kind in REPRESENTATIONS for name in STRUCTURES if name == "molecule" or kind in PERIODIC
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_equal_one_way_messages_by_hand(kind, name):
    model, system = make_model(kind), AtomicSystem.from_ase(STRUCTURES[name])
    points = system.positions[0] + np.array([[0.9, -0.7, 0.4], [-1.6, 0.3, 1.1]])
    reach = 0 if name == "molecule" else 3
    expected = np.array([gain_by_hand(model, system, point, 8, reach) for point in points])
    assert np.abs(expected).min() > 1e-3
    exact = copy.deepcopy(model).set_exact_filters()
    found, _ = Probing.of(exact, system).energies(points, ["O"])
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)
    found, _ = Probing.of(model, system).energies(points, ["O"])
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=TABLES[kind] * np.abs(expected).max())


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_equal_the_whole_network_on_a_turned_copy(kind, name):
    probing = Probing.of(make_model(kind), STRUCTURES[name])
    points = np.random.default_rng(0).uniform(-3, 3, (60, 3))
    found, nearest = probing.energies(points, ["C"])
    clear = np.flatnonzero(nearest > 0.3)[:5]
    expected = by_the_whole_network(probing, points[clear], "C", seed=3)
    limit = max(TABLES[kind], 1e-9) * np.abs(expected).max()
    np.testing.assert_allclose(found[0, clear], expected, rtol=0, atol=limit)


@pytest.mark.parametrize("kind", REPRESENTATIONS)
def test_probes_at_once_are_what_each_is_alone(kind):
    probing = Probing.of(make_model(kind), molecule("CH3OH"))
    points = np.random.default_rng(0).uniform(-3, 3, (20, 3))
    together, nearest = probing.energies(points, ["H", "C", "O"])
    for row, probe in enumerate("HCO"):
        np.testing.assert_array_equal(probing.energies(points, [probe])[0][0], together[row])
    assert np.ptp(together, axis=0).max() > 1e-3
    distances = np.linalg.norm(points[:, None] - molecule("CH3OH").positions, axis=2)
    np.testing.assert_allclose(nearest, distances.min(axis=1), rtol=1e-14)


@pytest.mark.parametrize("kind", ["schnet", "schnet, mean", "dtnn, cutoff", "wacsf"])
@pytest.mark.parametrize("exact", [False, True])
def test_far_away_a_probe_is_the_isolated_atom(kind, exact):
    model = make_model(kind)
    probing = Probing.of(model.set_exact_filters(exact), molecule("CH4"))
    isolated, words = probing.isolated("O", "nothing")
    alone = float(model.predict(Atoms("O"), forces=False)["energy"])
    assert isolated == pytest.approx(alone, rel=1e-12)
    assert words == "nothing"
    far, near = probing.energies(np.array([[50.0, 0, 0], [1.5, 0, 0]]), ["O"])[0][0]
    assert abs(far) < 1e-11 * abs(isolated)  # what rounding leaves of -2040 eV
    assert abs(near) > 1e-3


def test_without_a_cutoff_a_probe_far_away_still_hears():
    far = np.array([[100.0, 0, 0], [200.0, 0, 0]])
    values, _ = Probing.of(make_model("dtnn"), molecule("CH4")).energies(far, ["H"])
    assert values[0, 0] == pytest.approx(values[0, 1], abs=1e-10)
    assert abs(values[0, 0]) > 1e-3


@pytest.mark.parametrize("kind", REPRESENTATIONS)
@pytest.mark.parametrize("exact", [False, True])
def test_chunks_change_nothing(kind, exact, monkeypatch):
    model = make_model(kind).set_exact_filters(exact)
    points = np.random.default_rng(0).uniform(-3, 3, (50, 3))
    whole, nearest = Probing.of(model, molecule("CH4")).energies(points, ["H", "C"])
    monkeypatch.setattr(surroundings, "POINTS_AT_ONCE", 7)
    parts, again = Probing.of(model, molecule("CH4")).energies(points, ["H", "C"], title="t")
    np.testing.assert_allclose(parts, whole, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(again, nearest)


def test_faded_atoms_are_heard_as_much_less():
    """Weights reach the probes of every representation as they reach atoms."""
    for kind in REPRESENTATIONS:
        model = make_model(kind)
        batch = model.collate([molecule("CH4")])
        weight = torch.tensor([1.0, 0.0, 0.5, 1.0, 1.0], dtype=torch.float64)
        faded = copy.copy(batch.__dict__) | {"weight": weight}
        probing = Probing.of(model, molecule("CH4"))
        with torch.no_grad():
            listener = model.representation.listener(type(batch)(**{k: v for k, v in faded.items() if k[0] != "_"}))
            near = probing.around.near(np.array([[0.9, 0.8, 0.1]]))
            pairs = probing._pairs(near)
            whole = listener(pairs)
            # An atom of weight zero may as well not be among the pairs.
            kept = pairs.atom != 1
            fewer = type(pairs)(1, pairs.probe[kept], pairs.atom[kept], pairs.vectors[kept])
            torch.testing.assert_close(listener(fewer), whole, rtol=1e-9, atol=1e-12)
            full = model.representation.listener(batch)(pairs)
        assert (whole - full).abs().max() > 1e-3 * full.abs().max()


def test_formation_energies_have_probes_too():
    torch.manual_seed(0)
    readout = {"name": "intensive", "property": "formation_energy"}
    model = Model(ModelConfig.parse({"readouts": [readout]}), [6, 8]).set_precision(torch.float64)
    model.readouts["formation_energy"].offsets[6] = 3.0
    probing = Probing.of(model, bulk("C"))
    found, _ = probing.energies(np.array([[0.9, 0.9, 0.0]]), ["C"])
    assert found[0, 0] == pytest.approx(by_the_whole_network(probing, np.array([[0.9, 0.9, 0.0]]), "C")[0], abs=1e-4)
    whole, plain = probing.isolated("C", "nothing")[0], probing.isolated("C")
    assert whole - plain[0] == pytest.approx(3.0)
    assert plain[1] == "references"
    with pytest.raises(InputError, match="know no free atoms"):
        probing.isolated("C", "free atoms")


def test_a_model_without_energies_is_refused():
    torch.manual_seed(0)
    model = Model(ModelConfig.parse({"readouts": [{"name": "intensive", "property": "homo"}]}), [1, 6])
    with pytest.raises(InputError, match="predicts no energies"):
        Probing.of(model, molecule("CH4"))


@pytest.mark.parametrize(
    ("probe", "words"),
    [
        ("N", "N is an element that the model never saw"),
        ("Hy", "Hy is an element that the model never saw; choose one of H, C, O"),
    ],
)
def test_unknown_probes_are_refused(probe, words):
    with pytest.raises(InputError, match=words):
        Probing.of(make_model(), molecule("H2O")).energies(np.zeros((1, 3)), [probe])


@pytest.mark.parametrize(("kind", "exact", "structure"), [
    ("schnet", False, bulk("C", cubic=True).repeat((3, 3, 3))),  # 216 atoms
    ("wacsf", False, bulk("C", cubic=True).repeat((3, 3, 3))),
    ("dtnn", False, molecule("C60")),
    ("dtnn", True, molecule("C60")),
])  # fmt: skip
def test_memory_of_any_grid_is_bounded(kind, exact, structure):
    """What torch has in use at once, by its own accounts, and that more points do not need more."""
    sizes = {"features": 64} if kind == "schnet" else {}
    probing = Probing.of(make_model(kind, **sizes).set_exact_filters(exact), structure)
    random, counts = np.random.default_rng(0), (1_000, 2_000) if exact else (6_000, 12_000)
    peaks = [peak_of(probing, random.uniform(0.0, 8.0, (count, 3))) for count in counts]
    assert BYTES_AT_ONCE / 100 < max(peaks) < BYTES_AT_ONCE
    assert peaks[1] < 1.2 * peaks[0]


def peak_of(probing, points):
    probing.energies(points[:10], ["H"])
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        probing.energies(points, ["H"])
    alive = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            alive += event.nbytes()
            peak = max(peak, alive)
    return peak
