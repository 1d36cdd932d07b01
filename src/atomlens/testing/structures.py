"""Structures that probe a model, made on the spot from the elements that it knows."""

from __future__ import annotations

from collections.abc import Sequence

import ase
import numpy as np
from ase.build import bulk, graphene, molecule
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

SEED = 20260
LARGEST_CELL = 0.8  # of the cutoff; atoms then neighbour their own images
DIAMOND = 5.7  # Å³ per atom; hydrogen's radius alone would pack atoms far denser than any solid
REACH = 3.5  # Å, beyond the bonds of the templates


def molecules(elements: Sequence[int]) -> list[ase.Atoms]:
    """Ethanol, acetamide and water, distorted so that nothing vanishes by symmetry."""
    return [
        distorted(with_elements(molecule(name), elements), 0.05, SEED + k)
        for k, name in enumerate(("CH3CH2OH", "CH3CONH2", "H2O"))
    ]


def crystals(elements: Sequence[int], cutoff: float) -> list[ase.Atoms]:
    """Rocksalt, diamond and graphite, distorted, in primitive cells that are smaller than the cutoff."""
    # Bulk templates are named by elements that ASE builds; the model's elements take their places.
    salt = bulk("NaCl", "rocksalt", a=4.2)
    diamond = bulk("C", "diamond", a=3.57)
    graphite = graphene(a=2.46, size=(1, 1, 1), vacuum=1.675)
    graphite.pbc = True
    made = [_fitted(with_elements(template, elements), cutoff) for template in (salt, diamond, graphite)]
    return [distorted(atoms, 0.03 * _shortest(atoms), SEED + k, sheared=True) for k, atoms in enumerate(made)]


def slabs(elements: Sequence[int], cutoff: float) -> list[ase.Atoms]:
    """A crystal that repeats in two directions only, and one that repeats in one."""
    slab, chain = (crystals(elements, cutoff)[0].repeat(counts) for counts in ((1, 1, 2), (1, 2, 1)))
    slab.pbc, chain.pbc = (True, True, False), (True, False, False)
    return [distorted(atoms, 0.02 * _shortest(atoms), SEED + k) for k, atoms in enumerate((slab, chain))]


def with_elements(atoms: ase.Atoms, elements: Sequence[int]) -> ase.Atoms:
    """The same structure, or one like it with the known elements in the place of unknown ones."""
    made = atoms.copy()
    if set(made.numbers) <= set(elements):
        return made
    kinds, place = np.unique(made.numbers, return_inverse=True)
    chosen = np.resize(np.asarray(elements), len(kinds))
    made.numbers = chosen[place]
    return with_bonds(made)


def with_bonds(atoms: ase.Atoms) -> ase.Atoms:
    """The structure scaled so that its tightest pair is as far apart as the sum of its covalent radii."""
    made = atoms.copy()
    radii = covalent_radii[made.numbers]
    first, second, distances = neighbor_list("ijd", made, REACH)
    factor = float(((radii[first] + radii[second]) / distances).max())
    made.set_cell(made.cell.array * factor)
    made.positions *= factor
    return made


def distorted(atoms: ase.Atoms, width: float, seed: int, *, sheared: bool = False) -> ase.Atoms:
    """Positions moved at random by ``width`` Å; ``sheared`` strains the cell by a few percent as well."""
    made, random = atoms.copy(), np.random.default_rng(seed)
    if sheared:
        made.set_cell(made.cell.array @ (np.eye(3) + random.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True)
    made.positions += random.normal(0.0, width, made.positions.shape)
    return made


def clear_of_cutoff(atoms: ase.Atoms, cutoff: float | None, margin: float) -> ase.Atoms | None:
    """The structure scaled by up to 4 % so that no distance lies within ``margin`` Å of the cutoff; None if impossible.

    Finite differences need it: higher derivatives may jump at the cutoff, where they lose their order.
    """
    if cutoff is None:
        return atoms
    distances = neighbor_list("d", atoms, 1.06 * cutoff + margin)
    factors = np.linspace(0.96, 1.04, 161)
    gaps = [np.abs(factor * distances - cutoff).min(initial=np.inf) for factor in factors]
    # Of all factors that leave room the one nearest to 1.
    allowed = [factor for factor, gap in zip(factors, gaps, strict=True) if gap > margin]
    if not allowed:
        return None
    made = atoms.copy()
    factor = min(allowed, key=lambda value: abs(value - 1.0))
    made.set_cell(made.cell.array * factor)
    made.positions *= factor
    return made


def _fitted(atoms: ase.Atoms, cutoff: float) -> ase.Atoms:
    """Bonds as long as the elements ask for and no denser than diamond, but in a cell smaller than the cutoff."""
    made = with_bonds(atoms)
    widened = max(1.0, (DIAMOND * len(made) / made.get_volume()) ** (1 / 3))
    factor = min(widened, LARGEST_CELL * cutoff / float(made.cell.lengths().max()))
    made.set_cell(made.cell.array * factor, scale_atoms=True)
    return made


def _shortest(atoms: ase.Atoms) -> float:
    return float(neighbor_list("d", atoms, 1.01 * atoms.cell.lengths().max()).min())
