"""Rings of molecules, found from positions with RDKit: connectivity from distances, then rings, then bond orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import covalent_radii

from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.figures.rings import Sketch

# Two atoms count as bonded below this multiple of the sum of their covalent radii. Tighter than elsewhere: an ether may
# bridge two carbons 1.78 Å apart (1.17) that are not bonded, and crowded bonds end at 1.70 Å (1.12). Of QM9's pairs
# hardly any lie between 1.10 and 1.17.
_STRETCH = 1.15
_ITERATIONS = 1_000  # of the search for bond orders, which may never end for large odd molecules


@dataclass(frozen=True)
class Ring:
    """A ring of one molecule."""

    atoms: tuple[int, ...]  # in order round the ring
    formula: str  # of the ring's atoms alone, carbon first, such as C5N
    aromatic: bool | None  # by RDKit's rules; None: no bond orders could be found
    beside: tuple[str, ...]  # symbols of the atoms bonded to the ring from outside but hydrogen, sorted

    @property
    def size(self) -> int:
        """Number of atoms."""
        return len(self.atoms)

    @property
    def kind(self) -> str:
        """What it is comparable with: its formula, and whether it is aromatic."""
        return f"aromatic {self.formula}" if self.aromatic else self.formula


def find_rings(system: AtomicSystem) -> tuple[Ring, ...]:
    """The rings of a molecule: the symmetrised smallest set of smallest rings of its heavy atoms.

    Rings need connectivity alone, which distances give; whether they are aromatic needs bond orders too.

    Raises:
        InputError: RDKit is not installed, or the structure is periodic.
    """
    check_open(system)
    chem = need_rdkit()
    bonds = connectivity(system.numbers, system.positions)
    found = _rings_of(chem, system.numbers, bonds)
    if not found:
        return ()
    molecule = _with_orders(chem, system, bonds)
    return tuple(_ring(system, atoms, bonds, molecule) for atoms in found)


def connectivity(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Pairs of atoms closer than 1.15 times the sum of their covalent radii, (bonds, 2), the lower atom first."""
    radii = covalent_radii[numbers]
    apart = positions[:, None] - positions[None]
    near = np.einsum("ijk,ijk->ij", apart, apart) < np.square(_STRETCH * (radii[:, None] + radii[None]))
    return np.argwhere(np.triu(near, k=1))


def sketch(system: AtomicSystem) -> tuple[Sketch, dict[int, int]]:
    """A drawing of a molecule, and where each of its heavy atoms stands in it.

    Where no bond orders can be found all bonds are drawn single.

    Raises:
        InputError: RDKit is not installed, or the structure is periodic.
    """
    check_open(system)
    chem = need_rdkit()
    bonds = connectivity(system.numbers, system.positions)
    heavy = np.flatnonzero(system.numbers > 1).tolist()
    place = {atom: index for index, atom in enumerate(heavy)}
    molecule = _with_orders(chem, system, bonds)
    orders = _orders(chem, molecule, bonds)
    inside = [(place[a], place[b], orders[a, b]) for a, b in bonds.tolist() if a in place and b in place]
    labels = [_label(system, atom, bonds, molecule) for atom in heavy]
    rings = [tuple(place[atom] for atom in ring) for ring in _rings_of(chem, system.numbers, bonds)]
    return Sketch(_flattened(chem, system.numbers[heavy], inside), labels, inside, rings), place


def smiles(system: AtomicSystem) -> str:
    """The molecule as SMILES without stereochemistry; empty where no bond orders can be found.

    Raises:
        InputError: RDKit is not installed, or the structure is periodic.
    """
    check_open(system)
    chem = need_rdkit()
    molecule = _with_orders(chem, system, connectivity(system.numbers, system.positions))
    with _quiet():
        return "" if molecule is None else str(chem.MolToSmiles(chem.RemoveHs(molecule)))


def check_open(system: AtomicSystem) -> None:
    """Refuse crystals.

    Raises:
        InputError: the structure is periodic.
    """
    if system.pbc.any():
        raise InputError("rings are not looked for under periodic boundaries; give a molecule without a cell")


def need_rdkit() -> Any:
    """RDKit's chemistry.

    Raises:
        InputError: RDKit is not installed.
    """
    try:
        from rdkit import Chem
        from rdkit.Chem import rdDepictor, rdDetermineBonds  # noqa: F401  submodules of Chem
    except ImportError:
        raise InputError("finding rings needs RDKit: pip install 'atomlens[rdkit]'") from None
    return Chem


@contextmanager
def _quiet() -> Iterator[None]:
    """RDKit writes its own complaints to standard error."""
    from rdkit import rdBase

    with rdBase.BlockLogs():
        yield


def _rings_of(chem: Any, numbers: np.ndarray, bonds: np.ndarray) -> list[tuple[int, ...]]:
    """Atoms of every ring, in order round it."""
    heavy = np.flatnonzero(numbers > 1)
    place = np.full(len(numbers), -1)
    place[heavy] = np.arange(len(heavy))
    ends = place[bonds]
    molecule = chem.RWMol()
    for _ in range(len(heavy)):
        molecule.AddAtom(chem.Atom(6))
    for first, second in ends[(ends >= 0).all(axis=1)].tolist():
        molecule.AddBond(first, second, chem.BondType.SINGLE)
    return [tuple(heavy[list(ring)].tolist()) for ring in chem.GetSymmSSSR(molecule)]


def _with_orders(chem: Any, system: AtomicSystem, bonds: np.ndarray) -> Any:
    """An RDKit molecule with bond orders, charges and aromaticity; None where there is no consistent choice."""
    molecule = chem.RWMol()
    for number in system.numbers.tolist():
        atom = chem.Atom(number)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for first, second in bonds.tolist():
        molecule.AddBond(first, second, chem.BondType.SINGLE)
    with _quiet():
        try:
            chem.rdDetermineBonds.DetermineBondOrders(
                molecule, charge=round(system.charge), embedChiral=False, maxIterations=_ITERATIONS
            )
            chem.SanitizeMol(molecule)
        except (ValueError, RuntimeError):
            return None
    return molecule


def _ring(system: AtomicSystem, atoms: tuple[int, ...], bonds: np.ndarray, molecule: Any) -> Ring:
    within = np.zeros(len(system.numbers), dtype=bool)
    within[list(atoms)] = True
    inside = within[bonds]
    outward = inside.sum(axis=1) == 1
    outer = np.where(inside[outward, 0], bonds[outward, 1], bonds[outward, 0])
    beside = sorted(symbol(int(number)) for number in system.numbers[outer] if number > 1)
    aromatic = None if molecule is None else all(molecule.GetAtomWithIdx(atom).GetIsAromatic() for atom in atoms)
    return Ring(atoms, _formula(system.numbers[list(atoms)]), aromatic, tuple(beside))


def _formula(numbers: np.ndarray) -> str:
    counts = Counter(symbol(int(number)) for number in numbers)
    order = sorted(counts, key=lambda name: (name != "C", name))
    return "".join(name + (str(counts[name]) if counts[name] > 1 else "") for name in order)


def _orders(chem: Any, molecule: Any, bonds: np.ndarray) -> dict[tuple[int, int], int]:
    """Orders of the bonds with single and double bonds in turn round aromatic rings; all one without a molecule."""
    pairs = [(int(a), int(b)) for a, b in bonds]
    if molecule is None:
        return dict.fromkeys(pairs, 1)
    turned = chem.Mol(molecule)
    chem.Kekulize(turned, clearAromaticFlags=True)
    return {(a, b): int(turned.GetBondBetweenAtoms(a, b).GetBondTypeAsDouble()) for a, b in pairs}


def _label(system: AtomicSystem, atom: int, bonds: np.ndarray, molecule: Any) -> tuple[str, str, str]:
    """Symbol, hydrogens and charge, as written; plain carbon is a corner without letters, unless it stands alone."""
    name = symbol(int(system.numbers[atom]))
    around = bonds[(bonds == atom).any(axis=1)].sum(axis=1) - atom
    count = int((system.numbers[around] == 1).sum())
    charge = 0 if molecule is None else molecule.GetAtomWithIdx(atom).GetFormalCharge()
    if name == "C" and not charge and count < len(around):
        return "", "", ""
    digits = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    hydrogens = "" if count == 0 else "H" + (str(count).translate(digits) if count > 1 else "")
    sign = "" if not charge else (str(abs(charge)) if abs(charge) > 1 else "") + ("⁺" if charge > 0 else "⁻")
    return name, hydrogens, sign


def _flattened(chem: Any, numbers: np.ndarray, bonds: list[tuple[int, int, int]]) -> np.ndarray:
    """RDKit's two-dimensional coordinates of heavy atoms, (atoms, 2) in Å."""
    orders = {1: chem.BondType.SINGLE, 2: chem.BondType.DOUBLE, 3: chem.BondType.TRIPLE}
    molecule = chem.RWMol()
    for number in numbers.tolist():
        molecule.AddAtom(chem.Atom(number))
    for first, second, order in bonds:
        molecule.AddBond(first, second, orders.get(order, chem.BondType.SINGLE))
    molecule.UpdatePropertyCache(strict=False)
    chem.FastFindRings(molecule)
    chem.SetHybridization(molecule)  # straight chains at triple bonds
    with _quiet():
        chem.rdDepictor.Compute2DCoords(molecule, canonOrient=True)
    return np.asarray(molecule.GetConformer().GetPositions())[:, :2]
