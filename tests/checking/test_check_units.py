"""Units by plausibility: lengths, energies, forces and other labels."""

import clean_sets
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule

from atomlens.checking.composition import composition_groups, fit_composition
from atomlens.checking.energies import check_energies, free_atom_total
from atomlens.checking.forces import check_forces
from atomlens.checking.lengths import check_lengths, length_ratios, mistake_of
from atomlens.checking.properties import RULES, check_properties
from atomlens.checking.springs import springs, temperature
from atomlens.data.dataset import Dataset

KCAL, KJ = units.kcal / units.mol, units.kJ / units.mol


@pytest.fixture(scope="module")
def ethanol():
    return clean_sets.hot_ethanol()


@pytest.fixture(scope="module")
def molecules():
    return clean_sets.small_molecules()


@pytest.mark.parametrize(
    "systems",
    [
        [bulk("NaCl", "rocksalt", a=5.64), bulk("Cs", a=6.14), bulk("MgO", "rocksalt", a=4.21), bulk("W")],
        [Atoms("H2", [[0, 0, 0], [0, 0, 0.74]])] * 3,
        [bulk("Ar", a=5.26), bulk("Ne", a=4.43)],
        [molecule("LiF"), molecule("Na2"), molecule("F2"), molecule("N2")],
    ],
)
def test_no_alarm_by_unusual_bonds(systems):
    """Ionic crystals, alkali metals, hydrogen, noble gases and weak or multiple bonds."""
    assert all(outcome.status in ("ok", "skipped") for outcome in check_lengths(clean_sets.of_atoms(systems, {})))


def test_ratio_by_hand():
    data = clean_sets.of_atoms([bulk("NaCl", "rocksalt", a=5.64), Atoms("Ar"), molecule("CH4")], {})
    ratios = length_ratios(data)
    assert ratios[0] == pytest.approx(2.82 / 2.68)
    assert np.isnan(ratios[1])
    assert ratios[2] == pytest.approx(molecule("CH4").get_distance(0, 1) / 1.07)


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1 / units.Bohr, "Bohr read as Å"),
        (units.Bohr, "as if they had been Bohr"),
        (units.Bohr**2, "converted twice"),
        (0.1, "nm read as Å"),
        (10.0, "Å read as nm"),
        (100.0, "pm read as Å"),
    ],
)
def test_lengths_of_a_whole_set(molecules, factor, words):
    (found,) = check_lengths(clean_sets.scaled(molecules, factor))
    assert found.status == "fault"
    assert words in found.sentence
    assert mistake_of(factor).factor == pytest.approx(factor)


@pytest.mark.parametrize("make", [clean_sets.small_molecules, clean_sets.crystals, clean_sets.hot_ethanol])
@pytest.mark.parametrize("factor", [1 / units.Bohr, units.Bohr])
def test_single_frames_in_other_units(make, factor):
    data = make()
    for frame in (0, len(data) // 2, len(data) - 1):
        found = [each for each in check_lengths(clean_sets.scaled(data, factor, [frame])) if each.status == "fault"]
        assert [each.structures.tolist() for each in found] == [[frame]]


def test_a_crystal_that_is_pulled_apart_is_no_fault():
    frames = [bulk("Cu", a=a) for a in np.geomspace(3.4, 8.0, 40)] + [bulk("Cu")] * 40
    found = [each for each in check_lengths(clean_sets.of_atoms(frames, {})) if each.status != "ok"]
    assert {each.status for each in found} == {"warning"}


@pytest.mark.parametrize(
    ("number", "energy"), [(6, -37.8450), (8, -75.0673), (10, -128.9376), (14, -289.359), (18, -527.540)]
)
def test_totals_of_free_atoms(number, energy):
    """Against non-relativistic totals of atoms with correlation (Chakravorty et al., Phys. Rev. A 1993, 47, 3649)."""
    assert float(free_atom_total(np.array(number))) / units.Hartree == pytest.approx(energy, rel=8e-3)


def test_robust_fit_ignores_outliers(molecules):
    energy = molecules.labels["energy"].copy()
    energy[::10] += 500.0
    fit = fit_composition(molecules, energy, extensive=True)
    for element, term in zip(fit.elements, fit.terms, strict=True):
        assert term == pytest.approx(units.Hartree * clean_sets.FREE_ATOMS[element], abs=12.0)
    assert (np.abs(fit.residuals[::10] - 500.0) < 10.0).all()
    assert fit.resolved.all()


def test_terms_of_one_molecule_are_not_resolved(ethanol):
    fit = fit_composition(ethanol, ethanol.labels["energy"], extensive=True)
    assert not fit.resolved.any()


def test_groups_of_equal_composition():
    isomers = [molecule("CH3CH2OH"), molecule("CH3OCH3"), molecule("H2O"), bulk("Cu"), molecule("CH3CH2OH")]
    data = clean_sets.of_atoms(isomers, {})
    assert composition_groups(data).tolist() == [0, 0, 1, 2, 0]


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1 / KCAL, "kcal/mol read as eV"),
        (1 / KJ, "kJ/mol read as eV"),
        (units.Hartree, "Ha converted twice"),
        (units.Hartree / KCAL, "kcal/mol read as Ha"),
        (1 / units.Hartree, "Ha read as eV"),
        (KCAL, "eV read as kcal/mol"),
        (2.0, "Ry read as Ha"),
        (-1.0, "sign is wrong"),
    ],
)
@pytest.mark.parametrize("kind", ["frames", "molecules"])
def test_totals_in_other_units(ethanol, molecules, factor, words, kind):
    data = ethanol if kind == "frames" else molecules
    (found,) = check_energies(clean_sets.with_label(data, energy=factor * data.labels["energy"]))
    # Twice the energy of one molecule could be two of them, and nothing else tells.
    assert found.status == "fault"
    assert words in found.sentence


@pytest.mark.parametrize(
    ("factor", "words", "status"),
    [
        (1 / KCAL, "kcal/mol read as eV", "fault"),
        (1 / KJ, "kJ/mol read as eV", "fault"),
        (1 / units.Hartree, "Ha read as eV", "fault"),
        (-1.0, "counted positive", "warning"),
    ],
)
def test_atomisation_energies_in_other_units(factor, words, status):
    data = clean_sets.small_molecules(total=False)
    (found,) = check_energies(clean_sets.with_label(data, energy=factor * data.labels["energy"]))
    assert found.status == status
    assert words in found.sentence


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_heat_tells_the_unit_of_shifted_energies(shift):
    """Energies from an arbitrary zero tell nothing by their size, but vary as equipartition says.

    At 150 K frames are nearly harmonic. The stiffness of the textbook, 15 % below that of these springs, cancels in the
    product; 400 energies tell their deviation to 3.5 %.
    """
    ethanol = clean_sets.hot_ethanol(kelvin=150.0)
    energy = ethanol.labels["energy"] - ethanol.labels["energy"].mean() - shift
    (found,) = check_energies(clean_sets.with_label(ethanol, energy=energy))
    assert found.status == "ok"
    assert found.facts["kelvin_of_bonds"] == pytest.approx(150.0, rel=0.2)
    assert found.facts["kelvin_of_bonds"] * found.facts["spread_over_thermal"] == pytest.approx(150.0, rel=0.1)
    (found,) = check_energies(clean_sets.with_label(ethanol, energy=energy / KCAL))
    assert (found.status, "kcal/mol read as eV" in found.sentence) == ("warning", True)


def test_temperature_of_frames():
    cold, hot = (clean_sets.hot_ethanol(kelvin=kelvin, seed=3) for kelvin in (200.0, 1000.0))
    assert temperature(cold, np.arange(400)) == pytest.approx(200.0, rel=0.15)
    assert temperature(hot, np.arange(400)) == pytest.approx(1000.0, rel=0.15)


def test_springs_of_known_stiffness(ethanol):
    """Bonds to hydrogen of 31 eV/Å², and what the other springs to the same hydrogen add."""
    (carbon,) = [spring for spring in springs(ethanol) if spring.partner == 6]
    assert 31.0 < carbon.stiffness < 39.0
    assert carbon.bonds == 2000


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1 / KCAL, "kcal/mol/Å read as eV/Å"),
        (units.Bohr / units.Hartree, "Ha/bohr read as eV/Å"),
        (-1.0, "sign is reversed"),
        (units.Hartree / units.Bohr / KCAL, "kcal/mol/Å read as Ha/bohr"),
        (0.0, "All forces are zero"),
    ],
)
def test_forces_in_other_units(ethanol, factor, words):
    (found,) = check_forces(clean_sets.with_label(ethanol, forces=factor * ethanol.labels["forces"]))
    assert found.status == "fault"
    assert words in found.sentence


def test_forces_of_metals_by_size():
    data = clean_sets.crystals()
    forces = np.random.default_rng(0).normal(size=data.positions.shape)
    assert [each.status for each in check_forces(clean_sets.with_label(data, forces=forces))] == ["ok"]
    assert [each.status for each in check_forces(clean_sets.with_label(data, forces=forces / KCAL))] == ["warning"]


# QM9's methane, ammonia, water, acetylene and hydrogen cyanide (Ramakrishnan et al. 2014, the heads of its files).
QM9 = {
    "CH4": (0.0, 13.21, -0.3877, 0.1171, 0.5048, 35.3641, 0.044749, 6.469),
    "NH3": (1.6256, 9.46, -0.257, 0.0829, 0.3399, 26.1563, 0.034358, 6.316),
    "H2O": (1.8511, 6.31, -0.2928, 0.0687, 0.3615, 19.0002, 0.021375, 6.002),
    "C2H2": (0.0, 16.28, -0.2845, 0.0506, 0.3351, 59.5248, 0.026841, 8.574),
    "HCN": (2.8937, 12.99, -0.3604, 0.0191, 0.3796, 48.7476, 0.016601, 6.278),
}


def qm9_labels():
    mu, alpha, homo, lumo, gap, r2, zpe, cv = np.array(list(QM9.values())).T
    bohr, hartree = units.Bohr, units.Hartree
    return {
        "dipole_magnitude": mu * units.Debye,
        "isotropic_polarizability": alpha * bohr**3,
        "homo": homo * hartree,
        "lumo": lumo * hartree,
        "gap": gap * hartree,
        "electronic_spatial_extent": r2 * bohr**2,
        "zero_point_energy": zpe * hartree,
        "heat_capacity": cv * 1e-3 * KCAL,
    }


def of_qm9(**others):
    return clean_sets.of_atoms([molecule(name) for name in QM9], {**qm9_labels(), **others})


def test_properties_of_qm9_are_plausible():
    found = check_properties(of_qm9())
    assert {outcome.status for outcome in found} == {"ok"}
    assert {outcome.facts["label"] for outcome in found if "label" in outcome.facts} == set(qm9_labels()) - {"lumo"}


@pytest.mark.parametrize(
    ("label", "factor", "words"),
    [
        ("dipole_magnitude", 1 / units.Debye, "Debye read as e·Å"),
        ("isotropic_polarizability", units.Bohr**-3, "bohr³ read as Å³"),
        ("electronic_spatial_extent", units.Bohr**-2, "bohr² read as Å²"),
        ("zero_point_energy", 1 / units.Hartree, "Ha read as eV"),
        ("zero_point_energy", 1 / KCAL, "kcal/mol read as eV"),
        ("heat_capacity", 1e3 / KCAL, "cal/mol/K read as eV/K"),
        ("heat_capacity", 1e3 / KJ, "J/mol/K read as eV/K"),
        ("homo", 1 / units.Hartree, "Ha read as eV"),
        ("homo", -1.0, "of the other sign"),
        ("gap", 1 / units.Hartree, "Ha read as eV"),
    ],
)
def test_properties_in_other_units(label, factor, words):
    found = check_properties(of_qm9(**{label: factor * qm9_labels()[label]}))
    (warned,) = [each for each in found if each.status == "warning" and each.facts.get("label") == label]
    assert words in warned.sentence


def test_stress_and_formation_energy():
    data = clean_sets.crystals()
    rng = np.random.default_rng(1)
    stress = rng.normal(scale=0.02, size=(len(data), 3, 3))
    stress += stress.transpose(0, 2, 1)
    formation = rng.uniform(-3.0, -0.1, len(data))
    good = clean_sets.with_label(data, stress=stress, formation_energy=formation)
    assert {each.status for each in check_properties(good)} == {"ok"}
    kbar = clean_sets.with_label(data, stress=stress / (0.1 * units.GPa))
    (found,) = check_properties(kbar)
    assert (found.status, "kbar read as eV/Å³" in found.sentence) == ("warning", True)


def test_formation_energies_of_whole_cells():
    systems = [bulk("NaCl", "rocksalt", a=5.64).repeat((n, 1, 1)) for n in range(2, 40)]
    sizes = np.array([len(atoms) for atoms in systems])
    energies = -2.1 + 0.05 * np.random.default_rng(0).normal(size=len(sizes))
    (found,) = check_properties(clean_sets.of_atoms(systems, {"formation_energy": energies * sizes}))
    assert (found.status, "of whole cells" in found.sentence) == ("warning", True)


def test_labels_that_follow_from_each_other():
    labels = qm9_labels()
    found = check_properties(of_qm9(gap=labels["gap"] + np.array([0, 0, 0.5, 0, 0])))
    (wrong,) = [each for each in found if each.status == "warning"]
    assert wrong.structures.tolist() == [2]
    assert "by 0.5" in wrong.sentence
    swapped = check_properties(of_qm9(homo=labels["lumo"], lumo=labels["homo"]))
    assert any(each.status == "fault" and "exchanged" in each.sentence for each in swapped)


def test_sum_of_charges():
    data = clean_sets.of_atoms([molecule("H2O")] * 3, {"charges": np.tile([-0.8, 0.4, 0.4], 3)})
    assert [each.status for each in check_properties(data)] == ["ok"]
    charged = Dataset(**{**vars(data), "charge": np.array([0.0, 1.0, 0.0])})
    (found,) = check_properties(charged)
    assert (found.status, found.structures.tolist()) == ("warning", [1])


def test_every_rule_has_a_label_that_exists():
    from atomlens.data.quantities import QUANTITIES

    assert {rule.label for rule in RULES} <= set(QUANTITIES)
