"""From the data section of a run file to structures: names, stores, references, rare elements, faults."""

import json

import numpy as np
import pytest
from ase.build import molecule

from atomlens.data.dataset import Dataset
from atomlens.data.store import is_store
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.study.data import check_before_training, open_data, with_references, without_rare_elements
from atomlens.study.run import run_training
from atomlens.training import DataConfig, RunConfig

FRAMES = 150
SPRING = 200.0  # kcal/mol/Å²


@pytest.fixture
def rmd17(tmp_path):
    """A plain archive of ethanol as revised MD17 is repacked, with springs between all atoms."""
    rest = molecule("CH3CH2OH")
    rng = np.random.default_rng(0)
    positions = rest.positions + 0.03 * rng.normal(size=(FRAMES, 9, 3))
    apart = positions[:, :, None] - positions[:, None]
    lengths = np.linalg.norm(apart, axis=-1) + np.eye(9)
    stretched = (lengths - rest.get_all_distances() - np.eye(9))[..., None]
    labels = {
        "energies": -97_000.0 + 0.25 * SPRING * np.square(stretched).sum(axis=(1, 2, 3)),
        "forces": -SPRING * (stretched * apart / lengths[..., None]).sum(axis=2),
    }
    path = tmp_path / "ethanol.npz"
    old = {f"md17_{name}": values for name, values in labels.items()}
    index = {"md17_index": rng.permutation(FRAMES)}
    np.savez(path, numbers=rest.numbers, positions=positions, **labels, **old, **index)
    return path


def config(path, folder, **more):
    values = {"name": "rmd17-ethanol", "path": str(path), "store": str(folder / "store"), **more}
    return DataConfig.parse(values)


def test_a_named_set_is_imported_once_and_read_ever_after(rmd17, tmp_path):
    first = open_data(config(rmd17, tmp_path))
    assert is_store(tmp_path / "store")
    np.testing.assert_allclose(first.labels["energy"], np.load(rmd17)["energies"] * KCAL_PER_MOL, rtol=1e-9)
    stamp = (tmp_path / "store" / "header.json").stat().st_mtime_ns
    again = open_data(config(rmd17, tmp_path))
    assert again.hash == first.hash
    assert (tmp_path / "store" / "header.json").stat().st_mtime_ns == stamp


def test_a_plain_file_is_imported_into_a_store(rmd17, tmp_path):
    labels = {"energy": "energies:kcal/mol"}
    plain = DataConfig.parse({"path": str(rmd17), "labels": labels})
    stored = DataConfig.parse({"path": str(rmd17), "labels": labels, "store": str(tmp_path / "plain")})
    assert open_data(stored).hash == open_data(plain).hash == open_data(stored).hash


def test_a_store_of_something_else_is_refused(rmd17, tmp_path):
    open_data(config(rmd17, tmp_path))
    other = rmd17.with_name("other.npz")
    other.write_bytes(rmd17.read_bytes())
    with pytest.raises(InputError, match=r"was imported from .*ethanol\.npz, not from .*other\.npz"):
        open_data(config(other, tmp_path))
    with pytest.raises(InputError, match="is a store of rmd17-ethanol, not of rmd17-benzene"):
        open_data(config(rmd17, tmp_path, name="rmd17-benzene"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="is no store; name another folder"):
        open_data(config(rmd17, tmp_path, store=str(tmp_path / "folder")))


def test_data_need_a_place():
    with pytest.raises(InputError, match=r"neither path nor name"):
        DataConfig.parse({"labels": {"energy": "E:eV"}})


def several(*names, **labels):
    atoms = [molecule(name) for name in names]
    return Dataset.from_arrays(
        np.concatenate([entry.numbers for entry in atoms]),
        np.concatenate([entry.positions for entry in atoms]),
        np.array([len(entry) for entry in atoms]),
        labels,
    )


def test_rare_elements_are_left_out(capsys):
    data = several("H2O", "CH4", "CH3CH2OH", "NH3", "H2O")
    kept = without_rare_elements(data, 2)
    assert [system.formula for system in kept] == ["H2O", "CH4", "C2H6O", "H2O"]
    assert "1 structures with rare elements are left out (N)" in capsys.readouterr().err
    assert without_rare_elements(kept, 2) is kept
    with pytest.raises(InputError, match=r"lower data\.rare_elements"):
        without_rare_elements(data, 9)


def test_a_store_of_other_labels_is_refused(rmd17, tmp_path):
    def opened(**labels):
        return open_data(DataConfig.parse({"path": str(rmd17), "labels": labels, "store": str(tmp_path / "plain")}))

    opened(energy="energies:kcal/mol")
    assert opened(energy="energies:kcal mol^-1").labels.keys() == {"energy"}
    with pytest.raises(InputError, match=r"has 'energy' from energies in kcal/mol, not from md17_energies"):
        opened(energy="md17_energies:kcal/mol")
    with pytest.raises(InputError, match=r"has 'energy' from energies in kcal/mol, not from energies in eV"):
        opened(energy="energies:eV")
    with pytest.raises(InputError, match=r"imported without the label 'forces'"):
        opened(energy="energies:kcal/mol", forces="forces:kcal/mol/Ang")


def test_a_store_of_another_variant_is_refused(rmd17, tmp_path):
    open_data(config(rmd17, tmp_path))
    header = tmp_path / "store" / "header.json"
    said = json.loads(header.read_text())
    said["metadata"]["variant"] = "half"
    header.write_text(json.dumps(said))
    with pytest.raises(InputError, match=r"holds rmd17-ethanol as half, not as it is published"):
        open_data(config(rmd17, tmp_path))


def test_of_several_processes_one_makes_the_store(rmd17, tmp_path, monkeypatch):
    from atomlens.datasets import catalogue

    def quicker(name, out, **options):
        made = catalogue_get(name, out, **options)
        assert len(made) == FRAMES
        return catalogue_get(name, out, **options)  # as the slower one finds it

    catalogue_get = catalogue.get
    monkeypatch.setattr(catalogue, "get", quicker)
    assert len(open_data(config(rmd17, tmp_path))) == FRAMES


def test_a_check_that_broke_down_refuses_nothing(rmd17, tmp_path, monkeypatch):
    from atomlens.checking import checking
    from atomlens.checking.outcome import DataCheck

    def broken(data):
        raise ZeroDivisionError(f"of {len(data)}")

    data = open_data(config(rmd17, tmp_path))
    monkeypatch.setattr(checking, "CHECKS", {"lengths": DataCheck("lengths", "Lengths", "", broken)})
    report = check_before_training(data, "refuse")
    assert report is not None
    assert report.worst == "fault"


def test_references_come_with_the_data():
    made = several("H2O", "CH4", energy=np.array([-2000.0, -1100.0]))
    table = {"U0": {"unit": "Ha", "values": {"H": -0.5, "C": -37.8, "O": -75.0}}}
    data = Dataset(**{**vars(made), "metadata": {"free_atoms": table, "labels": {"energy": {"key": "U0"}}}})
    run = RunConfig.parse({"data": {"path": "x.npz"}, "references": {"from_data": True}})
    found = with_references(run, data).references.in_ev()
    assert found == pytest.approx({1: -0.5 * 27.211386, 6: -37.8 * 27.211386, 8: -75.0 * 27.211386}, rel=1e-6)
    with pytest.raises(InputError, match="bring no energies of free atoms"):
        with_references(run, made)


@pytest.mark.parametrize("values", [{}, {"unit": "Ha"}, {"values": {"H": -0.5}}, {"unit": "Ha", "from_data": True}])
def test_references_are_given_whole(values):
    with pytest.raises(InputError, match="references"):
        RunConfig.parse({"data": {"path": "x.npz"}, "references": values})


def run_file(path, folder, **data):
    return RunConfig.parse(
        {
            "data": config(path, folder, **data).model_dump(),
            "split": {"train": 100, "validation": 20, "test": 20},
            "model": {"representation": {"name": "schnet", "features": 8, "interactions": 1}},
            "training": {"epochs": 1, "tensorboard": False, "threads": 1},
        }
    )


def turned_forces(path):
    arrays = dict(np.load(path))
    arrays["forces"] = -arrays["forces"]
    np.savez(path, **arrays)


def test_forces_that_point_uphill_are_refused_before_anything_is_written(rmd17, tmp_path):
    turned_forces(rmd17)
    with pytest.raises(InputError, match=r"--set data\.check=warn"):
        run_training(run_file(rmd17, tmp_path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_faults_are_told_where_that_is_wanted(rmd17, tmp_path, capsys):
    turned_forces(rmd17)
    run_training(run_file(rmd17, tmp_path, check="warn"), tmp_path / "out")
    assert "fault: " in capsys.readouterr().err
    found = json.loads((tmp_path / "out" / "check.json").read_text())
    assert found["worst"] == "fault"


def test_nobody_looks_where_that_is_off(rmd17, tmp_path):
    turned_forces(rmd17)
    assert check_before_training(open_data(config(rmd17, tmp_path)), "off") is None


def test_yaml_may_say_off_without_quotes():
    assert DataConfig.parse({"path": "x.npz", "check": False}).check == "off"
    with pytest.raises(InputError, match=r"check"):
        DataConfig.parse({"path": "x.npz", "check": True})
