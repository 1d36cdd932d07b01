"""Conversion factors against independent values (CODATA 2014 and 2018, the International System), not against ASE."""

import pytest

from atomlens.data.units import (
    CHARGE,
    DIPOLE,
    ENERGY,
    FORCE,
    INTERNAL_UNITS,
    KCAL_PER_MOL,
    LENGTH,
    STRESS,
    parse_unit,
    same_unit,
    to_internal,
)
from atomlens.errors import InputError

# Seven digits: CODATA editions differ in the eighth.
FACTORS = [
    ("eV", ENERGY, 1.0),
    ("meV", ENERGY, 1e-3),
    ("Ha", ENERGY, 27.211386),
    ("mHa", ENERGY, 0.027211386),
    ("Ry", ENERGY, 13.605693),
    ("kcal/mol", ENERGY, 0.043364104),
    ("kJ/mol", ENERGY, 0.010364270),
    ("Ang", LENGTH, 1.0),
    ("bohr", LENGTH, 0.529177211),
    ("nm", LENGTH, 10.0),
    ("e", CHARGE, 1.0),
    ("D", DIPOLE, 0.20819434),
    ("e*bohr", DIPOLE, 0.529177211),
    ("kcal/mol/Ang", FORCE, 0.043364104),
    ("Ha/bohr", FORCE, 51.422067),
    ("meV/nm", FORCE, 1e-4),
    ("GPa", STRESS, 6.2415091e-3),
    ("kbar", STRESS, 6.2415091e-4),
    ("Ha/bohr^3", STRESS, 183.63153),
]


@pytest.mark.parametrize(("unit", "dimension", "factor"), FACTORS)
def test_factor_agrees_with_tables(unit, dimension, factor):
    assert to_internal(unit, dimension, "it") == pytest.approx(factor, rel=1e-7)


def test_kcal_per_mol():
    # 4184 J / (6.02214076e23 * 1.602176634e-19 J)
    assert pytest.approx(4184 / (6.02214076e23 * 1.602176634e-19), rel=1e-7) == KCAL_PER_MOL


@pytest.mark.parametrize("dimension", INTERNAL_UNITS)
def test_internal_units_have_factor_one(dimension):
    assert to_internal(INTERNAL_UNITS[dimension], dimension, "it") == 1.0


@pytest.mark.parametrize(
    ("spelled", "plain"),
    [
        ("kcal mol^-1 Å^-1", "kcal/mol/Ang"),
        ("kcal mol⁻¹ Å⁻¹", "kcal/mol/Ang"),
        ("eV / Å³", "eV/Ang^3"),
        ("eV/A**3", "eV/Ang^3"),
        ("eV/\u212b", "eV/Ang"),  # the Ångström sign, not the letter
        ("e·Å", "e*Ang"),
        ("e a0", "e*bohr"),
        ("Hartree/Bohr", "Ha/bohr"),
        ("Ang*eV/Ang", "eV"),
        ("Debye", "D"),
    ],
)
def test_spellings_mean_one_unit(spelled, plain):
    assert same_unit(spelled, plain)


def test_division_binds_the_next_symbol_only():
    assert parse_unit("eV/Ang*Ang")[1] == ENERGY
    assert not same_unit("kcal/mol*Ang", "kcal/mol/Ang")


def test_different_units_are_different():
    assert not same_unit("eV", "Ha")
    assert not same_unit("eV", "eV/Ang")


@pytest.mark.parametrize(
    ("unit", "hint"),
    [
        ("kcal/mole", "unknown unit 'kcal/mole' ('mole' is not known); did you mean 'mol'?"),
        ("hartre", "did you mean 'Hartree'?"),
        ("eV/atm", "did you mean 'atom'?"),
        ("eV^x", "the power 'x' must be a whole number"),
        ("eV//Ang", "write a unit like"),
        ("", "write a unit like"),
    ],
)
def test_unknown_unit_is_named_with_the_nearest(unit, hint):
    with pytest.raises(InputError) as caught:
        parse_unit(unit)
    assert hint in str(caught.value)


def test_unit_of_another_dimension_is_refused():
    with pytest.raises(InputError, match=r"'kcal/mol' is not a unit of forces; give one like eV/Ang$"):
        to_internal("kcal/mol", FORCE, "forces")


def test_kcal_without_mol_is_no_energy_of_a_structure():
    with pytest.raises(InputError, match=r"'kcal' is not a unit of energy; give one like kcal/mol$"):
        to_internal("kcal", ENERGY, "energy")
