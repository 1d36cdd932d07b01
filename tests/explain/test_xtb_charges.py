import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule

from atomlens.errors import InputError
from atomlens.explain.electrostatics import xtb_charges as module
from atomlens.explain.electrostatics.xtb_charges import xtb_charges


def charged(name, charge):
    made = molecule(name)
    made.info["charge"] = charge
    return made


def test_says_how_to_get_tblite(monkeypatch):
    monkeypatch.setattr(module, "has_tblite", lambda: False)
    with pytest.raises(InputError, match=r"pip install 'atomlens\[xtb\]'"):
        xtb_charges([molecule("H2O")])


def test_are_those_of_tblites_own_calculator():
    tblite = pytest.importorskip("tblite.ase")
    structures = [molecule("H2O"), molecule("CH3OH"), molecule("NO"), charged("H2O", 1.0), charged("OH", -1.0)]
    found = xtb_charges(structures)
    assert not found.failed
    for place, structure in enumerate(structures):
        charge = structure.info.get("charge", 0.0)
        odd = (structure.numbers.sum() - charge) % 2
        structure.calc = tblite.TBLite(method="GFN2-xTB", charge=charge, multiplicity=int(1 + odd), verbosity=0)
        result = found.found[place]
        np.testing.assert_allclose(result.charges, structure.get_charges(), atol=1e-8)
        np.testing.assert_allclose(result.dipole, structure.get_dipole_moment(), atol=1e-8)
        assert result.charges.sum() == pytest.approx(charge, abs=1e-9)


def test_water_is_what_it_is_known_to_be():
    pytest.importorskip("tblite")
    water = xtb_charges([molecule("H2O")]).found[0]
    assert water.charges[0] < -0.4
    assert water.charges[1] == pytest.approx(water.charges[2], abs=1e-6)
    # 1.85 D in the gas phase; GFN2-xTB is within a quarter of dipole moments of small molecules.
    assert np.linalg.norm(water.dipole) / units.Debye == pytest.approx(1.85, rel=0.25)


def test_what_cannot_be_treated_is_left_out_with_its_reason():
    pytest.importorskip("tblite")
    structures = [
        bulk("NaCl", "rocksalt", a=5.6),
        molecule("H2O"),
        charged("H2O", 0.5),
        Atoms("U"),
        charged("H2O", 12.0),
        molecule("CH4"),
    ]
    found = xtb_charges(structures)
    assert sorted(found.found) == [1, 5]
    assert len(found.found[5].charges) == 5
    reasons = {0: "periodic", 2: "no whole number", 3: "86", 4: "do not add up to 12 e"}
    assert sorted(found.failed) == sorted(reasons)
    for place, words in reasons.items():
        assert words in found.failed[place]


def test_a_child_that_dies_costs_one_molecule(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text(
        "import json, os, sys\n"
        "for each in json.load(sys.stdin):\n"
        "    if 8 in each['numbers']:\n"
        "        os._exit(3)\n"
        "    count = len(each['numbers'])\n"
        "    print(json.dumps({'charges': [each['charge'] / count] * count, 'dipole': [0.0, 0.0, 1.0]}), flush=True)\n"
    )
    monkeypatch.setattr(module, "_PROGRAM", program)
    monkeypatch.setattr(module, "has_tblite", lambda: True)
    found = xtb_charges([molecule("CH4"), molecule("H2O"), molecule("H2O"), molecule("NH3")], title="t")
    assert found.failed == {1: "tblite broke down", 2: "tblite broke down"}
    assert [len(found.found[place].charges) for place in (0, 3)] == [5, 4]
    np.testing.assert_allclose(found.found[0].dipole, [0.0, 0.0, units.Bohr])


def test_nothing_asked_is_nothing_found():
    pytest.importorskip("tblite")
    found = xtb_charges([])
    assert not found.found
    assert not found.failed
