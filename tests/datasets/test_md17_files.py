"""MD17, rMD17 and the coupled-cluster frames: official layouts by hand-written numbers, and the repacked archives."""

import csv
import io
import tarfile
import zipfile

import numpy as np
import pytest

from atomlens.data.pieces import concatenate
from atomlens.datasets import ccsd_t, md17, rmd17
from atomlens.datasets.molecule_frames import SGDML, Trajectory, frames
from atomlens.errors import InputError

KCAL = 0.0433641  # eV, of 1 kcal/mol: 4184 J / (6.02214e23 · 1.60218e-19 C)
ETHANOL = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])
NAMED = {entry.card.name: entry for module in (md17, rmd17, ccsd_t) for entry in module.DATASETS}


def shape(frames_count, numbers=ETHANOL, seed=0):
    """Frames of atoms on a grid of 2 Å, each moved a little."""
    grid = np.stack(np.meshgrid(*[np.arange(3)] * 3), axis=-1).reshape(-1, 3)[: len(numbers)] * 2.0
    return grid + 0.1 * np.random.default_rng(seed).normal(size=(frames_count, len(numbers), 3))


def sgdml(count=3, **more):
    forces = np.arange(count * 27, dtype=np.float64).reshape(count, 9, 3)
    energies = -97_000.0 - np.arange(count, dtype=np.float64)[:, None]
    return {"R": shape(count), "z": ETHANOL.astype(np.uint8), "E": energies, "F": forces, "name": "ethanol", **more}


def published(count=3):
    return {
        "nuclear_charges": ETHANOL.astype(np.uint8),
        "coords": shape(count),
        "energies": np.array([-97_000.0, -97_001.0, -97_002.0])[:count],
        "forces": np.ones((count, 9, 3)),
        "old_indices": np.array([500, 20, 7])[:count],
        "old_energies": np.array([-98_000.0, -98_001.0, -98_002.0])[:count],
        "old_forces": np.full((count, 9, 3), 2.0),
    }


def test_the_layout_of_md17_is_read_in_order_of_time(tmp_path):
    np.savez(tmp_path / "md17_ethanol.npz", **sgdml())
    data = concatenate(NAMED["md17-ethanol"].read((tmp_path,)))
    np.testing.assert_allclose(data.labels["energy"], np.array([-97_000, -97_001, -97_002]) * KCAL, rtol=1e-5)
    np.testing.assert_allclose(data.labels["forces"][9 * 2 + 8], np.array([78, 79, 80]) * KCAL, rtol=1e-5)
    np.testing.assert_array_equal(data.positions.reshape(3, 9, 3), shape(3))
    assert data.columns["frame"].values.tolist() == [0, 1, 2]
    assert not data.pbc.any()
    assert data.metadata["labels"]["energy"] == {"key": "E", "unit": "kcal/mol"}
    assert data.metadata["name"] == "ethanol"


def test_units_that_the_archive_states_are_followed(tmp_path):
    np.savez(tmp_path / "mine.npz", **sgdml(e_unit="eV", r_unit="bohr"))
    data = concatenate(NAMED["md17-ethanol"].read((tmp_path / "mine.npz",)))
    assert data.labels["energy"].tolist() == [-97_000.0, -97_001.0, -97_002.0]
    np.testing.assert_allclose(data.positions.reshape(3, 9, 3), shape(3) * 0.529177, rtol=1e-6)
    np.testing.assert_allclose(data.labels["forces"][26], np.array([78, 79, 80]) / 0.529177, rtol=1e-6)


def test_pieces_are_bounded_and_know_their_places(tmp_path):
    np.savez(tmp_path / "a.npz", **sgdml(7))
    wanted = Trajectory("ethanol", "C2H6O", (SGDML,), rows_in_time=True)
    pieces = list(frames(tmp_path / "a.npz", wanted, size=3))
    assert [len(piece) for piece in pieces] == [3, 3, 1]
    assert pieces[1].origin.places.tolist() == pieces[1].columns["frame"].values.tolist() == [3, 4, 5]
    whole = concatenate(frames(tmp_path / "a.npz", wanted))
    assert concatenate(pieces).hash == whole.hash


def test_the_published_archive_gives_the_revised_labels_with_the_old_as_columns(tmp_path):
    np.savez(tmp_path / "rmd17_ethanol.npz", **published())
    data = concatenate(NAMED["rmd17-ethanol"].read((tmp_path / "rmd17_ethanol.npz",)))
    np.testing.assert_allclose(data.labels["energy"], np.array([-97_000, -97_001, -97_002]) * KCAL, rtol=1e-5)
    np.testing.assert_allclose(data.labels["forces"], KCAL, rtol=1e-5)
    assert data.columns["frame"].values.tolist() == [500, 20, 7]
    assert data.columns["md17_energies"].values.tolist() == [-98_000.0, -98_001.0, -98_002.0]
    assert (data.columns["md17_energies"].unit, data.columns["md17_forces"].unit) == ("kcal/mol", "kcal/mol/Ang")
    assert (data.columns["md17_forces"].values == 2.0).all()
    assert data.columns["md17_forces"].per == "atom"
    old = concatenate(NAMED["md17-ethanol"].read((tmp_path / "rmd17_ethanol.npz",)))
    np.testing.assert_allclose(old.labels["energy"], np.array([-98_000, -98_001, -98_002]) * KCAL, rtol=1e-5)
    assert old.columns["rmd17_energies"].values.tolist() == [-97_000.0, -97_001.0, -97_002.0]
    assert old.columns["frame"].values.tolist() == [500, 20, 7]


def test_the_tar_archive_brings_the_published_splits(tmp_path):
    npz, lists = io.BytesIO(), {"train_01": [2], "test_01": [0, 1], "train_05": [0], "test_05": [99_999, 2]}
    np.savez(npz, **published())
    members = {"rmd17/npz_data/rmd17_ethanol.npz": npz.getvalue(), "rmd17/npz_data/rmd17_benzene.npz": b"other"}
    for name, rows in lists.items():
        members[f"rmd17/splits/index_{name}.csv"] = "".join(f"{row}\n" for row in rows).encode()
    with tarfile.open(tmp_path / "rmd17.tar.bz2", "w:bz2") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    data = concatenate(NAMED["rmd17-ethanol"].read((tmp_path / "rmd17.tar.bz2",)))
    assert data.columns["split_01"].values.tolist() == [2, 2, 1]
    assert data.columns["split_05"].values.tolist() == [1, 0, 2]  # row 99,999 is not there
    assert "1 training, 2 testing" in data.columns["split_01"].meaning
    assert "split_02" not in data.columns


def test_splits_are_not_put_on_a_repacked_archive(tmp_path):
    old = published()
    np.savez(
        tmp_path / "ethanol.npz", numbers=old["nuclear_charges"], positions=old["coords"], energies=old["energies"],
        forces=old["forces"], md17_energies=old["old_energies"], md17_forces=old["old_forces"],
        md17_index=old["old_indices"],
    )  # fmt: skip
    (tmp_path / "splits").mkdir()
    with open(tmp_path / "splits" / "index_train_01.csv", "w", newline="") as file:
        csv.writer(file).writerows([[0], [1]])
    data = concatenate(NAMED["rmd17-ethanol"].read((tmp_path,)))
    assert list(data.columns) == ["frame", "md17_energies", "md17_forces"]


def test_a_list_of_words_is_no_split(tmp_path):
    np.savez(tmp_path / "rmd17_ethanol.npz", **published())
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "index_train_01.csv").write_text("first\n")
    with pytest.raises(InputError, match=r"index_train_01\.csv: is no list of row numbers"):
        list(NAMED["rmd17-ethanol"].read((tmp_path,)))


def test_the_parts_of_the_coupled_cluster_frames_are_told_apart(tmp_path):
    with zipfile.ZipFile(tmp_path / "ethanol_ccsd_t.zip", "w") as archive:
        for part, count in (("test", 2), ("train", 1)):
            content = io.BytesIO()
            np.savez(content, **sgdml(count, theory="ccsd(t)"))
            archive.writestr(f"ethanol_ccsd_t-{part}.npz", content.getvalue())
    data = concatenate(NAMED["ccsd-t-ethanol"].read((tmp_path / "ethanol_ccsd_t.zip",)))
    assert data.columns["subset"].values.tolist() == [1, 2, 2]
    assert "frame" not in data.columns  # the order in time is not published
    np.testing.assert_allclose(data.labels["energy"], np.array([-97_000, -97_000, -97_001]) * KCAL, rtol=1e-5)


def test_levels_of_theory_are_not_mixed_up(tmp_path):
    np.savez(tmp_path / "a.npz", **sgdml(theory="CCSD(T)"))
    with pytest.raises(InputError, match=r"states the level 'CCSD\(T\)'"):
        list(NAMED["md17-ethanol"].read((tmp_path / "a.npz",)))
    np.savez(tmp_path / "b.npz", **sgdml(theory="PBE+TS"))
    with pytest.raises(InputError, match=r"states the level 'PBE\+TS'"):
        list(NAMED["ccsd-t-ethanol"].read((tmp_path / "b.npz",)))


def test_another_molecule_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **sgdml())
    with pytest.raises(InputError, match=r"a\.npz: holds C2H6O, not aspirin \(C9H8O4\)"):
        list(NAMED["md17-aspirin"].read((tmp_path / "a.npz",)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"F": np.zeros((2, 9, 3))}, r"'F' has shape \(2, 9, 3\) where \(3, 9, 3\) is needed"),
        ({"E": np.zeros((3, 2))}, r"'E' has shape \(3, 2\)"),
        ({"R": np.full((3, 9, 3), np.nan)}, "position of this C is not finite"),
        ({"F": np.full((3, 9, 3), np.inf)}, "'forces' is infinite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, change, message):
    np.savez(tmp_path / "a.npz", **{**sgdml(), **change})
    with pytest.raises(InputError, match=message):
        list(NAMED["md17-ethanol"].read((tmp_path / "a.npz",)))


def test_an_archive_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", numbers=ETHANOL, positions=shape(2))
    with pytest.raises(InputError, match=r"is no archive of this data set of ethanol \(it has: numbers, positions"):
        list(NAMED["rmd17-ethanol"].read((tmp_path / "a.npz",)))
    np.savez(tmp_path / "b.npz", numbers=ETHANOL, positions=shape(2), energies=np.zeros(2), forces=np.zeros((2, 9, 3)))
    assert len(concatenate(NAMED["ccsd-t-ethanol"].read((tmp_path / "b.npz",)))) == 2


def test_every_molecule_has_its_card():
    assert len(md17.DATASETS) == 11
    assert len(rmd17.DATASETS) == 10
    for named in NAMED.values():
        assert named.card.citation
        assert named.card.structures > 1000
        assert named.files
        assert named.card.advice
    assert any("1,000" in text for text in NAMED["rmd17-ethanol"].card.advice)
    assert any("rmd17-uracil" in text for text in NAMED["md17-uracil"].card.advice)


@pytest.mark.parametrize("name", ["md17-ethanol", "rmd17-ethanol", "rmd17-azobenzene"])
def test_repacked_archives(shared_data, name):
    data = concatenate(NAMED[name].read((shared_data / "rmd17",)))
    assert len(data) == 8633
    frame = data.columns["frame"].values
    assert (np.diff(frame) > 0).all()
    # Old and revised forces are those of one geometry: they differ by the method, not by the frame.
    other = data.columns["rmd17_forces" if name.startswith("md17") else "md17_forces"].values * KCAL
    forces = data.labels["forces"].ravel()
    assert np.corrcoef(forces, other.ravel())[0, 1] > 0.97
    assert abs(np.corrcoef(forces, np.roll(other, len(data.numbers) // len(data), axis=0).ravel())[0, 1]) < 0.3


def test_net_forces_of_the_original_labels_show_and_vanish_in_the_revised(shared_data):
    def net(name):
        data = concatenate(NAMED[name].read((shared_data / "rmd17",)))
        summed = np.add.reduceat(data.labels["forces"], data.offsets[:-1]) / KCAL
        return np.linalg.norm(summed, axis=1).max()

    assert 0.3 < net("md17-ethanol") < 0.4  # as the card says, kcal/mol/Å
    assert 0.4 < net("md17-naphthalene") < 0.6
    assert net("rmd17-ethanol") < 1e-4
    assert net("md17-uracil") < 1e-4  # projected out, as the card says


def test_repacked_coupled_cluster(shared_data):
    data = concatenate(NAMED["ccsd-t-ethanol"].read((shared_data / "ethanol_ccsdt.npz",)))
    assert len(data) == 1000
    assert not data.columns
    with pytest.raises(InputError, match="is no archive of this data set"):
        list(NAMED["ccsd-t-ethanol"].read((shared_data / "rmd17" / "ethanol.npz",)))
