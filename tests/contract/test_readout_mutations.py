"""Faults of readouts are caught by the check that is there for them, also beside readouts without a fault."""

from dataclasses import replace

import pytest
import torch
from ase.build import molecule
from broken_readouts import BROKEN_READOUTS, Biased, Lopsided, TwiceAsLong
from contract_models import make_model, small_cases

from atomlens.ops.radial import cosine_cutoff, no_cutoff
from atomlens.readouts import polarizability
from atomlens.testing import CHECKS, Subject
from atomlens.testing.subject import blended


def broken_model(kind, readouts):
    model = make_model("default", readouts)
    chosen = next(readout for readout in model.readouts.values() if isinstance(readout, kind.__bases__))
    chosen.__class__ = kind
    return model


@pytest.mark.parametrize(("kind", "readouts", "check"), BROKEN_READOUTS)
def test_broken_readout_is_caught(kind, readouts, check):
    model = broken_model(kind, readouts)
    result = CHECKS[check].run(Subject.of(model, small_cases(model)))
    assert result.passed is False, str(result)
    assert not result.detail.startswith("raised"), result.detail


@pytest.mark.parametrize(
    ("kind", "check"), [(TwiceAsLong, "additivity"), (Biased, "rotation"), (Lopsided, "symmetric tensor")]
)
def test_a_fault_is_found_among_several_readouts(kind, check):
    model = broken_model(kind, "several of molecules")
    result = CHECKS[check].run(Subject.of(model, small_cases(model)))
    assert result.passed is False, str(result)
    assert "dipole" in result.detail or "polarizabilit" in result.detail


@pytest.mark.parametrize("readouts", ["dipole", "homo", "spatial extent"])
@pytest.mark.parametrize("check", ["cutoff value", "cutoff slope", "cutoff curvature"])
def test_dropped_cutoff_function_shows_in_every_property(readouts, check):
    model = make_model("default", readouts)
    filters = model.representation.filters
    filters._fade, filters.grid = no_cutoff, replace(filters.grid, fade="none")
    assert CHECKS[check].run(Subject.of(model, small_cases(model))).passed is False


def test_range_that_fades_with_a_cosine_has_no_second_derivative(monkeypatch):
    monkeypatch.setattr(polarizability, "smooth_cutoff", cosine_cutoff)
    model = make_model("default", "polarisability")
    subject = Subject.of(model, small_cases(model))
    assert CHECKS["cutoff slope"].run(subject).passed is True
    result = CHECKS["cutoff curvature"].run(subject)
    assert result.passed is False
    assert "at 3 Å" in result.detail


def test_coarse_tables_show_in_dipoles():
    model = make_model("default", "dipole")
    grid = replace(model.representation.filters.grid, intervals=64)
    model.representation.filters.grid = grid

    class Unrefined(type(model)):
        def refine_tables(self, margin=0.5):
            del margin  # it would raise the number of knots
            return [self.representation.filters.certify()]

    model.__class__ = Unrefined
    assert CHECKS["tables"].run(Subject.of(model, small_cases(model))).passed is False


def test_conserved_charges_have_no_probe():
    model = make_model("default", "dipole")
    result = CHECKS["probe"].run(Subject.of(model, small_cases(model)))
    assert result.passed is None
    assert "shared with a probe" in result.detail


def test_open_models_get_no_crystals():
    subject = Subject.of(make_model("default", "several of molecules"))
    assert subject.crystals == subject.slabs == ()
    result = CHECKS["supercell"].run(subject)
    assert (result.passed, result.detail) == (None, "the dipole has no meaning under periodic boundaries")


def test_a_molecule_of_two_atoms_suits_every_check():
    model = make_model("default", "several of molecules")
    subject = Subject.of(model, [molecule("CO")])
    for check in CHECKS.values():
        result = check.run(subject)
        assert result.passed is not False, str(result)


def test_one_component_is_what_it_is_when_blended():
    value = torch.tensor([1.5, -2.0], dtype=torch.float64)
    assert torch.equal(blended({"homo": value}, "homo"), value)
