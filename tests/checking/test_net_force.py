"""Net forces and torques: noise, rounding, and forces beside the wrong atoms."""

from dataclasses import replace

import numpy as np
import pytest
from emt_frames import clusters, dataset, ethanols, strained_crystals

from atomlens.checking.net_force import NET_FORCE, check_net_force, net_sums, rounding_step
from atomlens.data.dataset import Dataset
from atomlens.data.units import KCAL_PER_MOL, parse_unit

COUNT, ATOMS = 60, 9


@pytest.fixture(scope="module")
def data():
    return dataset(ethanols(COUNT))


def with_forces(data, forces):
    return replace(data, labels={**data.labels, "forces": forces.reshape(-1, 3)})


def forces_of(data):
    return data.labels["forces"].reshape(COUNT, ATOMS, 3).copy()


def only(data, forces):
    found = check_net_force(with_forces(data, forces))
    assert len(found) == 1
    return found[0]


def test_a_potential_exerts_none(data):
    found = only(data, forces_of(data))
    assert found.status == "ok"
    assert found.facts["net_force_rms_ev_ang"] < 1e-10
    assert found.facts["net_torque_rms_ev"] < 1e-10


def test_single_precision_is_no_noise(data):
    assert only(data, forces_of(data).astype(np.float32).astype(float)).status == "ok"


def test_net_force_and_torque_by_hand():
    """Two atoms 2 Å apart: opposite forces across turn them, equal ones push."""
    made = Dataset.from_arrays(
        np.array([1, 1, 1, 1]),
        np.array([[0.0, 0, 0], [2.0, 0, 0], [0.0, 0, 0], [2.0, 0, 0]]),
        np.array([2, 2]),
        {"forces": np.array([[0.0, 1, 0], [0.0, -1, 0], [0.0, 3, 0], [0.0, 3, 0]])},
    )
    sums = net_sums(made)
    assert sums.force == pytest.approx([0.0, 6.0])
    assert sums.torque == pytest.approx([2.0, 0.0])
    assert sums.size == pytest.approx(np.sqrt((1 + 1 + 9 + 9) / 4))


@pytest.mark.parametrize(("noise", "status"), [(2e-5, "ok"), (2e-4, "note"), (3e-3, "warning"), (0.5, "fault")])
def test_noise_is_measured(data, noise, status):
    random = np.random.default_rng(0)
    forces = forces_of(data)
    size = np.sqrt((forces**2).sum(axis=2).mean())
    noisy = forces + random.normal(scale=noise * size / np.sqrt(3.0), size=forces.shape)
    found = only(data, noisy)
    assert found.status == status
    if status == "warning":
        assert found.facts["relative_error"] == pytest.approx(noise, rel=0.4)
        assert "kcal/mol/Å" in found.sentence


def test_rounded_forces_are_no_noise(data):
    step = KCAL_PER_MOL
    found = only(data, np.round(forces_of(data) / step) * step)
    assert found.status == "note"
    assert "steps of 1 kcal/mol/Å" in found.sentence


@pytest.mark.parametrize(("unit", "digits"), [("eV/Ang", 3), ("kcal/mol/Ang", 2), ("Ha/bohr", 4)])
def test_step_of_rounding(data, unit, digits):
    step = 10.0**-digits * parse_unit(unit)[0]
    rounded = with_forces(data, np.round(forces_of(data) / step) * step)
    assert rounding_step(rounded) == pytest.approx(step)
    assert rounding_step(data) == 0.0


def test_a_wrong_force_on_one_atom_is_named(data):
    forces = forces_of(data)
    forces[33, 4] += [0.0, 0.0, 2.0]
    found = only(data, forces)
    assert found.status == "fault"
    assert found.structures.tolist() == [33]


def test_two_rows_exchanged_in_one_frame(data):
    forces = forces_of(data)
    forces[12, [1, 5]] = forces[12, [5, 1]]
    found = only(data, forces)
    assert found.status == "fault"
    assert found.structures.tolist() == [12]
    assert "atoms 1 (C) and 5 (H) are exchanged in structure 12" in found.sentence


def test_two_rows_exchanged_in_all_frames(data):
    forces = forces_of(data)
    forces[:, [0, 7]] = forces[:, [7, 0]]
    found = only(data, forces)
    assert found.status == "fault"
    assert "atoms 0 (C) and 7 (H) are exchanged in all of them" in found.sentence


def test_any_order_of_rows_is_found(data):
    order = np.random.default_rng(7).permutation(ATOMS)
    found = only(data, forces_of(data)[:, order])
    assert found.status == "fault"
    assert found.facts["order"] == order.tolist()


def test_forces_of_other_frames(data):
    order = np.random.default_rng(8).permutation(COUNT)
    found = only(data, forces_of(data)[order])
    assert found.status == "fault"
    assert "other structures" in found.sentence


def test_crystals_have_no_torque():
    crystals = dataset(strained_crystals(20))
    found = check_net_force(crystals)[0]
    assert found.status == "ok"
    assert found.facts["net_torque_rms_ev"] is None
    assert "torque" not in found.sentence
    pushed = with_forces(crystals, crystals.labels["forces"] + [0.1, 0.0, 0.0])
    assert check_net_force(pushed)[0].status == "fault"


def test_no_forces():
    made = dataset(clusters(3))
    zero = with_forces(made, np.zeros_like(made.labels["forces"]))
    assert "zero" in check_net_force(zero)[0].sentence
    unknown = with_forces(made, np.full_like(made.labels["forces"], np.nan))
    assert check_net_force(unknown)[0].status == "skipped"
    assert check_net_force(replace(made, labels={"energy": made.labels["energy"]})) == []


def test_drawn(data):
    figure = NET_FORCE.run(data)[0].figures["net_force"]()
    assert [axes.get_xlabel() for axes in figure.axes] == ["net force (kcal/mol/Å)", "net torque (kcal/mol)"]


@pytest.mark.parametrize(
    ("name", "revised", "original"),
    [("ethanol", "ok", "warning"), ("naphthalene", "ok", "warning"), ("aspirin", "ok", "ok")],
)
def test_md17(shared_data, name, revised, original):
    """The original labels of ethanol and naphthalene have net forces of 0.13 and 0.18 kcal/mol/Å, the revised none."""
    archive = np.load(shared_data / "rmd17" / f"{name}.npz")
    count, atoms = archive["positions"].shape[:2]
    for key, status in (("forces", revised), ("md17_forces", original)):
        made = Dataset.from_arrays(
            np.tile(archive["numbers"], count),
            archive["positions"].astype(float).reshape(-1, 3),
            np.full(count, atoms),
            {"forces": archive[key].astype(float).reshape(-1, 3) * KCAL_PER_MOL},
        )
        found = check_net_force(made)
        assert [outcome.status for outcome in found] == [status]
        if status == "warning":
            expected = {"ethanol": 0.134, "naphthalene": 0.184}[name]
            assert found[0].facts["net_force_rms_ev_ang"] / KCAL_PER_MOL == pytest.approx(expected, abs=2e-3)
