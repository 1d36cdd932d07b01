import json

import numpy as np
import pytest
import safetensors
import torch
from ase.build import bulk, molecule
from safetensors.torch import load_file, save_file

import atomlens
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.model_file import load_model, read_header, save_model


@pytest.fixture
def model():
    torch.manual_seed(0)
    made = Model(ModelConfig(), [1, 6, 8])
    made.energy_readout.set_scale(2.0, {1: -13.6, 6: -1030.0, 8: -2040.0}, {1: -13.0, 6: -1029.0, 8: -2039.0})
    made.provenance = {"split": {"hash": "abc"}}
    return made


@pytest.fixture
def path(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def rewritten(path, change):
    """Save again with header or tensors changed, as somebody who alters a file would."""
    with safetensors.safe_open(path, framework="pt") as opened:
        header = json.loads(opened.metadata()["atomlens"])
    tensors = load_file(path)
    change(header, tensors)
    save_file(tensors, path, metadata={"atomlens": json.dumps(header)})


def test_loaded_model_is_bitwise_the_same(model, path):
    atoms = molecule("CH3CH2OH")
    expected, found = model.predict(atoms), atomlens.load(path).predict(atoms)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_precision_is_kept(model, tmp_path, dtype):
    save_model(model.set_precision(dtype), tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").dtype == dtype


def test_header_says_what_it_is(path):
    header = read_header(path)
    assert header["elements"] == [1, 6, 8]
    assert header["units"] == {"energy": "eV", "atom_energies": "eV", "forces": "eV/Ang", "stress": "eV/Ang^3"}
    assert header["provenance"] == {"split": {"hash": "abc"}}


def test_saving_again_gives_the_same_bytes(path, tmp_path):
    save_model(load_model(path), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_examples_from_training_may_be_crystals(tmp_path):
    made = Model(ModelConfig(), [14])
    made.examples = (AtomicSystem.from_ase(bulk("Si")),)
    save_model(made, tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").examples[0].pbc.all()


def test_loading_leaves_random_numbers_alone(path):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_model(path)
    assert torch.equal(torch.rand(2), expected)


def test_charges_are_kept(tmp_path):
    save_model(Model(ModelConfig(), [1, 8], charges=[-1.0, 0.0]), tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors").charges == (-1.0, 0.0)


@pytest.mark.parametrize("keep", [0, 7, 100, 2000, -1])
def test_truncated(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="truncated or no model file"):
        load_model(path)


def test_one_altered_bit(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="was altered after it was saved"):
        load_model(path)


def test_altered_header(path):
    rewritten(path, lambda header, _: header["elements"].append(7))
    with pytest.raises(InputError, match="was altered after it was saved"):
        load_model(path)


def test_other_results_than_at_saving(path, monkeypatch):
    # A digest cannot see that code or hardware computes something else; the fingerprint can.
    from atomlens.representations import schnet

    monkeypatch.setattr(schnet, "shifted_softplus", lambda x: torch.nn.functional.silu(x))
    with pytest.raises(InputError, match="computes other energy than when it was saved"):
        load_model(path)


def test_rounding_of_another_machine_is_no_mismatch(path, monkeypatch):
    # Sums in another order change the last bits; a reordering of all pairs does just that.
    from atomlens.data import batch

    plain = batch.neighbour_list

    def shuffled(system, cutoff):
        centre, neighbour, shift = plain(system, cutoff)
        order = np.random.default_rng(0).permutation(len(centre))
        return centre[order], neighbour[order], shift[order]

    monkeypatch.setattr(batch, "neighbour_list", shuffled)
    load_model(path)


def test_newer_format(path):
    rewritten(path, lambda header, _: header.update(format_version=99))
    with pytest.raises(InputError, match="format version 99"):
        load_model(path)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        load_model(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="not one of atomlens"):
        load_model(tmp_path / "foreign.safetensors")


def test_a_failed_save_leaves_the_old_file(model, path, monkeypatch):
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr("atomlens.model_file.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
