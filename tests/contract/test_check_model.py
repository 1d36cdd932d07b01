"""The call that outsiders make: what it returns, raises, and leaves alone."""

import dataclasses

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from contract_models import make_model, small_cases

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.testing import CHECKS, CheckResult, Subject, check_model
from atomlens.testing.derivatives import STEPS, force_slopes
from atomlens.testing.structures import clear_of_cutoff, crystals, molecules, slabs, with_elements


class TurnedAround(torch.nn.Module):
    """A readout whose terms do not add up."""

    quantity, atom_quantity = "energy", "atom_energies"
    derived_quantities, open_only, cutoff = (), False, None

    def __init__(self, readout):
        super().__init__()
        self.inner = readout
        self.references, self.scale = readout.references, readout.scale

    def forward(self, features, batch):
        output = self.inner(features, batch)
        return dataclasses.replace(output, atoms=output.atoms + 1e-3)

    def total(self, terms, batch):
        return self.inner.total(terms, batch)


def broken_model():
    model = make_model()
    model.readouts["energy"] = TurnedAround(model.readouts["energy"])
    return model


def test_results_are_complete_and_json_ready():
    results = check_model(make_model())
    assert [result.name for result in results] == list(CHECKS)
    for result in results:
        assert dataclasses.is_dataclass(result)
        assert result.passed in (True, None)
        assert (result.value is None) == (result.passed is None)
        assert result.what
    assert results[0].unit.startswith("eV")


def test_violations_are_listed_with_value_and_limit():
    with pytest.raises(
        AssertionError, match=r"violates .* properties:\n(.*\n)*additivity: VIOLATED.*: 0\.00\d+ eV, at most"
    ):
        check_model(broken_model(), cases=small_cases(make_model()))


def test_not_strict_returns_the_violations():
    found = check_model(broken_model(), cases=small_cases(make_model()), strict=False)
    results = {result.name: result for result in found}
    assert results["additivity"].passed is False
    atoms = results["additivity"].value / 1e-3  # 1 meV for each atom of the structure
    assert atoms == pytest.approx(round(atoms), abs=1e-6)
    assert round(atoms) in (2, 3, 4, 6)
    assert results["translation"].passed is True


def test_nothing_of_the_users_is_touched():
    model = make_model().train()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    generator, threads = torch.random.get_rng_state(), torch.get_num_threads()
    with torch.no_grad():
        check_model(model, cases=small_cases(model))
        assert not torch.is_grad_enabled()
    assert model.training
    assert model.dtype == torch.float32
    assert all(parameter.grad is None for parameter in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=0, atol=0, equal_nan=True)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, torch.float32)


def test_own_cases_take_the_place_of_the_made_ones():
    methanol = molecule("CH3OH")
    diamond = bulk("C", "diamond", a=3.6)
    diamond.rattle(0.05, seed=0)
    cases = [methanol, AtomicSystem.from_ase(diamond)]
    subject = Subject.of(make_model(), cases)
    assert subject.molecules == (methanol,)
    assert subject.crystals == (diamond,)
    assert subject.slabs
    before = methanol.copy()
    check_model(make_model(), cases=cases)
    assert methanol == before


def test_own_cases_may_be_single_atoms():
    assert all(result.passed is not False for result in check_model(make_model(), cases=[ase.Atoms("O")]))


def test_impossible_cases_are_refused():
    with pytest.raises(InputError, match="structure 1, atom 0: Xe is an element that the model never saw"):
        check_model(make_model(), cases=[molecule("H2O"), ase.Atoms("Xe")])


def test_a_model_that_breaks_down_violates_and_does_not_stop_the_rest():
    class Choking(type(make_model().representation)):
        def forward(self, batch):
            if len(batch.pairs.centre) == 0:
                raise RuntimeError("no pairs")
            return super().forward(batch)

    model = make_model()
    model.representation.__class__ = Choking
    results = {result.name: result for result in check_model(model, cases=small_cases(model), strict=False)}
    assert results["single atom"].passed is False
    assert results["far apart"].detail == "raised RuntimeError: no pairs"
    assert results["translation"].passed is True


def test_result_reads_as_a_sentence():
    fine = CheckResult("a", "b holds", 1.5e-9, 1e-8, "eV", True, "energy of H2O")
    assert str(fine) == "a: ok, b holds: 1.5e-09 eV, at most 1e-08 allowed (energy of H2O)"
    assert str(CheckResult("a", "b", None, None, "", None, "no cutoff")) == "a: not applicable (no cutoff)"


@pytest.mark.parametrize("cutoff", [2.0, 5.0, 8.0])
@pytest.mark.parametrize("elements", [[14], [1, 6, 7, 8], [3, 11, 17]])
def test_made_structures_suit_the_model(elements, cutoff):
    made = [*molecules(elements), *crystals(elements, cutoff), *slabs(elements, cutoff)]
    for atoms in made:
        assert set(atoms.numbers) <= set(elements)
        distances = atoms.get_all_distances(mic=True)[np.triu_indices(len(atoms), 1)]
        assert len(distances) == 0 or distances.min() > 0.5
        assert AtomicSystem.from_ase(atoms)
    assert all(atoms.cell.lengths().min() < cutoff for atoms in crystals(elements, cutoff))
    assert any(clear_of_cutoff(atoms, cutoff, 0.025) is not None for atoms in crystals(elements, cutoff))


def test_known_elements_are_kept():
    assert set(with_elements(molecule("CH3CH2OH"), [1, 6, 8, 9]).symbols) == {"C", "H", "O"}
    assert set(with_elements(molecule("CH3CH2OH"), [14]).numbers) == {14}


def test_force_slopes_for_figures_approach_the_forces():
    subject = Subject.of(make_model())
    differences, claimed = force_slopes(subject, subject.molecules[0])
    assert differences.shape == (len(STEPS), len(claimed))
    np.testing.assert_allclose(differences[-1], claimed, atol=1e-3 * np.abs(claimed).max())
    assert np.abs(differences[0] - claimed).max() > 50 * np.abs(differences[-1] - claimed).max()
