"""What readouts and models of several of them refuse, and what they say."""

import numpy as np
import pytest
from ase.build import bulk, molecule

from atomlens.data.batch import collate
from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.evaluation import check_known
from atomlens.model import Model, ModelConfig
from atomlens.readouts import AtomNetworkConfig, readouts_for

SMALL = {"name": "schnet", "features": 4, "interactions": 1, "cutoff": 4.0}


def model(*readouts, elements=(1, 8, 14)):
    return Model(ModelConfig.parse({"representation": SMALL, "readouts": list(readouts)}), list(elements))


@pytest.mark.parametrize(
    ("name", "words"),
    [("dipole", "dipole"), ("electronic_spatial_extent", "electronic spatial extent")],
)
def test_a_periodic_structure_is_named(name, words):
    made = model({"name": "energy"}, {"name": name})
    with pytest.raises(InputError, match=f"^structure 1: is periodic, where the {words} of this model has no meaning"):
        made.predict([molecule("H2O"), bulk("Si"), molecule("H2O")])


def test_a_slab_is_periodic_too():
    slab = bulk("Si")
    slab.pbc = (True, True, False)
    with pytest.raises(InputError, match="is periodic"):
        model({"name": "dipole"}).collate([slab])


@pytest.mark.parametrize(
    ("name", "words"), [("dipole", "a dipole moment"), ("electronic_spatial_extent", "a spatial extent")]
)
def test_a_ready_batch_is_looked_at_as_well(name, words):
    batch = collate([AtomicSystem.from_ase(atoms) for atoms in (molecule("H2O"), bulk("Si"))], 4.0)
    with pytest.raises(InputError, match=f"^structure 1: is periodic, where {words} has no meaning"):
        model({"name": name}).predict(batch)


def test_periodic_training_structures_are_named_by_their_place_in_the_file():
    crystals = [AtomicSystem.from_ase(atoms) for atoms in (molecule("H2O"), bulk("Si"))]
    data = Dataset.from_arrays(
        np.concatenate([entry.numbers for entry in crystals]),
        np.concatenate([entry.positions for entry in crystals]),
        np.array([3, 2]),
        {},
        cell=np.stack([entry.cell for entry in crystals]),
        pbc=np.stack([entry.pbc for entry in crystals]),
    )
    with pytest.raises(InputError, match="structure 1: is periodic"):
        check_known(model({"name": "dipole"}), data)


def test_models_without_multipoles_take_crystals():
    made = model({"name": "energy"}, {"name": "polarizability", "range": 3.0, "channels": 2})
    assert made.open_only == []
    assert made.predict(bulk("Si"))["polarizability"].shape == (3, 3)


@pytest.mark.parametrize(
    ("readouts", "name"),
    [
        ([{"name": "energy"}, {"name": "energy"}], "energy"),
        (
            [{"name": "intensive", "property": "homo"}, {"name": "intensive", "property": "homo", "hidden": 3}],
            "homo",
        ),
        (
            [
                {"name": "polarizability", "range": 3.0},
                {"name": "extensive", "property": "isotropic_polarizability"},
            ],
            "isotropic_polarizability",
        ),
    ],
)
def test_two_readouts_of_one_property(readouts, name):
    with pytest.raises(InputError, match=f"two readouts predict '{name}'; leave one of them out"):
        model(*readouts)


def test_two_properties_of_one_kind_go_together():
    made = model({"name": "intensive", "property": "homo"}, {"name": "intensive", "property": "lumo"})
    assert set(made.predict(molecule("H2O"))) == {"homo", "atom_homo", "lumo", "atom_lumo"}


def test_a_range_beyond_the_cutoff():
    with pytest.raises(InputError, match=r"polarizability needs neighbours within 4\.5 Å, beyond .* cutoff of 4 Å"):
        model({"name": "polarizability", "range": 4.5})
    model({"name": "polarizability", "range": 4.0})


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"name": "intensive", "property": "zero_point_energy"}, "no property of the readout 'intensive'; choose homo"),
        ({"name": "extensive", "property": "gap"}, "no property of the readout 'extensive'; choose zero_point_energy"),
        ({"name": "intensive"}, "property"),
        ({"name": "dipol"}, "unknown readout 'dipol'; did you mean 'dipole'"),
        ({"name": "dipole", "conserve": True}, "'conserve'; did you mean 'conserve_charge'"),
        ({"name": "polarizability", "channels": 0}, "channels"),
        ({"name": "polarizability", "range": 0.0}, "range"),
    ],
)
def test_wrong_settings_are_one_clear_sentence(entry, words):
    with pytest.raises(InputError, match=words) as caught:
        model(entry)
    assert "\n" not in str(caught.value)


def test_an_empty_list_of_readouts():
    with pytest.raises(InputError, match="readouts must be a list with at least one entry"):
        ModelConfig.parse({"readouts": []})


def test_forces_need_an_energy():
    made = model({"name": "dipole"})
    with pytest.raises(InputError, match="does not predict energies"):
        made(made.collate([molecule("H2O")]), forces=True)
    assert "forces" not in made.predict(molecule("H2O"))


class TestReadoutsFor:
    def test_one_for_each_property(self):
        names = ["energy", "forces", "stress", "dipole", "homo", "zero_point_energy", "electronic_spatial_extent"]
        found = [entry.model_dump().get("property", entry.name) for entry in readouts_for(names, AtomNetworkConfig())]
        assert found == ["energy", "dipole", "homo", "zero_point_energy", "electronic_spatial_extent"]

    def test_a_magnitude_is_a_dipole(self):
        assert [entry.name for entry in readouts_for(["dipole_magnitude"], AtomNetworkConfig())] == ["dipole"]

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_trace_comes_with_its_tensor(self, order):
        (only,) = readouts_for(["polarizability", "isotropic_polarizability"][::order], AtomNetworkConfig())
        assert only.name == "polarizability"

    def test_a_trace_alone_is_a_sum(self):
        (only,) = readouts_for(["isotropic_polarizability"], AtomNetworkConfig())
        assert (only.name, only.property) == ("extensive", "isotropic_polarizability")

    def test_labels_of_atoms_ask_for_nothing(self):
        assert readouts_for(["charges", "atom_energies"], AtomNetworkConfig()) == ()

    def test_all_get_the_networks_asked_for(self):
        networks = AtomNetworkConfig(hidden=(7, 5), activation="tanh", networks="per_element")
        for entry in readouts_for(["energy", "dipole", "polarizability", "gap", "electronic_spatial_extent"], networks):
            assert (entry.hidden, entry.activation, entry.networks) == ((7, 5), "tanh", "per_element")
