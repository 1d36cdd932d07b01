"""Published weights become a model: values against plain numpy, and what is refused."""

import hashlib
import zipfile

import numpy as np
import pytest
import torch
from ase.build import molecule

import atomlens
from atomlens.convert import convert_published
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.model_file import load_model, save_model
from published import energy, random_arrays


@pytest.fixture
def atoms():
    made = molecule("CH3CH2OH")
    made.rattle(0.1, seed=3)
    return made


def write(folder, arrays):
    np.savez(folder / "weights.npz", **arrays)
    return folder / "weights.npz"


def published_energy(model, atoms):
    return model.set_exact_filters().predict(atoms)["energy"] / KCAL_PER_MOL


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"blocks": 1, "features": 8, "gaussians": 40, "hidden": 4},
        {"blocks": 2, "features": 3, "gaussians": 2, "hidden": 9, "rows": 100},
        {"features": 1, "hidden": 1},
    ],
    ids=str,
)
def test_sizes_are_read_from_the_arrays(tmp_path, atoms, sizes):
    arrays = random_arrays(**sizes)
    model = convert_published(write(tmp_path, arrays), elements=["C", "H", "O"])
    expected = energy(arrays, atoms.numbers, atoms.positions)
    assert published_energy(model, atoms) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("settings", [{"gaussian_range": 7.3}, {"gaussian_gamma": 2.5}, {"filter_activations": 1}])
def test_what_the_arrays_do_not_tell(tmp_path, atoms, settings):
    arrays = random_arrays()
    model = convert_published(write(tmp_path, arrays), elements=["C", "H", "O"], **settings)
    named = {"gaussian_gamma": "gamma", "filter_activations": "activations"}
    expected = energy(arrays, atoms.numbers, atoms.positions, **{named.get(k, k): v for k, v in settings.items()})
    assert published_energy(model, atoms) == pytest.approx(expected, rel=1e-13)
    assert abs(expected - energy(arrays, atoms.numbers, atoms.positions)) > 1e-3  # the setting matters


def test_free_atom_references_are_added_and_known(tmp_path, atoms):
    arrays = random_arrays()
    arrays["atomref.embeddings.W"][[1, 6]] = [[-313.0], [-23860.5]]
    model = convert_published(write(tmp_path, arrays), elements=["C", "H", "O"])
    expected = energy(arrays, atoms.numbers, atoms.positions)
    assert published_energy(model, atoms) == pytest.approx(expected, rel=1e-14)
    free = model.energy_readout.free_atoms
    assert free[6].item() == pytest.approx(-23860.5 * KCAL_PER_MOL, rel=1e-15)
    assert torch.isnan(free[8])


def test_model_file_holds_it(tmp_path, atoms):
    arrays = random_arrays()
    path = write(tmp_path, arrays)
    model = convert_published(path, elements=["H", "C", "O"], licence="MIT")
    save_model(model, tmp_path / "m.safetensors")
    loaded = load_model(tmp_path / "m.safetensors")
    assert loaded.elements == (1, 6, 8)
    assert loaded.dtype == torch.float64
    source = loaded.provenance["converted_from"]
    assert source["file"] == "weights.npz"
    assert source["licence"] == "MIT"
    assert source["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_array_equal(loaded.predict(atoms)["forces"], model.predict(atoms)["forces"])


def test_table_is_certified(tmp_path, atoms):
    model = convert_published(write(tmp_path, random_arrays()), elements=["C", "H", "O"])
    assert all(found.error <= 0.5 * found.bound for found in model.refine_tables())
    through_table = model.predict(atoms)["energy"]
    assert through_table == pytest.approx(model.set_exact_filters().predict(atoms)["energy"], abs=1e-5)


def test_knows_carbon_alone_unless_told(tmp_path, atoms):
    model = convert_published(write(tmp_path, random_arrays()))
    assert model.elements == (6,)
    with pytest.raises(InputError, match="an element that the model never saw"):
        model.predict(atoms)


def test_weights_are_those_of_the_file_in_either_precision(tmp_path):
    arrays = random_arrays()
    model = convert_published(write(tmp_path, arrays), precision="float32")
    rows = model.representation.embedding.weight
    np.testing.assert_array_equal(rows[:10].detach().numpy(), arrays["atom_embedding.embeddings.W"])
    assert not rows[10:].any()


def test_leaves_the_random_numbers_alone(tmp_path):
    path = write(tmp_path, random_arrays())
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    convert_published(path)
    assert torch.equal(torch.rand(3), expected)


def test_is_offered_by_the_package():
    assert atomlens.convert_published is convert_published


def without(name):
    return lambda arrays: arrays.pop(name)


def changed(name, change):
    return lambda arrays: arrays.update({name: change(arrays[name])})


REFUSED = {
    "no output network": (without("Dense_1.b"), "no array 'Dense_1.b'"),
    "no mean": (without("mean_per_atom"), "no array 'mean_per_atom'"),
    "a block lacks a layer": (without("interaction_1.CFConv.in2fac.W"), "no array 'interaction_1.CFConv.in2fac.W'"),
    "a gap in the blocks": (
        lambda arrays: [arrays.pop(name) for name in list(arrays) if name.startswith("interaction_1.")],
        "holds 'interaction_2.",
    ),
    "no blocks": (
        lambda arrays: [arrays.pop(name) for name in list(arrays) if name.startswith("interaction_")],
        "no array 'interaction_0.",
    ),
    "another part": (lambda arrays: arrays.update(charge=np.ones(3)), "holds 'charge'"),
    "transposed": (changed("Dense.W", np.transpose), r"'Dense.W' has shape \(4, 5\) where 'features' is 5"),
    "flat": (changed("interaction_0.SchNetFilter.Dense.W", np.ravel), r"where \(gaussians, features\) is needed"),
    "no axis": (changed("std_per_atom", np.squeeze), r"'std_per_atom' has shape \(\)"),
    "Gaussians differ": (changed("interaction_2.SchNetFilter.Dense.W", lambda values: values[1:]), "'gaussians' is 9"),
    "a single Gaussian": (
        lambda arrays: arrays.update({n: v[:1] for n, v in arrays.items() if n.endswith("SchNetFilter.Dense.W")}),
        "sizes that no published SchNet has",
    ),
    "more elements than there are": (
        lambda arrays: arrays.update({n: np.zeros((200, v.shape[1]), np.float32)
                                      for n, v in arrays.items() if "embeddings" in n}),
        "sizes that no published SchNet has",
    ),
    "whole numbers": (changed("Dense.W", lambda values: values.astype(int)), "'Dense.W' does not hold finite real"),
    "not finite": (changed("Dense.b", lambda values: values * np.nan), "'Dense.b' does not hold finite real numbers"),
    "no spread": (changed("std_per_atom", np.zeros_like), "'std_per_atom' is not above zero"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_arrays_that_cannot_be(tmp_path, case):
    change, said = REFUSED[case]
    arrays = random_arrays()
    change(arrays)
    with pytest.raises(InputError, match=said) as caught:
        convert_published(write(tmp_path, arrays))
    assert caught.value.file == str(tmp_path / "weights.npz")


def test_pickles_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").mkdir, ())

    arrays = random_arrays() | {"mean_per_atom": np.array([Bomb()], dtype=object)}
    with pytest.raises(InputError, match="pickled objects, which are never read"):
        convert_published(write(tmp_path, arrays))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_other_files(tmp_path, content):
    if content is None:
        with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
            archive.writestr("notes.txt", "no array")
    else:
        (tmp_path / "other.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"other\.npz: (is not a whole numpy archive|holds 'notes\.txt')"):
        convert_published(tmp_path / "other.npz")


def test_truncated(tmp_path):
    path = write(tmp_path, random_arrays())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="not a whole numpy archive"):
        convert_published(path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"elements": ["Cx"]}, "'Cx' is no chemical symbol"),
        ({"elements": ["X"]}, "'X' is no chemical symbol"),
        ({"elements": []}, "no elements given"),
        ({"elements": ["C", "Cl"]}, "embeddings up to element 9 only"),
        ({"gaussian_range": -1.0}, "above 0 Å"),
        ({"gaussian_range": float("inf")}, "above 0 Å"),
        ({"gaussian_gamma": 0.0}, "gaussian_gamma"),
        ({"filter_activations": 3}, "filter_activations"),
        ({"precision": "float16"}, "float32 or float64"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(tmp_path, settings, said):
    with pytest.raises(InputError, match=said):
        convert_published(write(tmp_path, random_arrays()), **settings)
