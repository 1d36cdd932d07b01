"""What is read to be simulated, and what is said about models that never learned forces."""

import pytest
from ase.build import molecule
from ase.io import write

from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.study.simulation.subject import read_simulated


@pytest.fixture
def waters(tmp_path):
    write(tmp_path / "waters.xyz", [molecule("H2O"), molecule("H2O")])
    return tmp_path / "waters.xyz"


@pytest.fixture
def model():
    return Model(ModelConfig.parse({"representation": {"name": "schnet", "features": 8}}), [1, 8])


@pytest.mark.parametrize(
    ("means", "warned"), [({"energy": -1.0}, True), ({"energy": -1.0, "forces": 0.0}, False), (None, False)]
)
def test_models_that_never_learned_forces_are_told_of(model, waters, capsys, means, warned):
    model.provenance = {} if means is None else {"training_means": means}
    read_simulated(model, "m", waters)
    assert ("not on forces" in capsys.readouterr().err) is warned


def test_a_structure_is_chosen(model, waters):
    found = read_simulated(model, "m", waters)
    assert found.names == ["0 H2O", "1 H2O"]
    assert found.one(1)[0] == 1
    with pytest.raises(InputError, match=r"waters.xyz: holds 2 structures"):
        found.one(None)
    with pytest.raises(InputError, match="no structure 2"):
        found.one(2)
