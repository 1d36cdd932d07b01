"""Stress against strain: exact stresses of EMT pass, planted faults are named."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from emt_frames import dataset, strained_crystals

from atomlens.checking.stress import STRESS, check_stress
from atomlens.checking.stress_readings import READINGS, read_as
from atomlens.data.dataset import Dataset
from atomlens.data.units import parse_unit

COUNT = 80
GPA = parse_unit("GPa")[0]


@pytest.fixture(scope="module")
def data():
    return dataset(strained_crystals(COUNT), ("energy", "forces", "stress"))


def checked(data, stress):
    return check_stress(replace(data, labels={**data.labels, "stress": stress}))


def only(data, stress):
    found = checked(data, stress)
    assert len(found) == 1
    return found[0]


def exchanged(stress, one, other):
    """Two shears in each other's place."""
    made = stress.copy()
    for (a, b), (c, d) in ((one, other), (other, one)):
        made[:, a, b] = made[:, b, a] = stress[:, c, d]
    return made


def test_exact_stress_passes(data):
    found = only(data, data.labels["stress"])
    assert found.status == "ok"
    assert found.facts["slope"] == pytest.approx(1.0, abs=0.02)
    assert found.facts["offset_gpa"] == 0.0


def test_exact_stress_passes_without_forces():
    crystals = dataset(strained_crystals(40, rattle=0.0), ("energy", "stress"))
    assert check_stress(crystals)[0].status == "ok"


def test_sign(data):
    found = only(data, -data.labels["stress"])
    assert found.status == "fault"
    assert "sign is the opposite" in found.sentence


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1.0 / GPA, "in GPa, taken for eV/Å³"),
        (10.0 / GPA, "in kbar, taken for eV/Å³"),
        (10.0, "in kbar, taken for GPa"),
        (0.1, "in GPa, taken for kbar"),
        (1.0 / parse_unit("Ha/bohr^3")[0], "in Ha/bohr³, taken for eV/Å³"),
    ],
)
def test_unit(data, factor, words):
    found = only(data, factor * data.labels["stress"])
    assert found.status == "fault"
    assert words in found.sentence


def test_vasp_sign_and_unit_at_once(data):
    found = only(data, -10.0 / GPA * data.labels["stress"])
    assert found.status == "fault"
    assert "sign is the opposite" in found.sentence
    assert "kbar" in found.sentence


def test_voigt_orders():
    """VASP writes xx yy zz xy yz zx; read as Voigt's yz xz xy, every shear stands in a wrong place."""
    crystals = dataset(strained_crystals(COUNT, seed=3), ("energy", "forces", "stress"))
    stress = crystals.labels["stress"]
    xx, yy, zz = (stress[:, place, place] for place in range(3))
    yz, zx, xy = stress[:, 1, 2], stress[:, 0, 2], stress[:, 0, 1]
    vasp = np.stack([xx, yy, zz, xy, yz, zx], axis=1)
    a, b, c, d, e, f = vasp.T  # taken for xx yy zz yz xz xy
    taken = np.stack([[a, f, e], [f, b, d], [e, d, c]]).transpose(2, 0, 1)
    found = only(crystals, taken)
    assert found.status == "fault"
    assert "yz stands under xz, xz stands under xy, xy stands under yz" in found.sentence


def test_two_shears_exchanged(data):
    found = only(data, exchanged(data.labels["stress"], (0, 2), (1, 2)))
    assert found.status == "fault"
    assert "yz stands under xz, xz stands under yz" in found.sentence


@pytest.mark.parametrize(("factor", "words"), [(2.0, "twice too large"), (0.5, "half of what")])
def test_shears_counted_twice_or_halved(data, factor, words):
    stress = data.labels["stress"] * np.where(np.eye(3) == 1, 1.0, factor)
    found = only(data, stress)
    assert found.status == "fault"
    assert words in found.sentence


def test_virial(data):
    volume = np.abs(np.linalg.det(data.cell))
    found = only(data, data.labels["stress"] * volume[:, None, None])
    assert found.status == "fault"
    assert "not divided by the volume" in found.sentence


def test_pulay_stress():
    small = dataset(strained_crystals(COUNT, strain=0.005, rattle=0.005), ("energy", "forces", "stress"))
    found = only(small, small.labels["stress"] + 2.5 * GPA * np.eye(3))
    assert found.status == "warning"
    assert "Pulay" in found.sentence
    assert found.facts["offset_gpa"] == pytest.approx(-2.5, abs=0.15)


def test_shuffled(data):
    order = np.random.default_rng(0).permutation(COUNT)
    assert only(data, data.labels["stress"][order]).status == "fault"


def test_wrong_rows_are_named(data):
    stress = data.labels["stress"].copy()
    large = np.argsort(-np.abs(stress).max(axis=(1, 2)))
    turned, scaled = int(large[0]), int(large[1])
    stress[turned] *= -1.0
    stress[scaled] *= 10.0
    found = checked(data, stress)
    assert found[0].status == "ok"
    assert found[1].status == "warning"
    assert set(found[1].structures.tolist()) == {turned, scaled}
    kinds = {structure: words for words, rows in found[1].facts["structures"].items() for structure in rows}
    assert "sign is the opposite" in kinds[turned]
    assert "kbar, taken for GPa" in kinds[scaled]


def test_skipped_without_strain():
    made = dataset(strained_crystals(10, strain=0.0), ("energy", "forces", "stress"))
    assert check_stress(made)[0].status == "skipped"
    assert check_stress(replace(made, labels={"energy": made.labels["energy"]})) == []


def test_readings_are_all_different():
    stress = np.random.default_rng(1).normal(size=(1, 3, 3))
    stress = stress + stress.transpose(0, 2, 1)
    cell = 2.0 * np.eye(3)[None]
    read = [read_as(reading, stress, cell) for reading in READINGS]
    assert read[0] == pytest.approx(stress)
    assert all(not np.allclose(a, b) for place, a in enumerate(read) for b in read[place + 1 :])
    assert all(np.allclose(found, found.transpose(0, 2, 1)) for found in read)


def test_drawn(data):
    figure = STRESS.run(data)[0].figures["stress"]()
    assert "by the stress" in figure.axes[0].get_xlabel()


@cache
def mlearn(folder, number):
    """Crystals of one element; the file's six components are taken in VASP's order and turned to our sign."""
    archive = np.load(folder / "mlearn.npz")
    starts = np.cumsum(archive["n_atoms"]) - archive["n_atoms"]
    xx, yy, zz, xy, yz, zx = archive["virial_stress_kbar"].T
    stress = -0.1 * GPA * np.stack([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]]).transpose(2, 0, 1)
    made = Dataset.from_arrays(
        archive["numbers"],
        archive["positions"],
        archive["n_atoms"],
        {"energy": archive["energy"], "forces": archive["forces"], "stress": stress},
        cell=archive["cell"],
        pbc=np.ones((len(starts), 3), dtype=bool),
    )
    return made.subset(archive["numbers"][starts] == number)


@pytest.mark.parametrize("number", [14, 32])
def test_mlearn_silicon_and_germanium_follow_their_stress(shared_data, number):
    found = check_stress(mlearn(shared_data, number))
    assert [outcome.status for outcome in found] == ["ok"]


@pytest.mark.parametrize(("number", "offset"), [(28, -2.5), (29, -2.2), (42, 0.0)])
def test_mlearn_metals_have_other_shears_and_pulay_stress(shared_data, number, offset):
    """The rows of Ni, Cu and Mo are in the order xx yy zz xy xz yz, and those of Ni and Cu lack 25 and 22 kbar."""
    found = check_stress(mlearn(shared_data, number))
    assert found[0].status == "fault"
    assert "yz stands under xz, xz stands under yz" in found[0].sentence
    assert found[0].facts["offset_gpa"] == pytest.approx(offset, abs=0.2)


def test_mlearn_lithium_shears_do_not_fit(shared_data):
    data = mlearn(shared_data, 3)
    fine, wrong = check_stress(data)
    assert fine.status == "ok"
    assert "not sheared" in fine.sentence
    sheared = np.abs(data.labels["stress"][:, [0, 0, 1], [1, 2, 2]]).max(axis=1) > 1e-5
    assert sheared[wrong.structures].all()
    assert len(wrong.structures) == 11
