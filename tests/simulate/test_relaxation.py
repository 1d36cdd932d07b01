"""Relaxed structures are minima: forces and stress vanish, and any small step costs energy."""

import dataclasses
import json

import ase
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from pair_model import pair_model

from atomlens.errors import InputError
from atomlens.simulate.relaxation import RelaxationConfig, relax
from atomlens.simulate.relaxation_panel import bond_kinds, relaxation_panel, relaxed_panel


@pytest.fixture(scope="module")
def model():
    return pair_model()


def rattled(atoms, seed):
    atoms.rattle(0.02, seed=seed)
    return atoms


def test_forces_end_below_the_limit_and_energies_below_the_start(model):
    start = [rattled(molecule(name), seed) for seed, name in enumerate(["H2O", "CH4", "CH3OH"])]
    before = [atoms.positions.copy() for atoms in start]
    found = relax(model, start, RelaxationConfig(force=1e-4, steps=500))
    for atoms, positions, result in zip(start, before, found, strict=True):
        np.testing.assert_array_equal(atoms.positions, positions)
        assert result.converged
        predicted = model.predict(result.atoms)
        assert np.linalg.norm(predicted["forces"], axis=1).max() <= 1e-4
        assert float(predicted["energy"]) == pytest.approx(result.energy, abs=1e-9)
        assert float(model.predict(atoms)["energy"]) - result.energy == pytest.approx(result.gain, abs=1e-9)
        assert result.gain > 0


@pytest.mark.parametrize("optimiser", ["bfgs", "lbfgs", "fire"])
def test_optimisers_find_the_same_minimum(model, optimiser):
    start = rattled(molecule("H2O"), 1)
    found = relax(model, [start], RelaxationConfig(force=1e-5, optimiser=optimiser, steps=3000))[0]
    expected = relax(model, [start], RelaxationConfig(force=1e-5))[0]
    assert found.converged
    assert found.energy == pytest.approx(expected.energy, abs=1e-8)
    distances = [result.atoms.get_all_distances() for result in (found, expected)]
    np.testing.assert_allclose(*distances, atol=1e-3)


@pytest.mark.parametrize("pressure", [0.0, 5.0])
def test_cells_end_at_the_pressure_asked_for(model, pressure):
    config = RelaxationConfig(force=1e-3, stress=0.01, cell="full", pressure=pressure, steps=500)
    found = relax(model, [bulk("Si", cubic=True), rattled(bulk("Si", cubic=True), 2)], config)
    for result in found:
        assert result.converged
        stress = model.predict(result.atoms)["stress"] / units.GPa
        np.testing.assert_allclose(stress, -pressure * np.eye(3), atol=0.0101)
        # Independent of any stress: the enthalpy has its minimum at this volume.
        volumes, energies = [], []
        for strain in (-2e-3, -1e-3, 0.0, 1e-3, 2e-3):
            strained = result.atoms.copy()
            strained.set_cell(strained.cell * (1 + strain), scale_atoms=True)
            volumes.append(strained.get_volume())
            energies.append(float(model.predict(strained)["energy"]))
        slope = np.polyfit(np.array(volumes) - volumes[2], energies, 3)[2]
        assert -slope / units.GPa == pytest.approx(pressure, abs=0.02)


def test_isotropic_relaxation_keeps_the_shape(model):
    start = bulk("Si", cubic=True)
    start.set_cell(start.cell.array * [1.0, 1.02, 0.97], scale_atoms=True)
    found = relax(model, [start], RelaxationConfig(force=1e-2, stress=0.05, cell="isotropic"))[0]
    assert found.converged
    np.testing.assert_allclose(np.diag(found.atoms.cell.array / found.atoms.cell[0, 0]), [1.0, 1.02, 0.97], atol=1e-9)
    assert found.volume_change == pytest.approx(found.atoms.get_volume() / start.get_volume() - 1)


def test_who_does_not_converge_says_so(model):
    found = relax(model, [rattled(molecule("CH3OH"), 4)], RelaxationConfig(force=1e-6, steps=2))[0]
    assert (found.converged, found.steps) == (False, 2)
    assert found.force > 1e-6


def test_one_that_breaks_leaves_the_others(model, monkeypatch):
    real = model.predict
    doomed = molecule("CH4")

    def predict(batch, **options):
        if 6 in batch.numbers and predict.calls > 3:
            raise InputError("atoms fell into each other", structure=int(batch.system[batch.numbers == 6][0]))
        predict.calls += 1
        return real(batch, **options)

    predict.calls = 0
    monkeypatch.setattr(model, "predict", predict)
    kept = []
    found = relax(
        model,
        [rattled(molecule("H2O"), 1), doomed],
        RelaxationConfig(force=1e-3),
        keep=lambda place, _: kept.append(place),
    )
    assert found[0].converged
    assert not found[1].converged
    assert "fell into each other" in found[1].problem
    assert sorted(kept) == [0, 1]


def test_refusals(model):
    with pytest.raises(InputError, match=r"structure 1.*no cell"):
        relax(model, [bulk("Si"), molecule("H2O")], RelaxationConfig(cell="full"))
    with pytest.raises(InputError, match=r"structure 1.*never saw"):
        relax(model, [molecule("H2O"), ase.Atoms("Au2", [[0, 0, 0], [0, 0, 2.5]])])
    with pytest.raises(InputError, match="no structure"):
        relax(model, [])


def test_bonds_of_equal_length_are_one_kind():
    kinds = bond_kinds(molecule("CH3CH2OH"))
    assert {(kind["bond"], kind["count"]) for kind in kinds} == {("C-C", 1), ("C-O", 1), ("C-H", 5), ("H-O", 1)}
    assert all(kind["shortest"] <= kind["longest"] for kind in kinds)


def test_panels_tell_what_happened(model):
    start = [rattled(molecule("CH4"), 1), rattled(molecule("H2O"), 2)]
    config = RelaxationConfig(force=1e-3)
    found = relax(model, start, config)
    whole = relaxation_panel(["methane", "water"], found, config)
    assert "2 of 2 structures came to rest" in whole.reading
    assert all(check.passed for check in whole.checks)
    one = relaxed_panel(model, 1, start[1], found[1])
    assert one.checks[0].passed
    assert one.facts["point_group"] == "C2v"
    assert [(kind["bond"], kind["count"]) for kind in one.facts["bonds"]] == [("H-H", 1), ("H-O", 2)]
    json.dumps([whole.to_dict(), one.to_dict()], allow_nan=False)


def test_the_check_for_a_minimum_fails_on_a_slope(model):
    start = molecule("H2O")
    result = relax(model, [start], RelaxationConfig(steps=0, force=1e-9))[0]
    assert not relaxed_panel(model, 0, start, result).checks[0].passed
    whole = relaxation_panel(["water"], [result], RelaxationConfig(steps=0, force=1e-9))
    assert not whole.checks[0].passed


def test_a_reaction_on_the_way_is_told(model):
    start = molecule("CH4")
    (result,) = relax(model, [start], RelaxationConfig(steps=0, force=1e3))
    whole = relaxed_panel(model, 0, start, result)
    torn = result.atoms.copy()
    torn.positions[1] *= 4.0
    panel = relaxed_panel(model, 0, start, dataclasses.replace(result, atoms=torn))
    for found, broken in ((whole, []), (panel, [[0, 1]])):
        assert found.facts["bonds_broken"] == broken
        assert found.facts["bonds_made"] == []
        assert ("1 bond broke" in found.reading) is bool(broken)
        assert next(check for check in found.checks if check.name == "the same molecule").passed is not bool(broken)
    assert "C 0-H 1" in panel.reading


def test_a_single_atom_has_nothing_to_distort(model):
    start = ase.Atoms("O")
    (result,) = relax(model, [start])
    assert relaxed_panel(model, 0, start, result).checks == ()
