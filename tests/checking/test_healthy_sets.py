"""Healthy sets that look odd are never called faulty: nothing may refuse to train on them. What is wrong still is."""

from dataclasses import replace

import clean_sets
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import add_adsorbate, bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential
from ase.constraints import FixAtoms
from emt_frames import dataset

from atomlens.checking.cells import check_cells
from atomlens.checking.checking import check_data
from atomlens.checking.distorted import excused, forced, unusual_shape
from atomlens.checking.duplicates import check_duplicates
from atomlens.checking.energies import check_energies
from atomlens.checking.force_energy import check_force_energy
from atomlens.checking.forces import check_forces
from atomlens.checking.label_order import check_label_order
from atomlens.checking.lengths import check_lengths
from atomlens.checking.net_force import check_net_force
from atomlens.checking.outliers import check_outliers
from atomlens.checking.properties import check_properties
from atomlens.checking.structures import check_structures


def labelled(frames, make, *, constrained=False):
    energies, forces = [], []
    for frame in frames:
        frame.calc = make()
        energies.append(frame.get_potential_energy())
        forces.append(frame.get_forces(apply_constraint=constrained))
    return clean_sets.of_atoms(frames, {"energy": np.array(energies), "forces": np.concatenate(forces)})


def faults(data):
    return [f"{each.check}: {each.sentence}" for each in check_data(data).of("fault")]


def statuses(outcomes):
    return {each.status for each in outcomes}


def dimers(symbols, lengths):
    return [Atoms(symbols, positions=[[0, 0, 0], [0, 0, length]]) for length in lengths]


def morse():
    return MorsePotential(epsilon=2.0, rho0=6.0, r0=2.2, rcut1=30.0, rcut2=31.0)


@pytest.mark.parametrize("count", [30, 200])
def test_binding_curves(count):
    """From deep in the wall to free atoms: close contacts, high energies, strong forces, ends without neighbours."""
    made = labelled(dimers("Cu2", np.linspace(0.6, 6.0, count)), morse)
    assert made.labels["energy"].max() > 1_000.0
    assert not faults(made)


def test_binding_curves_of_energies_alone():
    made = labelled(dimers("Cu2", np.linspace(0.6, 6.0, 60)), morse)
    assert not faults(replace(made, labels={"energy": made.labels["energy"]}))


def test_a_single_clash_is_still_a_fault():
    """Closer than whatever was pushed together on purpose, at an energy that no clash has."""
    made = labelled(dimers("Cu2", np.linspace(1.4, 4.0, 40)), morse)
    positions = made.positions.copy()
    positions[41] = positions[40] + [0.0, 0.0, 0.5]
    assert "fault" in statuses(check_structures(replace(made, positions=positions)))


@pytest.mark.parametrize("lengths", [np.linspace(0.6, 3.6, 40), np.full(40, 1.8)])
def test_hydrogen_chains_pulled_apart(lengths):
    frames = [Atoms("H10", positions=[[0, 0, place * length] for place in range(10)]) for length in lengths]
    assert "fault" not in statuses(check_lengths(clean_sets.of_atoms(frames, {})))


def test_cells_of_compressed_crystals_and_chains():
    chain = [Atoms("H", cell=[12, 12, length], pbc=[False, False, True]) for length in (0.7, 1.0, 2.0)]
    squeezed = [bulk("U", "bcc", a=a) for a in (2.9, 3.1, 3.4)]
    assert statuses(check_cells(clean_sets.of_atoms(chain + squeezed, {}))) == {"warning"}


def test_atoms_and_clusters_beside_crystals():
    """Free atoms, and clusters cut from the crystal: their energy tells them from crystals that lost their cell."""
    crystal = bulk("Cu", cubic=True) * (2, 2, 2)
    cluster = Atoms("Cu32", positions=crystal.positions)
    random = np.random.default_rng(0)
    frames = [crystal.copy() for _ in range(20)] + [cluster.copy() for _ in range(5)]
    for frame in frames:
        frame.positions += random.normal(scale=0.05, size=(32, 3))
    primitive = [bulk("Cu", a=a) for a in np.linspace(3.4, 3.9, 10)]
    made = dataset([*frames, *primitive, Atoms("Cu")])
    assert not faults(made)
    assert "warning" in statuses(check_cells(made))
    cell, pbc = made.cell.copy(), made.pbc.copy()
    cell[3], pbc[3] = 0.0, False
    lost = check_cells(replace(made, cell=cell, pbc=pbc))
    assert [3 in each.structures for each in lost if each.status == "fault"] == [True]


def test_flat_molecules_in_a_diagonal_plane():
    frames = []
    for size in np.linspace(0.97, 1.03, 10):
        flat = molecule("H2CO")
        along = size * flat.positions[:, 1] / np.sqrt(2.0)
        flat.positions = np.column_stack([along, along, size * flat.positions[:, 2]])
        frames.append(flat)
    found = [each for each in check_structures(clean_sets.of_atoms(frames, {})) if "columns" in each.sentence]
    assert [each.status for each in found] == ["warning"]


def test_zero_forces_of_free_atoms_and_perfect_crystals():
    frames = [Atoms("C"), Atoms("O"), *(bulk("Cu", a=a) for a in np.linspace(3.5, 3.8, 6))]
    made = clean_sets.of_atoms(frames, {"energy": np.arange(8.0), "forces": np.zeros((8, 3))})
    assert statuses(check_forces(made)) == {"note"}
    molecules = clean_sets.of_atoms([molecule("H2O")], {"forces": np.zeros((3, 3))})
    assert statuses(check_forces(molecules)) == {"fault"}


@pytest.mark.parametrize("move", [0.0005, 0.005])
def test_finite_displacements(move):
    """As for vibrations: structures that are all but equal, with forces that differ."""
    start = molecule("CH3CH2OH")
    spring = clean_sets.springs(start.numbers, start.positions)
    frames, energies, forces = [], [], []
    for place in range(27):
        for sign in (1.0, -1.0):
            frame = start.copy()
            frame.positions.flat[place] += sign * move
            energy, force = clean_sets.energy_and_forces(spring, frame.positions)
            frames.append(frame)
            energies.append(energy)
            forces.append(force)
    made = clean_sets.of_atoms(frames, {"energy": np.array(energies), "forces": np.concatenate(forces)})
    assert "fault" not in statuses(check_duplicates(made))


def test_one_frame_many_times_with_the_noise_of_a_calculation():
    one = clean_sets.hot_ethanol(frames=1)
    made = one.subset(np.zeros(20, dtype=np.int64))
    random = np.random.default_rng(0)
    noisy = clean_sets.with_label(
        made,
        energy=made.labels["energy"] + random.normal(scale=1e-7, size=20),
        forces=made.labels["forces"] + random.normal(scale=1e-6, size=(180, 3)),
    )
    assert [each.status for each in check_duplicates(noisy)] == ["warning"]


def test_free_atoms_beside_molecules():
    molecules = clean_sets.small_molecules(total=False)
    free = clean_sets.of_atoms([Atoms(symbol) for symbol in "HCNOF"], {"energy": np.zeros(5)})
    both = clean_sets.of_atoms(
        [Atoms(one.numbers, one.positions) for part in (molecules, free) for one in part],
        {"energy": np.concatenate([molecules.labels["energy"], free.labels["energy"]])},
    )
    assert "fault" not in statuses(check_outliers(both))
    assert not faults(both)


@pytest.mark.parametrize("kind", ["adsorption", "per molecule", "residual"])
def test_energies_that_the_composition_does_not_explain(kind):
    """Their size tells them from totals that were shuffled."""
    data = clean_sets.small_molecules()
    energy, random = data.labels["energy"], np.random.default_rng(0)
    if kind == "adsorption":
        energy = random.normal(-1.0, 1.5, len(data))
    elif kind == "per molecule":
        group = np.unique(data.counts()[0], axis=0, return_inverse=True)[1].ravel()
        energy = energy - np.array([energy[group == place].mean() for place in range(group.max() + 1)])[group]
    else:
        counts = data.counts()[0]
        energy = energy - counts @ np.linalg.lstsq(counts, energy, rcond=None)[0]
    found = check_label_order(clean_sets.with_label(data, energy=energy))
    assert "fault" not in statuses(found)
    shuffled = random.permutation(clean_sets.small_molecules(total=False).labels["energy"])
    assert "fault" in statuses(check_label_order(clean_sets.with_label(data, energy=shuffled)))


def test_atoms_held_fixed():
    frames, random = [], np.random.default_rng(0)
    for _ in range(12):
        slab = fcc111("Cu", (2, 2, 4), vacuum=8.0)
        add_adsorbate(slab, "O", 1.3, "fcc")
        slab.set_constraint(FixAtoms(range(8)))
        slab.positions[8:] += random.normal(scale=0.08, size=(9, 3))
        frames.append(slab)
    (found,) = check_net_force(labelled(frames, EMT, constrained=True))
    assert found.status == "warning"
    assert "held fixed" in found.sentence


def test_noise_on_the_forces_of_relaxed_structures():
    random = np.random.default_rng(0)
    made = clean_sets.small_molecules()
    noise = random.normal(scale=3e-4, size=made.positions.shape)
    assert "fault" not in statuses(check_net_force(clean_sets.with_label(made, forces=noise)))


def test_an_outer_field_is_no_fault():
    """Charges in a field strong enough to push ions; energies follow."""
    made = clean_sets.hot_ethanol(frames=150)
    charges, field = np.tile(np.full(9, 1.0 / 9.0), 150), np.array([0.0, 0.0, 8.0])
    energy = made.labels["energy"] - np.add.reduceat(charges * (made.positions @ field), made.offsets[:-1])
    pushed = clean_sets.with_label(made, energy=energy, forces=made.labels["forces"] + charges[:, None] * field)
    (found,) = check_net_force(pushed)
    assert found.status == "warning"
    assert "outer field" in found.sentence
    other = clean_sets.with_label(pushed, forces=np.roll(pushed.labels["forces"], 9, axis=0))
    assert check_net_force(other)[0].status == "fault"


def test_independent_frames_of_large_crystals():
    """Between them the work averages out, and the third order does not."""
    random = np.random.default_rng(0)
    frames = []
    for _ in range(24):
        crystal = bulk("Ar", cubic=True, a=5.3) * (5, 5, 5)
        crystal.positions += random.normal(scale=0.12, size=crystal.positions.shape)
        frames.append(crystal)
    made = labelled(frames, lambda: LennardJones(sigma=3.4, epsilon=0.0104, rc=6.0, smooth=True))
    found = check_force_energy(made)
    assert "fault" not in statuses(found)
    assert found[0].facts["third_order"] > 0.1
    turned = clean_sets.with_label(made, forces=made.labels["forces"] / 100.0)
    assert check_force_energy(turned)[0].status == "fault"


def test_the_ends_of_a_scan_fit():
    """A stretched molecule: neighbours of the last frame lie on one side, and all miss it by the third order."""
    frames = dimers("Cu2", np.concatenate([np.linspace(1.75, 2.6, 40), [1.55]]))
    made = labelled(frames, morse)
    assert "fault" not in statuses(check_force_energy(made))


def test_differences_of_two_levels_of_theory():
    """Forces of a small share of the other sign, and energies that go with them."""
    made = clean_sets.hot_ethanol()
    energy = -0.05 * (made.labels["energy"] - made.labels["energy"].mean())
    (found,) = check_forces(clean_sets.with_label(made, energy=energy, forces=-0.05 * made.labels["forces"]))
    assert found.status == "warning"
    (found,) = check_forces(clean_sets.with_label(made, forces=-0.05 * made.labels["forces"]))
    assert found.status == "fault"


def test_atoms_of_one_element_numbered_the_other_way_round():
    """With their forces it is the same frame; without, forces stand beside the wrong atoms."""
    made = clean_sets.hot_ethanol(frames=100, kelvin=200.0)
    hydrogens = np.flatnonzero(made.numbers[:9] == 1)
    rows = 9 * 40 + np.array([hydrogens[0], hydrogens[-1]])
    positions, forces = made.positions.copy(), made.labels["forces"].copy()
    positions[rows] = positions[rows[::-1]]
    moved = replace(made, positions=positions)
    forces[rows] = forces[rows[::-1]]
    assert "fault" in statuses(check_label_order(moved))
    assert "fault" not in statuses(check_label_order(clean_sets.with_label(moved, forces=forces)))


def test_a_single_molecule_with_its_orbitals_the_other_way_round():
    made = clean_sets.small_molecules()
    homo, lumo = np.full(len(made), -7.0), np.full(len(made), -2.0)
    lumo[4] = -7.1
    single = [
        each for each in check_properties(clean_sets.with_label(made, homo=homo, lumo=lumo)) if "below" in each.sentence
    ]
    assert [each.status for each in single] == ["warning"]


def test_totals_of_the_valence_electrons_of_water():
    """GFN2-xTB's -5.07 Ha of water are 0.074 of all electrons' total, as 1 Ry is 0.0735 Ha."""
    random = np.random.default_rng(0)
    frames, energies = [], []
    for _ in range(200):
        water = molecule("H2O")
        spring = clean_sets.springs(water.numbers, water.positions)
        water.positions += random.normal(scale=0.03, size=(3, 3))
        frames.append(water)
        energies.append(-5.07 * units.Hartree + clean_sets.energy_and_forces(spring, water.positions)[0])
    (found,) = check_energies(clean_sets.of_atoms(frames, {"energy": np.array(energies)}))
    assert found.status == "ok"


def test_what_labels_and_shapes_say_of_distortion():
    frames = dimers("Cu2", [0.8, 2.2, 2.3, 2.4, 5.0])
    made = labelled(frames, morse)
    assert forced(made).tolist() == [True, False, False, False, False]
    assert unusual_shape(made).tolist() == [True, False, False, False, True]
    energy = np.array([np.nan, 0.0, 0.0, 0.0, 0.0])
    unlabelled = replace(made, labels={"energy": energy})
    assert excused(unlabelled).tolist() == [True, False, False, False, False]
