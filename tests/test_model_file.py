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

    basis = schnet.gaussian_basis
    monkeypatch.setattr(schnet, "gaussian_basis", lambda *arguments: 0.9 * basis(*arguments))
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


class TestTables:
    """A file never holds a table that is worse than its bound, and says how good it is."""

    def certificate(self, path):
        (found,) = read_header(path)["tables"]
        return found

    def test_certificate_is_that_of_the_table(self, model, path):
        (expected,) = model.refine_tables()
        assert self.certificate(path) == expected.to_dict()
        assert expected.error <= expected.bound == 1e-6

    def test_weights_set_by_hand_get_a_table_that_is_good_enough(self, model, tmp_path):
        steep = model.representation.filters.first_weight
        with torch.no_grad():
            steep.mul_(30.0)
            model.energy_readout.free_atoms.nan_to_num_()  # so that values can be compared
        before = {name: value.clone() for name, value in model.state_dict().items()}
        coarse = model.representation.filters.certify()
        assert coarse.error > coarse.bound
        save_model(model, tmp_path / "m.safetensors")
        found = self.certificate(tmp_path / "m.safetensors")
        assert found["error"] <= found["bound"]
        assert found["intervals"] > coarse.intervals
        changed = [name for name, value in model.state_dict().items() if value.tolist() != before[name].tolist()]
        assert changed == ["representation.filters._extra_state"]
        # The file's table is measured here anew, apart from what its header says.
        loaded = load_model(tmp_path / "m.safetensors").representation.filters
        assert loaded.grid.intervals == found["intervals"]
        assert loaded.certify().error <= loaded.accuracy

    def test_a_larger_number_of_knots_than_needed_is_kept(self, model, tmp_path):
        model.refine_tables(1e-3)
        fine = model.representation.filters.grid.intervals
        save_model(model, tmp_path / "m.safetensors")
        assert self.certificate(tmp_path / "m.safetensors")["intervals"] == fine
        assert load_model(tmp_path / "m.safetensors").representation.filters.grid.intervals == fine

    def test_a_model_set_to_exact_filters_is_saved_as_one_with_a_table(self, model, path, tmp_path):
        save_model(load_model(path, exact_filters=True), tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
        model.set_exact_filters()
        save_model(model, tmp_path / "exact.safetensors")
        assert (tmp_path / "exact.safetensors").read_bytes() == path.read_bytes()
        assert model.representation.filters.exact

    def test_a_model_without_tables(self, tmp_path):
        config = ModelConfig.parse({"representation": {"name": "schnet", "filter_accuracy": None}})
        save_model(Model(config, [1, 8]), tmp_path / "m.safetensors")
        header = read_header(tmp_path / "m.safetensors")
        assert header["tables"] == []
        assert header["table_effect"] == {}
        for exact in (False, True):
            assert load_model(tmp_path / "m.safetensors", exact_filters=exact).representation.filters.exact

    def test_no_file_where_no_table_is_good_enough(self, model, tmp_path):
        with torch.no_grad():
            model.representation.filters.first_weight.fill_(float("nan"))
        with pytest.raises(InputError, match="no table meets filter_accuracy"):
            save_model(model, tmp_path / "m.safetensors")
        assert not list(tmp_path.iterdir())

    def test_altered_certificate(self, path):
        rewritten(path, lambda header, _: header["tables"][0].update(error=1e-9))
        with pytest.raises(InputError, match="was altered after it was saved"):
            load_model(path)

    def test_altered_number_of_intervals(self, path):
        name = "representation.filters._extra_state"
        rewritten(path, lambda _, tensors: tensors.update({name: tensors[name] // 2}))
        with pytest.raises(InputError, match="was altered after it was saved"):
            load_model(path)


class TestExactFilters:
    """``load_model(..., exact_filters=True)`` is checked as strictly as the table."""

    def test_differs_from_the_table_by_what_the_header_says(self, path):
        exact, tabulated = load_model(path, exact_filters=True), load_model(path)
        assert exact.representation.filters.exact
        assert not tabulated.representation.filters.exact
        effect = read_header(path)["table_effect"]
        assert set(effect) == {"energy", "atom_energies", "forces"}
        for name in effect:
            pairs = zip(*(made.predict(list(made.examples)) for made in (exact, tabulated)), strict=True)
            off = max(float(np.abs(one[name] - other[name]).max()) for one, other in pairs)
            assert off == pytest.approx(effect[name], rel=1e-6)

    def test_lies_within_the_bound(self, model, tmp_path):
        # A filter off by 1e-6 of its range changes energies and forces by about as large a share of their size; slopes
        # of filters are off by a few times that per knot spacing. In float64, where rounding does not cover it.
        save_model(model.set_precision(torch.float64), tmp_path / "m.safetensors")
        atoms = molecule("CH3CH2OH")
        exact = load_model(tmp_path / "m.safetensors", exact_filters=True).predict(atoms)
        tabulated = load_model(tmp_path / "m.safetensors").predict(atoms)
        references = model.energy_readout.references[torch.from_numpy(atoms.numbers)].sum()
        learned = np.abs(exact["energy"] - references.numpy())
        assert 0.0 < np.abs(exact["energy"] - tabulated["energy"]) < 1e-5 * learned
        assert 0.0 < np.abs(exact["forces"] - tabulated["forces"]).max() < 1e-3 * np.abs(exact["forces"]).max()

    def test_other_results_than_at_saving(self, path, monkeypatch):
        # Convolutions by tables go another way, and see nothing of this.
        from atomlens.representations import schnet

        plain = schnet.cfconv
        monkeypatch.setattr(schnet, "cfconv", lambda *args, **words: (1.0 + 3e-4) * plain(*args, **words))
        load_model(path)
        with pytest.raises(InputError, match=r"computes other .* than when it was saved"):
            load_model(path, exact_filters=True)
