"""Files piece by piece: the same data as at once, in memory that does not grow with the file."""

import bz2
import gzip
import hashlib
import json
import subprocess
import sys
import zipfile
from contextlib import closing
from dataclasses import replace

import ase.db
import ase.io
import numpy as np
import pytest
from ase.build import molecule
from everything import assert_same, full_dataset
from reading import WATER, labelled, labels

from atomlens.data.dataset import Column
from atomlens.data.pieces import concatenate
from atomlens.data.readers import count_structures, import_dataset, read_dataset, stream_dataset
from atomlens.data.readers.archive_entries import Entries
from atomlens.data.store import read_header
from atomlens.data.writers import write_dataset
from atomlens.errors import InputError

NAMES = ["a.npz", "a.xyz", "a.db", "a.json", "a.store"]


@pytest.fixture(params=[*NAMES, "frames.npz", "a.xyz.gz", "a.extxyz.bz2", "a.traj"])
def file(request, tmp_path):
    """A file of each format, in its own folder."""
    folder, name = tmp_path / "files", request.param
    folder.mkdir()
    if name == "frames.npz":
        write_frames(folder / name)
    elif name.endswith((".gz", ".bz2")):
        write_dataset(full_dataset(), folder / "plain.xyz")
        packed = (gzip if name.endswith("gz") else bz2).compress((folder / "plain.xyz").read_bytes())
        (folder / name).write_bytes(packed)
    elif name == "a.traj":
        forces = np.random.default_rng(0).normal(size=(7, 3, 3))
        ase.io.write(
            folder / name, [labelled(molecule("H2O"), energy=float(e), forces=f) for e, f in enumerate(forces)]
        )
    else:
        write_dataset(full_dataset(), folder / name)
    return folder / name


def write_frames(path, **more):
    rng = np.random.default_rng(3)
    arrays = {
        "numbers": np.array([8, 1, 1]),
        "positions": rng.normal(size=(7, 3, 3)).astype(np.float32),
        "energy": rng.normal(size=(7, 1)),
        "forces": np.asfortranarray(rng.normal(size=(7, 3, 3))),
        "md17_index": np.arange(7, dtype=np.int32),
        "old_forces": rng.normal(size=(7, 3, 3)),
        "masses": np.ones(3),
        "dipole": rng.normal(size=(7, 3)),
        "cell": 9.0 * np.eye(3),
        "units": np.array('{"energy": "kcal/mol", "forces": "kcal/mol/Ang", "old_forces": "Ha/bohr"}'),
    }
    np.savez_compressed(path, **{**arrays, **more})


@pytest.mark.parametrize("size", [1, 3, 10])
def test_pieces_are_the_whole(file, size):
    whole = read_dataset(file)
    pieces = list(stream_dataset(file, pieces_of=size))
    assert [len(piece) for piece in pieces] == [min(size, 7 - start) for start in range(0, 7, size)]
    found = concatenate(pieces)
    assert found.hash == whole.hash
    assert_same(found, whole)
    assert found.metadata == whole.metadata
    assert found.origin.unread == whole.origin.unread


def test_an_import_is_the_whole(file, tmp_path):
    whole = read_dataset(file)
    found = import_dataset(file, tmp_path / "store")
    assert found.hash == whole.hash == read_header(tmp_path / "store")["hash"]
    assert_same(found, whole)
    assert found.metadata == whole.metadata


def test_an_import_says_what_was_imported(tmp_path):
    write_frames(tmp_path / "a.npz")
    import_dataset(tmp_path / "a.npz", tmp_path / "b")
    provenance = read_header(tmp_path / "b")["provenance"]
    assert provenance["source"] == "a.npz"
    assert provenance["reader"] == "archive"
    assert provenance["sha256"] == hashlib.sha256((tmp_path / "a.npz").read_bytes()).hexdigest()
    import_dataset(tmp_path / "b", tmp_path / "c")
    assert read_header(tmp_path / "c")["provenance"]["store_hash"] == read_header(tmp_path / "b")["hash"]


def test_numbers_that_label_nothing_are_columns(tmp_path):
    write_frames(tmp_path / "a.npz", note=np.array(["x"] * 7))
    data = read_dataset(tmp_path / "a.npz", labels("energy:kcal/mol"))
    kinds = {key: (column.per, column.unit, column.values.dtype.kind) for key, column in data.columns.items()}
    assert kinds == {
        "forces": ("atom", "kcal/mol/Ang", "f"),
        "md17_index": ("system", None, "i"),
        "old_forces": ("atom", "Ha/bohr", "f"),
        "dipole": ("system", None, "f"),  # three numbers per frame of three atoms: the name tells
    }
    assert data.columns["old_forces"].values.shape == (21, 3)
    assert data.origin.unread == ("forces", "md17_index", "old_forces", "masses", "dipole")


def test_a_label_may_be_chosen_after_the_import(tmp_path):
    write_frames(tmp_path / "a.npz")
    import_dataset(tmp_path / "a.npz", tmp_path / "b")
    for source in ("forces=old_forces", "dipole:D", "charges=md17_index:e"):
        wanted = labels(source)
        if source.startswith("charges"):
            for name in ("a.npz", "b"):
                with pytest.raises(InputError, match=r"the label 'charges' \(key 'md17_index'\) has shape \(7,\)"):
                    read_dataset(tmp_path / name, wanted)
        else:
            (name,) = wanted
            first, later = read_dataset(tmp_path / "a.npz", wanted), read_dataset(tmp_path / "b", wanted)
            np.testing.assert_array_equal(first.labels[name], later.labels[name])


def test_columns_of_extended_xyz(tmp_path):
    frames = [f"3\nE_pbe={energy} step={step} tag=x\n{WATER}" for step, energy in enumerate(["-1", "-2.5"])]
    with_site = f"3\nProperties=species:S:1:pos:R:3:site:I:1 step=9\n{WATER}".replace(" 0\n", " 0 4\n")
    (tmp_path / "a.xyz").write_text("".join([*frames, with_site]))
    data = read_dataset(tmp_path / "a.xyz")
    assert data.columns["step"].values.tolist() == [0, 1, 9]
    assert data.columns["step"].values.dtype == np.int64
    np.testing.assert_array_equal(data.columns["E_pbe"].values, [-1, -2.5, np.nan])
    assert data.columns["site"].per == "atom"
    np.testing.assert_array_equal(data.columns["site"].values, [*[np.nan] * 6, 4, 4, 4])
    assert set(data.columns) == {"step", "E_pbe", "site"}
    assert_same(concatenate(stream_dataset(tmp_path / "a.xyz", pieces_of=1)), data)


def test_a_column_that_changes_its_shape_is_unknown_there(tmp_path):
    frames = [f'3\nq="{numbers}"\n{WATER}' for numbers in ("1 2", "1 2 3", "x y", "5 6")]
    (tmp_path / "a.xyz").write_text("".join(frames))
    values = read_dataset(tmp_path / "a.xyz").columns["q"].values
    np.testing.assert_array_equal(values, [[1, 2], [np.nan] * 2, [np.nan] * 2, [5, 6]])


def test_columns_of_a_database_that_says_nothing_about_them(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        for name in ("H2O", "CH4"):
            atoms = molecule(name)
            data = {"per_atom": np.arange(len(atoms)), "per_system": np.ones(3), "energy_U": np.ones(1)}
            database.write(atoms, key=5, text="x", data=data)
    columns = read_dataset(tmp_path / "a.db").columns
    assert {key: (column.per, column.values.shape) for key, column in columns.items()} == {
        "key": ("system", (2,)),
        "per_atom": ("atom", (8,)),
        "per_system": ("system", (2, 3)),
        "energy_U": ("system", (2,)),
    }
    assert columns["key"].values.dtype == columns["per_atom"].values.dtype == np.int64


def test_labels_that_come_late(tmp_path):
    plain, with_energy = f"3\n\n{WATER}", f"3\nenergy=-1.0 units=energy=Ha\n{WATER}"
    (tmp_path / "a.xyz").write_text(plain * 3 + with_energy + plain)
    for wanted in (None, labels("energy")):
        whole = read_dataset(tmp_path / "a.xyz", wanted)
        assert np.isnan(whole.labels["energy"]).tolist() == [True, True, True, False, True]
        pieces = list(stream_dataset(tmp_path / "a.xyz", wanted, pieces_of=2))
        assert concatenate(pieces).hash == whole.hash
        assert concatenate(pieces).metadata == whole.metadata
        assert whole.metadata["labels"] == {"energy": {"key": "energy", "unit": "Ha"}}


def test_a_label_that_never_comes(tmp_path):
    (tmp_path / "a.xyz").write_text(f"3\nenergies=1.0\n{WATER}" * 3)
    pieces = stream_dataset(tmp_path / "a.xyz", labels("energy=energ:eV"), pieces_of=1)
    with pytest.raises(InputError, match=r"has no entry 'energ' for the label 'energy' \(it has: energies\); did you"):
        list(pieces)
    with pytest.raises(InputError, match="has no entry 'energ'"):
        import_dataset(tmp_path / "a.xyz", tmp_path / "b", labels("energy=energ:eV"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.xyz"]


@pytest.mark.parametrize(
    ("third", "said"),
    [
        ("3\nenergy=-1.0 units=energy=eV", "states 'energy' in eV, the structures before it in Ha"),
        ("3\nenergy=low units=energy=Ha", "the label 'energy' \\(key 'energy'\\) is 'low' where numbers"),
        ("3\ncharge=x units=energy=Ha", "the charge 'x' is not a finite number"),
        ('3\npbc="T T T" units=energy=Ha', "is marked periodic but has no lattice vector"),
        ("3\nProperties=species:S:1:pos:R:3:forces:R:3", "cannot be read as extended XYZ"),
        ("4\nunits=energy=Ha", "has 3 of its 4 atoms"),
    ],
)
def test_structures_are_named_by_their_place_in_the_file(tmp_path, third, said):
    good = f"3\nenergy=-1.0 units=energy=Ha\n{WATER}"
    (tmp_path / "a.xyz").write_text(good * 2 + f"{third}\n{WATER}")
    for size in (1, 2, 3):
        with pytest.raises(InputError, match=rf"a\.xyz, structure 2(, atom \d)?: {said}"):
            list(stream_dataset(tmp_path / "a.xyz", pieces_of=size))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("positions", np.inf, "structure 5, atom 1: the position of this H is not finite"),
        ("energy", np.inf, "structure 5: the label 'energy' is infinite"),
        ("old_forces", np.inf, "structure 5, atom 1: the label 'forces' is infinite"),
    ],
)
def test_structures_of_an_archive_are_named_by_their_place(tmp_path, key, value, said):
    write_frames(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        arrays = {name: archive[name].copy() for name in archive.files}
    arrays[key][5, 0 if key == "energy" else 1] = value
    np.savez(tmp_path / "a.npz", **arrays)
    pieces = stream_dataset(tmp_path / "a.npz", labels("energy:kcal/mol", "forces=old_forces"), pieces_of=2)
    with pytest.raises(InputError, match=rf"a\.npz, {said}"):
        list(pieces)


def test_damage_that_shows_at_the_end(tmp_path):
    write_frames(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        np.savez(tmp_path / "b.npz", **archive)
    with zipfile.ZipFile(tmp_path / "b.npz") as archive:
        info = archive.getinfo("old_forces.npy")
    damaged = bytearray((tmp_path / "b.npz").read_bytes())
    # The last number of the entry: everything before it reads well.
    damaged[damaged.index(b"\x93NUMPY", info.header_offset) + info.file_size - 1] ^= 1
    (tmp_path / "b.npz").write_bytes(bytes(damaged))
    with pytest.raises(InputError, match="has a damaged entry"):
        list(stream_dataset(tmp_path / "b.npz", pieces_of=2))
    with pytest.raises(InputError, match="has a damaged entry"):
        import_dataset(tmp_path / "b.npz", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_flat_archives_of_structures_with_as_many_atoms(tmp_path):
    """Per-atom labels may then be (structures, atoms, ...); the whole file decides, not a piece of it."""
    rng = np.random.default_rng(0)
    arrays = {"n_atoms": np.array([2, 2, 2]), "numbers": np.ones(6, int), "positions": rng.normal(size=(6, 3))}
    forces = rng.normal(size=(3, 2, 3))
    np.savez(tmp_path / "a.npz", **arrays, forces=forces)
    wanted = labels("forces:eV/Ang")
    found = concatenate(stream_dataset(tmp_path / "a.npz", wanted, pieces_of=2))
    np.testing.assert_array_equal(found.labels["forces"], forces.reshape(6, 3))
    np.savez(tmp_path / "b.npz", **{**arrays, "n_atoms": np.array([2, 3, 1])}, forces=forces)
    with pytest.raises(InputError, match=r"has shape \(3, 2, 3\) where \(6, 3\) is needed"):
        next(stream_dataset(tmp_path / "b.npz", wanted, pieces_of=1))


def test_rows_that_are_passed_over_and_read_again(tmp_path):
    values = np.random.default_rng(0).normal(size=(90_000, 3))
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", a=values, b=np.asfortranarray(values))
        with closing(Entries(tmp_path / "a.npz")) as entries:
            for start, stop in ((5, 9), (9, 9), (80_000, 90_000), (2, 4)):
                for key in "ab":
                    np.testing.assert_array_equal(entries.rows(key, start, stop), values[start:stop])


def test_a_database_is_read_so_many_rows_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("atomlens.data.readers.ase_files._FETCHED", 3)
    write_dataset(full_dataset(), tmp_path / "a.db")
    with ase.db.connect(tmp_path / "a.db") as database:
        del database[2], database[5]
    kept = np.array([0, 2, 3, 5, 6])
    assert read_dataset(tmp_path / "a.db").hash == full_dataset().subset(kept).hash


def test_a_label_with_two_names(tmp_path):
    plural, both, singular = (
        "".join(f"3\n{values} units='energy=eV energies=eV'\n{WATER}" for values in entry)
        for entry in (["energies=-1.0"], ["energies=-2.0 energy=-3.0"], ["energy=-4.0"])
    )
    (tmp_path / "a.xyz").write_text(both + plural + singular)
    whole = read_dataset(tmp_path / "a.xyz")
    np.testing.assert_array_equal(whole.labels["energy"], [-3, np.nan, -4])
    assert concatenate(stream_dataset(tmp_path / "a.xyz", pieces_of=1)).hash == whole.hash
    (tmp_path / "b.xyz").write_text(plural + singular)
    with pytest.raises(InputError, match="structure 1: states the label 'energy' as 'energy' from about here on, and"):
        list(stream_dataset(tmp_path / "b.xyz", pieces_of=1))


def test_one_entry_for_two_labels(tmp_path):
    write_frames(tmp_path / "a.npz")
    wanted = labels("energy=energy", "gap=energy")
    pieces = list(stream_dataset(tmp_path / "a.npz", wanted, pieces_of=3))
    assert concatenate(pieces).hash == read_dataset(tmp_path / "a.npz", wanted).hash


def test_how_many_there_are_before_reading(file):
    known = file.suffix not in (".gz", ".bz2", ".traj", ".json")
    assert count_structures(file) == (7 if known else None)


def test_a_guess_of_how_many_there_are(tmp_path):
    (tmp_path / "a.xyz").write_text(f"3\n\n{WATER}" * 50_000)
    assert count_structures(tmp_path / "a.xyz") == pytest.approx(50_000, rel=1e-3)
    (tmp_path / "b.xyz").write_text("nothing")
    assert count_structures(tmp_path / "b.xyz") is None
    assert count_structures(tmp_path / "missing.npz") is None


def test_a_bar_shows_how_far_an_import_is(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("atomlens.progress.PLAIN_INTERVAL_S", -1.0)
    write_dataset(full_dataset(), tmp_path / "a.npz")
    import_dataset(tmp_path / "a.npz", tmp_path / "b", title="import a.npz")
    assert "import a.npz: 7/7 structures (100 %)" in capsys.readouterr().err


def test_pieces_of_nothing(tmp_path):
    with pytest.raises(InputError, match="pieces of 0 structures cannot be read"):
        stream_dataset(tmp_path / "a.xyz", pieces_of=0)


def test_unsigned_and_short_numbers(tmp_path):
    write_frames(tmp_path / "a.npz", big=np.full(7, 2**64 - 1, np.uint64), small=np.arange(7, dtype=np.uint8))
    columns = read_dataset(tmp_path / "a.npz").columns
    assert columns["big"].values.dtype == np.float64
    assert columns["small"].values.dtype == np.int64


MEMORY = """
import resource, sys
from atomlens.data.readers import import_dataset, read_dataset
from atomlens.data.writers import write_dataset
import atomlens.data.store, ase.db, scipy.sparse
from pathlib import Path
source, store = sys.argv[1:]
import_dataset(Path(source).with_name("small.npz"), store + "-small")  # what is loaded once
write_dataset(read_dataset(store + "-small"), store + "-small.csv")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = import_dataset(source, store)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_import_takes_the_memory_of_a_piece(tmp_path, save):
    """120 MB of numbers; a piece of them has 4 MB."""
    count, rng = 300_000, np.random.default_rng(0)
    arrays = {
        "numbers": np.array([8, 1, 1, 1, 1]),
        "positions": np.repeat(rng.normal(size=(count // 100, 5, 3)), 100, axis=0),
        "energy": np.zeros(count),
        "forces": np.zeros((count, 5, 3)),
        "units": np.array(json.dumps({"energy": "eV", "forces": "eV/Ang"})),
    }
    save(tmp_path / "a.npz", **arrays)
    cut = {key: value[:100] if key in ("positions", "energy", "forces") else value for key, value in arrays.items()}
    save(tmp_path / "small.npz", **cut)
    found = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "a.npz"), str(tmp_path / "b")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(found.stdout) < 60.0


def test_places_go_with_subsets_of_pieces(tmp_path):
    write_frames(tmp_path / "a.npz")
    _, second, _ = stream_dataset(tmp_path / "a.npz", pieces_of=3)
    part = second.subset(np.array([2]))
    assert part.located(InputError("is odd"), 0).structure == 5
    assert replace(second, columns={"x": Column(np.zeros(3), "system")}).columns["x"].per == "system"


@pytest.mark.parametrize("name", ["qm9.npz", "mlearn.npz", "rmd17/ethanol.npz", "water_dipole_polarizability.npz"])
def test_real_archives_lose_nothing(shared_data, tmp_path, name):
    found = import_dataset(shared_data / name, tmp_path / "a")
    assert_same(found, read_dataset(shared_data / name))
    with np.load(shared_data / name) as archive:
        rest = set(archive.files) - {"numbers", "positions", "n_atoms", "cell", "pbc", "charge", "units", "metadata"}
        assert set(found.columns) == {key for key in rest if archive[key].dtype.kind in "fiu"}
        for key, column in found.columns.items():
            np.testing.assert_array_equal(column.values.ravel(), archive[key].ravel())
