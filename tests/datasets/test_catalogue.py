"""Data sets by name: cards, and from files or a server to a store."""

import hashlib
import http.server
import json
import re
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from atomlens.data.store import is_store, read_header
from atomlens.data.units import ENERGY, to_internal
from atomlens.datasets import catalogue
from atomlens.datasets.card import RemoteFile, Variant
from atomlens.datasets.catalogue import DATASETS, card_text, card_to_dict, free_atoms, get, named
from atomlens.datasets.describe import known_names
from atomlens.errors import InputError

HARTREE = 27.211386


@pytest.mark.parametrize("name", list(DATASETS))
def test_every_card_says_what_a_user_has_to_know(name):
    dataset = DATASETS[name]
    card = dataset.card
    assert card.name == name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    for text in (card.title, card.citation, card.licence, card.level):
        assert text.strip()
    assert re.search(r"\((19|20)\d\d\)", card.citation)
    assert card.labels
    assert dataset.files or dataset.why_no_files
    for file in dataset.files:
        assert file.url.startswith(("https://", "http://"))
        assert re.fullmatch(r"[^/\\]+", file.name)
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.md5 is None or re.fullmatch(r"[0-9a-f]{32}", file.md5)
    if card.free_atoms:
        to_internal(card.free_atom_unit, ENERGY, "free atoms")
    text = card_text(card, dataset)
    assert text.startswith(f"{name}: ")
    # Addresses are never broken, everything else fits a terminal.
    assert all(len(line) <= 111 or "http" in line for line in text.splitlines())
    for word in re.findall(r"[\w.]+", " ".join((card.citation, *card.errata, *card.advice))):
        assert word in text
    values = json.loads(json.dumps(card_to_dict(card, dataset), allow_nan=False))
    assert values["name"] == name
    assert len(values["files"]) == len(dataset.files)


def test_names_are_looked_up():
    assert named("qm9").card.structures == 130_831
    with pytest.raises(InputError, match="unknown data set 'qm-9'; did you mean 'qm9'"):
        named("qm-9")
    with pytest.raises(ValueError, match="two data sets are called qm9"):
        known_names([named("qm9"), named("qm9")])


def test_the_card_of_qm9_says_what_is_done_about_its_errata():
    text = " ".join(card_text(named("qm9").card).split())
    for words in (
        "3,054",
        "places from 0",
        "110,000",
        "CC0",
        "Ruddigkeit",
        "Ramakrishnan",
        "U0 H -0.500273, C -37.846772",
    ):
        assert words in text


def test_free_atoms_are_those_of_the_key_that_labels():
    metadata = {
        "free_atoms": {
            "U0": {"unit": "Ha", "values": {"H": -0.5, "C": -37.8}},
            "H": {"unit": "Ha", "values": {"H": -0.49}},
        },
        "labels": {"energy": {"key": "U0", "unit": "Ha"}},
    }
    assert free_atoms(metadata) == pytest.approx({"H": -0.5 * HARTREE, "C": -37.8 * HARTREE}, rel=1e-6)
    metadata["labels"] = {"energy": {"key": "H", "unit": "Ha"}}
    assert free_atoms(metadata) == pytest.approx({"H": -0.49 * HARTREE}, rel=1e-6)
    metadata["labels"] = {"energy": {"key": "G", "unit": "Ha"}}
    with pytest.raises(InputError, match=r"no energies of free atoms for 'G' \(they have: U0, H\)"):
        free_atoms(metadata)
    with pytest.raises(InputError, match=r"no energies of free atoms for 'energy' \(they have: none\)"):
        free_atoms({})
    assert free_atoms({"free_atom_energies": {"H": -13.6}}) == {"H": -13.6}


def archive(path, count=3):
    np.savez(
        path,
        n_atoms=np.full(count, 2),
        numbers=np.tile([1, 9], count),
        positions=np.tile([[0.0, 0, 0], [0.92, 0, 0]], (count, 1)),
        gdb_index=np.arange(1, count + 1),
        U0=np.full(count, -100.4),
    )
    return path


def test_files_of_the_user_become_a_store_with_its_card(tmp_path, capsys):
    path = archive(tmp_path / "qm9.npz")
    data = get("qm9", tmp_path / "store", [path])
    assert is_store(tmp_path / "store")
    assert len(data) == 3
    assert "3 structures were read, the published set has 130,831; these files hold a part" in capsys.readouterr().err
    assert data.metadata["name"] == "qm9"
    assert data.metadata["licence"] == "CC0"
    assert data.metadata["level"].startswith("B3LYP")
    assert "Ramakrishnan" in data.metadata["citation"]
    assert data.metadata["source"] == str(path)
    record = {"name": "qm9.npz", "size": path.stat().st_size, "as_published": False}
    assert data.metadata["files"] == [{**record, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}]
    header = read_header(tmp_path / "store")
    assert header["provenance"]["files"] == data.metadata["files"]
    assert header["provenance"]["part"] == "3 of 130,831 structures"
    assert free_atoms(data.metadata)["H"] == pytest.approx(-0.500273 * HARTREE, rel=1e-6)


def test_a_store_is_never_overwritten_and_nothing_is_left_of_a_failure(tmp_path):
    path = archive(tmp_path / "qm9.npz")
    get("qm9", tmp_path / "store", [path])
    with pytest.raises(InputError, match="exists already"):
        get("qm9", tmp_path / "store", [path])
    with pytest.raises(InputError, match="does not exist"):
        get("qm9", tmp_path / "other", [tmp_path / "nowhere.npz"])
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(InputError):
        get("qm9", tmp_path / "other", [path])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["qm9.npz", "store"]


def test_a_set_without_a_place_says_why(tmp_path):
    with pytest.raises(InputError, match=r"'qm9-mp2' cannot be downloaded: no official place .* --from"):
        get("qm9-mp2", tmp_path / "store")


def test_a_set_behind_a_key_is_fetched_with_the_users_key(tmp_path, monkeypatch):
    monkeypatch.delenv("MP_API_KEY", raising=False)
    with pytest.raises(InputError, match=r"'materials-project' cannot be downloaded: .* MP_API_KEY"):
        get("materials-project", tmp_path / "store")
    cell = [[5.64, 0, 0], [0, 5.64, 0], [0, 0, 5.64]]
    salt = {
        "material_id": "mp-22862",
        "formation_energy_per_atom": -2.1,
        "structure": {
            "lattice": {"matrix": cell},
            "sites": [
                {"species": [{"element": "Na", "occu": 1}], "abc": [0, 0, 0], "xyz": [0, 0, 0]},
                {"species": [{"element": "Cl", "occu": 1}], "abc": [0.5, 0.5, 0.5], "xyz": [2.82, 2.82, 2.82]},
            ],
        },
    }
    asked = []

    def fetch(path, *, title):
        asked.append((path, title))
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(salt) + "\n")
        return path

    monkeypatch.setenv("MP_API_KEY", "of the user")
    monkeypatch.setattr(catalogue, "fetch_materials_project", fetch)
    data = get("materials-project", tmp_path / "store", folder=tmp_path / "cache")
    place = tmp_path / "cache" / "materialsproject.org" / "summary.jsonl"
    assert asked == [(place, "")]
    assert data.numbers.tolist() == [11, 17]
    assert data.labels["formation_energy"].tolist() == [-2.1]
    assert data.metadata["files"][0]["sha256"] == hashlib.sha256(place.read_bytes()).hexdigest()


def test_variants_are_other_ways_to_read(tmp_path, monkeypatch, capsys):
    path = archive(tmp_path / "qm9.npz")
    monkeypatch.setattr("atomlens.datasets.qm9._CHARACTERISED", 2)
    with pytest.raises(InputError, match=r"needs uncharacterized\.txt"):
        get("qm9", tmp_path / "store", [path])
    kept = named("qm9").variants["keep-uncharacterised"]
    assert isinstance(kept, Variant)
    data = get("qm9", tmp_path / "store", [path], variant="keep-uncharacterised")
    assert data.metadata["variant"] == "keep-uncharacterised"
    assert "the published set has 133,885" in capsys.readouterr().err
    with pytest.raises(InputError, match="no variant 'keep-all'; known are keep-uncharacterised"):
        get("qm9", tmp_path / "other", [path], variant="keep-all")
    with pytest.raises(InputError, match="'qm7' has no variant 'keep-all'; it has no variants"):
        get("qm7", tmp_path / "other", [path], variant="keep-all")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder that is served on loopback, and its address."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_becomes_a_store_that_says_where_it_came_from(tmp_path, place, monkeypatch, capsys):
    folder, address = place
    path = archive(folder / "mirror.npz")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    file = RemoteFile("qm9.npz", f"{address}/mirror.npz", size=path.stat().st_size, sha256=sha256)
    monkeypatch.setitem(catalogue.DATASETS, "qm9", replace(named("qm9"), files=(file,)))
    monkeypatch.setenv("ATOMLENS_DATA", str(tmp_path / "cache"))
    data = get("qm9", tmp_path / "store")
    assert len(data) == 3
    assert data.metadata["files"] == [
        {"name": "qm9.npz", "url": file.url, "size": file.size, "sha256": sha256, "as_published": True}
    ]
    path.unlink()  # what is in the cache is enough
    assert get("qm9", tmp_path / "again").hash == data.hash
    monkeypatch.setitem(catalogue.DATASETS, "qm9", replace(named("qm9"), files=(replace(file, sha256="0" * 64),)))
    with pytest.raises(InputError, match="is not there"):
        get("qm9", tmp_path / "third")
    assert "it is fetched again" in capsys.readouterr().err


def test_a_file_without_a_published_checksum_is_recorded_as_it_came(tmp_path, place, monkeypatch, capsys):
    folder, address = place
    path = archive(folder / "qm9.npz")
    file = RemoteFile("qm9.npz", f"{address}/qm9.npz")
    monkeypatch.setitem(catalogue.DATASETS, "qm9", replace(named("qm9"), files=(file,)))
    data = get("qm9", tmp_path / "store", folder=tmp_path / "mine")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert data.metadata["files"][0]["sha256"] == sha256
    assert data.metadata["files"][0]["as_published"] is False
    assert f"no checksum is published; what arrived has sha256 {sha256}" in capsys.readouterr().err
    assert (tmp_path / "mine" / "127.0.0.1" / "qm9.npz").is_file()


def test_the_dipoles_of_mp2_are_read(tmp_path):
    path = tmp_path / "qm9_mp2_dipoles_charges.npz"
    np.savez(
        path,
        n_atoms=[3],
        numbers=[8, 1, 1],
        positions=[[0.0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]],
        dipole=[[0.0, 0.0, -0.75]],
        mulliken_charges=[-0.6, 0.3, 0.3],
        loewdin_charges=[-0.4, 0.2, 0.2],
        gdb_index=[3],
    )
    data = get("qm9-mp2", tmp_path / "store", [path])
    assert data.labels["dipole"] == pytest.approx(np.array([[0.0, 0.0, -0.75 * 0.5291772]]), rel=1e-6)
    assert data.labels["charges"].tolist() == [-0.6, 0.3, 0.3]
    assert data.columns["loewdin_charges"].per == "atom"
    assert data.columns["loewdin_charges"].values.tolist() == [-0.4, 0.2, 0.2]


def test_the_real_dipoles_fit_their_molecules(shared_data, tmp_path):
    data = get("qm9-mp2", tmp_path / "store", [shared_data / "qm9_mp2_dipoles_charges.npz"])
    assert len(data) == 9255
    assert data.columns["gdb_index"].values[0] == 3
    # Water: 1.85 D by experiment, and along its axis of symmetry, away from oxygen.
    dipole, water = data.labels["dipole"][0], data[0]
    assert np.linalg.norm(dipole) / 0.2081943 == pytest.approx(2.0, abs=0.2)
    axis = water.positions[1:].mean(axis=0) - water.positions[0]
    assert dipole @ axis / np.linalg.norm(dipole) / np.linalg.norm(axis) == pytest.approx(1.0, abs=1e-3)
    charge = np.add.reduceat(data.labels["charges"], data.offsets[:-1])
    assert np.abs(charge).max() < 1e-4
