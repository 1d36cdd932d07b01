"""The Materials Project: documents, CIF files with targets, the repacked archive, and the client with a key."""

import gzip
import json
import sys
import types

import ase
import ase.io
import numpy as np
import pytest

from atomlens.data.pieces import concatenate
from atomlens.datasets import materials_project, materials_project_api
from atomlens.datasets.crystal_documents import crystal, documents
from atomlens.datasets.materials_project import material_number
from atomlens.datasets.materials_project_api import FORMAT, fetch_materials_project
from atomlens.errors import InputError

(NAMED,) = materials_project.DATASETS


def structure(elements=("Na", "Cl"), **site):
    return {
        "lattice": {"matrix": [[0, 2.8, 2.8], [2.8, 0, 2.8], [2.8, 2.8, 0]]},
        "sites": [
            {"species": [{"element": name, "occu": 1}], "abc": [0.5 * place] * 3, "xyz": [2.8 * place] * 3, **site}
            for place, name in enumerate(elements)
        ],
    }


def document(name="mp-22862", energy=-2.1, **more):
    return {"material_id": name, "structure": structure(), "formation_energy_per_atom": energy, **more}


def read(*paths):
    return concatenate(NAMED.read(paths))


def test_documents_of_the_interface(tmp_path):
    listed = [
        document(energy_above_hull=0.01, band_gap=5.0, deprecated=False),
        document("mp-1", deprecated=True),
        document("mvc-7", None),
    ]
    (tmp_path / "mp.json").write_text(json.dumps(listed, indent=1))
    data = read(tmp_path / "mp.json")
    assert data.numbers.tolist() == [11, 17, 11, 17]
    np.testing.assert_allclose(data.positions[1], [2.8, 2.8, 2.8])
    np.testing.assert_array_equal(data.cell[0], structure()["lattice"]["matrix"])
    assert data.pbc.all()
    np.testing.assert_array_equal(data.labels["formation_energy"], [-2.1, np.nan])
    np.testing.assert_array_equal(data.labels["gap"], [5.0, np.nan])
    np.testing.assert_array_equal(data.columns["energy_above_hull"].values, [0.01, np.nan])
    assert data.columns["material_id"].values.tolist() == [22862, -7]
    assert data.origin.places is None or data.origin.places.tolist() == [0, 2]


def test_positions_without_fractions_and_oxidation_states(tmp_path):
    made = structure()
    for site in made["sites"]:
        del site["abc"]
        site["species"][0]["oxidation_state"] = 1
    assert crystal(made).positions.tolist() == [[0, 0, 0], [2.8, 2.8, 2.8]]
    assert crystal(structure(("D",))).numbers.tolist() == [1]
    del tmp_path


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (structure(species=[{"element": "Na", "occu": 0.5}, {"element": "K", "occu": 0.5}]), "a site is disordered"),
        (structure(("Na", "Qq")), "'Qq' is no element"),
        ({"sites": []}, "is no structure as pymatgen writes it"),
    ],
)
def test_disordered_and_damaged_crystals_are_named(tmp_path, made, message):
    (tmp_path / "mp.json").write_text(json.dumps([document(), document() | {"structure": made}]))
    with pytest.raises(InputError, match=rf"mp\.json, structure 1.*{message}"):
        read(tmp_path / "mp.json")


@pytest.mark.parametrize(
    ("text", "number"),
    [("mp-149", 149), ("mvc-12", -12), ("mp-aaaaaaft", 149), ("MP-3", 3), ("silicon", 0), (None, 0), ("mp-", 0)],
)
def test_numbers_of_materials(text, number):
    assert material_number(text) == number  # f = 5, t = 19: 5 · 26 + 19 = 149


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_documents_are_read_one_by_one_from_any_form(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr("atomlens.datasets.crystal_documents._CHUNK", chunk)
    entries = [{"a": [1, {"b": "]},{"}]}, {"c": "é"}, {}]
    forms = {
        "list.json": json.dumps(entries, indent=2),
        "lines.jsonl": "".join(json.dumps(entry) + "\n" for entry in entries),
        "answer.json": json.dumps({"data": entries, "meta": {"total": 3}}),
    }
    for name, text in forms.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert list(documents(tmp_path / name)) == entries, name
    with gzip.open(tmp_path / "list.json.gz", "wt", encoding="utf-8") as file:
        file.write(forms["list.json"])
    assert list(documents(tmp_path / "list.json.gz")) == entries


@pytest.mark.parametrize(
    ("text", "message"),
    [('[{"a": 1}, {"b"', "ends early"), ("[1, 2]", "holds '1' where an object is needed"), ("words", "is no JSON")],
)
def test_damaged_documents_say_so(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=rf"a\.json: {message}|{message}"):
        list(documents(tmp_path / "a.json"))


def test_cif_files_with_a_table(tmp_path):
    for name, symbols in (("mp-1", "NaCl"), ("mp-2", "MgO")):
        cell = 4.2 * np.eye(3)
        ase.io.write(tmp_path / f"{name}.cif", ase.Atoms(symbols, [[0, 0, 0], [2.1] * 3], cell=cell, pbc=True))
    (tmp_path / "targets.csv").write_text("material_id,formation_energy_per_atom\nmp-2,-3.0\nmp-1,-2.0\n")
    data = read(tmp_path)
    assert data.labels["formation_energy"].tolist() == [-2.0, -3.0]
    assert data.columns["material_id"].values.tolist() == [1, 2]
    assert data.numbers.tolist() == [11, 17, 12, 8]
    np.testing.assert_allclose(data.positions[1], [2.1] * 3, atol=1e-6)
    (tmp_path / "targets.csv").unlink()
    (tmp_path / "targets.json").write_text(json.dumps({"mp-1": -2.0, "mp-2": {"band_gap": 4.0}}))
    data = read(tmp_path)
    np.testing.assert_array_equal(data.labels["formation_energy"], [-2.0, np.nan])
    np.testing.assert_array_equal(data.labels["gap"], [np.nan, 4.0])


def test_cif_files_without_targets_or_with_nameless_ones_are_refused(tmp_path):
    ase.io.write(tmp_path / "mp-1.cif", ase.Atoms("Po", cell=3.3 * np.eye(3), pbc=True))
    with pytest.raises(InputError, match="has no targets beside its CIF files"):
        read(tmp_path)
    (tmp_path / "id_prop.csv").write_text("mp-1,-0.5\n")
    with pytest.raises(InputError, match="does not name its columns"):
        read(tmp_path)
    (tmp_path / "id_prop.csv").write_text("material_id,formation_energy_per_atom\nmp-2,-0.5\n")
    with pytest.raises(InputError, match=r"mp-1\.cif: has no target of the name 'mp-1'"):
        read(tmp_path)


def test_a_disordered_cif_file_is_refused(tmp_path):
    ase.io.write(tmp_path / "mp-1.cif", ase.Atoms("Fe", cell=3.0 * np.eye(3), pbc=True))
    text = (tmp_path / "mp-1.cif").read_text()
    lines = [
        line.replace(" 1.0000", " 0.5000") if line.strip().startswith("Fe") else line for line in text.splitlines()
    ]
    (tmp_path / "mp-1.cif").write_text("\n".join(lines) + "\n")
    assert "0.5000" in (tmp_path / "mp-1.cif").read_text()
    (tmp_path / "t.csv").write_text("material_id,formation_energy_per_atom\nmp-1,0\n")
    with pytest.raises(InputError, match=r"mp-1\.cif: has a disordered site \(Fe 0\.5\)"):
        read(tmp_path)


def test_the_repacked_archive(shared_data):
    data = read(shared_data / "materials_project.npz")
    assert len(data) == 33_733
    assert len(data.elements) == 87
    assert data.pbc.all()
    assert -4.6 < data.labels["formation_energy"].min() < data.labels["formation_energy"].max() < 4
    assert len(np.unique(data.columns["material_id"].values)) == 33_733
    # Rock salt is mp-22862 of every release: -2.1 eV/atom by PBE.
    salt = np.flatnonzero(data.columns["material_id"].values == 22862)
    assert len(salt) == 1
    assert sorted(set(data[int(salt[0])].numbers.tolist())) == [11, 17]
    assert data.labels["formation_energy"][salt[0]] == pytest.approx(-2.1, abs=0.1)


class Client:
    """Stands for mp-api's MPRester, with what of it is used."""

    def __init__(self, key, *, use_document_model, mute_progress_bars):
        assert key == "secret"
        assert (use_document_model, mute_progress_bars) == (False, True)
        self.db_version = self.version
        self.materials = types.SimpleNamespace(summary=self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def search(self, *, deprecated, fields, material_ids=None, **query):
        assert deprecated is False
        self.calls.append((material_ids, fields, query))
        if self.fails and len(self.calls) > self.fails:
            raise ConnectionError("Connection reset by the secretive peer")
        if material_ids is None:
            return [{"material_id": name} for name in self.known]
        return [document(name, -float(name[3:]), deprecated=False) for name in material_ids]


@pytest.fixture
def client(monkeypatch):
    class Made(Client):
        version, known, calls, fails = "2025.09.25", [f"mp-{n}" for n in range(1, 8)], [], 0

    package = types.ModuleType("mp_api.client")
    package.MPRester = Made
    monkeypatch.setitem(sys.modules, "mp_api", types.ModuleType("mp_api"))
    monkeypatch.setitem(sys.modules, "mp_api.client", package)
    monkeypatch.setattr(materials_project_api, "CHUNK", 3)
    monkeypatch.setenv("MP_API_KEY", "secret")
    return Made


def test_fetching_in_chunks(tmp_path, client):
    path = fetch_materials_project(tmp_path / "deep" / "mp.jsonl", query={"elements": ["Na"]})
    assert client.calls[0] == (None, ["material_id"], {"elements": ["Na"]})
    assert [len(names) for names, _, _ in client.calls[1:]] == [3, 3, 1]
    header = json.loads(path.read_text().splitlines()[0])
    assert (header["format"], header["database_version"]) == (FORMAT, "2025.09.25")
    data = read(path)
    assert data.columns["material_id"].values.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert data.labels["formation_energy"].tolist() == [-1, -2, -3, -4, -5, -6, -7]
    assert data.metadata["database_version"] == "2025.09.25"
    assert list(path.parent.iterdir()) == [path]
    client.calls.clear()
    assert fetch_materials_project(path) == path
    assert not client.calls  # it is there


def test_an_interrupted_call_goes_on_where_it_stopped(tmp_path, client):
    client.fails = 3
    with pytest.raises(InputError, match="check the network, and try again: what has arrived is kept"):
        fetch_materials_project(tmp_path / "mp.jsonl")
    part = tmp_path / "mp.jsonl.part"
    assert not (tmp_path / "mp.jsonl").exists()
    with open(part, "a") as file:
        file.write('{"material_id": "mp-7", "struc')  # as a killed process leaves it
    client.fails, client.calls[:] = 0, []
    data = read(fetch_materials_project(tmp_path / "mp.jsonl"))
    assert [names for names, _, _ in client.calls[1:]] == [["mp-7"]]
    assert data.columns["material_id"].values.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_another_version_of_the_database_begins_anew(tmp_path, client):
    client.fails = 2
    with pytest.raises(InputError):
        fetch_materials_project(tmp_path / "mp.jsonl")
    client.fails, client.version, client.calls[:] = 0, "2026.01.01", []
    data = read(fetch_materials_project(tmp_path / "mp.jsonl"))
    assert data.metadata["database_version"] == "2026.01.01"
    assert [len(names) for names, _, _ in client.calls[1:]] == [3, 3, 1]


def test_a_missing_key_and_a_missing_package_are_told(tmp_path, client, monkeypatch):
    monkeypatch.delenv("MP_API_KEY")
    with pytest.raises(InputError, match="needs your key of the Materials Project; set MP_API_KEY"):
        fetch_materials_project(tmp_path / "mp.jsonl")
    monkeypatch.setitem(sys.modules, "mp_api.client", None)
    with pytest.raises(InputError, match=r"pip install 'atomlens\[materials-project\]'"):
        fetch_materials_project(tmp_path / "mp.jsonl", key="secret")
    assert not client.calls
    assert not list(tmp_path.iterdir())


def test_a_refused_key_is_told_and_never_printed(tmp_path, client, monkeypatch):
    def refuse(*_, **__):
        raise RuntimeError("REST query returned with error status code 401: Invalid authentication credentials")

    monkeypatch.setattr(client, "search", refuse)
    with pytest.raises(InputError, match=r"401.*check the key in MP_API_KEY") as raised:
        fetch_materials_project(tmp_path / "mp.jsonl")
    assert "secret" not in str(raised.value)


def test_the_card_says_how_to_get_it():
    assert not NAMED.files
    assert "MP_API_KEY" in NAMED.why_no_files
    assert "atomlens[materials-project]" in NAMED.why_no_files
