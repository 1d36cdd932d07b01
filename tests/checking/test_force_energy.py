"""Forces against energies: right labels pass, planted faults are named."""

from dataclasses import replace

import numpy as np
import pytest
from emt_frames import clusters, dataset, strained_crystals

from atomlens.checking.force_energy import FORCE_ENERGY, check_force_energy
from atomlens.data.dataset import Dataset
from atomlens.data.units import KCAL_PER_MOL, parse_unit

COUNT, ATOMS = 200, 13


@pytest.fixture(scope="module")
def data():
    return dataset(clusters(COUNT))


def with_labels(data, **labels):
    return replace(data, labels={**data.labels, **labels})


def only(data, **labels):
    found = check_force_energy(with_labels(data, **labels))
    assert len(found) == 1
    return found[0]


def test_right_labels_pass(data):
    found = only(data)
    assert found.status == "ok"
    assert found.facts["slope"] == pytest.approx(1.0, abs=0.03)
    assert found.facts["rank_correlation"] > 0.98
    assert "kcal/mol" in found.sentence
    assert "meV" in found.sentence


def test_right_labels_of_crystals_pass():
    frames = strained_crystals(80, strain=0.0, rattle=0.05)
    found = only(dataset(frames))
    assert found.status == "ok"
    assert found.facts["slope"] == pytest.approx(1.0, abs=0.03)


def test_sign_of_forces(data):
    found = only(data, forces=-data.labels["forces"])
    assert found.status == "fault"
    assert "sign is wrong" in found.sentence
    assert found.facts["slope"] == pytest.approx(-1.0, abs=0.03)


HARTREE, BOHR = parse_unit("Ha")[0], parse_unit("bohr")[0]


@pytest.mark.parametrize(
    ("energy", "forces", "words"),
    [
        (1.0, 1.0 / KCAL_PER_MOL, "energies in eV stand beside forces in kcal/mol/Å"),
        (1.0 / KCAL_PER_MOL, 1.0, "energies in kcal/mol stand beside forces in eV/Å"),
        (1.0, BOHR, "forces are per Bohr"),
        (1.0 / HARTREE, 1.0, "energies in Ha stand beside forces in eV/Å"),
        (1.0, BOHR / HARTREE, "energies in eV stand beside forces in Ha/bohr"),
        (1.0 / ATOMS, 1.0, "per atom (of 13)"),
    ],
)
def test_units_mixed_up(data, energy, forces, words):
    found = only(data, energy=energy * data.labels["energy"], forces=forces * data.labels["forces"])
    assert found.status == "fault"
    assert words in found.sentence


def test_sign_and_unit_at_once(data):
    found = only(data, forces=-data.labels["forces"] / KCAL_PER_MOL)
    assert found.status == "fault"
    assert "sign is wrong" in found.sentence
    assert "kcal/mol/Å" in found.sentence


def test_positions_in_bohr(data):
    found = check_force_energy(replace(data, positions=data.positions / BOHR))[0]
    assert found.status == "fault"
    assert "positions are in Bohr" in found.sentence


@pytest.mark.parametrize("which", ["energy", "forces"])
def test_one_label_shuffled(data, which):
    order = np.random.default_rng(2).permutation(COUNT)
    labels = {
        "energy": data.labels["energy"][order],
        "forces": data.labels["forces"].reshape(COUNT, ATOMS, 3)[order].reshape(-1, 3),
    }
    found = only(data, **{which: labels[which]})
    assert found.status == "fault"
    assert "shuffled" in found.sentence
    assert abs(found.facts["rank_correlation"]) < 0.3


def test_labels_off_by_one(data):
    assert only(data, energy=np.roll(data.labels["energy"], 1)).status == "fault"


def test_part_of_the_labels_shuffled(data):
    random = np.random.default_rng(5)
    energy = data.labels["energy"].copy()
    some = random.permutation(COUNT)[: COUNT // 4]
    energy[some] = energy[random.permutation(some)]
    found = check_force_energy(with_labels(data, energy=energy))[0]
    assert found.status == "warning"
    assert "loosely" in found.sentence


def test_another_level_of_theory():
    """Forces of a surface that is softer in places: as of another functional."""
    frames = clusters(60, size=0.05)
    # A trajectory: each frame is followed by some very near ones.
    random = np.random.default_rng(1)
    for atoms in list(frames):
        for size in (0.002, 0.01):
            near = atoms.copy()
            near.positions += random.normal(scale=size, size=near.positions.shape)
            frames.append(near)
    data = dataset(frames)
    assert only(data).status == "ok"
    other = data.labels["forces"] + random.normal(scale=0.3 * data.labels["forces"].std(), size=(len(data.numbers), 3))
    found = check_force_energy(with_labels(data, forces=other))[0]
    assert found.status == "warning"
    assert "levels of theory" in found.sentence


def test_one_turned_and_one_shifted_frame_are_named(data):
    forces = data.labels["forces"].reshape(COUNT, ATOMS, 3).copy()
    energy = data.labels["energy"].copy()
    forces[17] *= -1.0
    energy[101] += 1.5
    found = check_force_energy(with_labels(data, energy=energy, forces=forces.reshape(-1, 3)))
    assert found[0].status == "ok"
    assert set(found[1].structures.tolist()) == {17, 101}
    assert found[1].status == "fault"
    kinds = {entry["structure"]: entry for entry in found[1].facts["frames"]}
    assert kinds[17]["kind"] == "sign"
    assert kinds[101]["kind"] == "energy"
    assert kinds[101]["size"] == pytest.approx(1.5, rel=0.1)


def test_forces_of_one_frame_in_another_unit(data):
    forces = data.labels["forces"].reshape(COUNT, ATOMS, 3).copy()
    forces[60] /= KCAL_PER_MOL
    found = check_force_energy(with_labels(data, forces=forces.reshape(-1, 3)))
    entry = found[1].facts["frames"][0]
    assert (entry["structure"], entry["kind"]) == (60, "factor")
    assert entry["size"] == pytest.approx(1.0 / KCAL_PER_MOL, rel=0.1)


def test_skipped_where_nothing_can_be_compared():
    far = dataset(clusters(30, size=0.5))
    assert check_force_energy(far)[0].status == "skipped"
    assert "Å apart" in check_force_energy(far)[0].sentence
    single = dataset(clusters(1))
    assert check_force_energy(single)[0].status == "skipped"
    without = Dataset.from_arrays(single.numbers, single.positions, single.n_atoms, {"energy": single.labels["energy"]})
    assert check_force_energy(without) == []


def test_unknown_labels_are_left_out(data):
    energy = data.labels["energy"].copy()
    energy[::2] = np.nan
    found = only(data, energy=energy)
    assert found.status == "ok"
    assert f"{COUNT // 2} frames" in found.sentence


def test_registered_and_drawn(data):
    assert FORCE_ENERGY.run(data)[0].status == "ok"
    figure = only(data).figures["force_energy"]()
    assert "kcal/mol" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize("name", ["ethanol", "uracil"])
def test_real_molecules(shared_data, name):
    archive = np.load(shared_data / "rmd17" / f"{name}.npz")
    positions = archive["positions"][:3000].astype(float)
    count, atoms = positions.shape[:2]

    def status(energy, forces):
        made = Dataset.from_arrays(
            np.tile(archive["numbers"], count),
            positions.reshape(-1, 3),
            np.full(count, atoms),
            {
                "energy": archive[energy][:count] * KCAL_PER_MOL,
                "forces": archive[forces][:count].astype(float).reshape(-1, 3) * KCAL_PER_MOL,
            },
        )
        return check_force_energy(made)[0].status

    assert status("energies", "forces") == "ok"
    assert status("md17_energies", "md17_forces") == "ok"
    assert status("energies", "md17_forces") == "warning"  # PBE against PBE+vdW-TS
