"""The electrostatic potential of a molecule's density and nuclei by PySCF, to hold that of point charges against."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from atomlens.data.system import AtomicSystem
from atomlens.data.units import parse_unit
from atomlens.errors import InputError
from atomlens.explain.probes.field import as_system
from atomlens.model import Structure

_BOHR, _HARTREE = parse_unit("bohr")[0], parse_unit("Ha")[0]
_INTEGRALS_AT_ONCE = 20_000_000  # numbers, 160 MB


def quantum_potential(
    structure: Structure, points: np.ndarray, *, functional: str = "b3lyp", basis: str = "def2-svp"
) -> np.ndarray:
    """Φ(r) = Σ_A Z_A / |r - R_A| - ∫ ρ(r') / |r - r'| dr', of the Kohn-Sham ground state, in V.

    Args:
        structure: an open molecule with its total charge; one electron is unpaired where their number is odd.
        points: (..., 3) in Å.
        functional: name of PySCF, or "HF" for Hartree-Fock.
        basis: name of PySCF.

    Returns:
        (...) V: what a probe of +1 e feels, in eV.

    Raises:
        InputError: the structure is periodic or its charge no whole number; PySCF is not installed, it refuses the
            molecule, or its SCF does not converge.
    """
    system = _treatable(structure)
    if importlib.util.find_spec("pyscf") is None:
        raise InputError(
            "quantum-mechanical potentials need PySCF, which is not installed: pip install 'atomlens[pyscf]'"
        )
    molecule, density = _ground_state(system, functional, basis)
    places = np.asarray(points, dtype=float).reshape(-1, 3) / _BOHR
    values = np.empty(len(places))
    size = max(_INTEGRALS_AT_ONCE // density.size, 1)
    for start in range(0, len(places), size):
        chunk = places[start : start + size]
        attraction = molecule.intor("int1e_grids", grids=chunk)  # ⟨μ| 1/|r - r_k| |ν⟩, (points, orbitals, orbitals)
        apart = np.linalg.norm(chunk[:, None] - molecule.atom_coords()[None], axis=2)
        nuclei = (molecule.atom_charges() / apart).sum(axis=1)
        values[start : start + size] = nuclei - np.einsum("pij,ji->p", attraction, density)
    return _HARTREE * values.reshape(np.shape(points)[:-1])


def _treatable(structure: Structure) -> AtomicSystem:
    system = as_system(structure)
    if system.pbc.any():
        raise InputError("is periodic, where this potential is not defined; give an open molecule")
    if system.charge != round(system.charge):
        raise InputError(f"its charge {system.charge:g} e is no whole number; give the charge of whole electrons")
    return system


def _ground_state(system: AtomicSystem, functional: str, basis: str) -> tuple[Any, np.ndarray]:
    """PySCF's molecule and its density matrix, summed over spins.

    Raises:
        InputError: see `quantum_potential`.
    """
    from pyscf import dft, gto, scf

    atoms = list(zip(system.numbers.tolist(), system.positions.tolist(), strict=True))
    charge = round(system.charge)
    unpaired = (int(system.numbers.sum()) - charge) % 2
    try:
        molecule = gto.M(atom=atoms, unit="Angstrom", basis=basis, charge=charge, spin=unpaired, verbose=0)
        method = scf.HF(molecule) if functional.upper() == "HF" else dft.KS(molecule, xc=functional)
        method.kernel()
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"PySCF cannot treat {system.formula} ({error}); check basis, functional and charge") from None
    if not method.converged:
        raise InputError(f"the SCF of {system.formula} by PySCF does not converge; check its geometry and charge")
    density = np.asarray(method.make_rdm1())
    return molecule, density.sum(axis=0) if density.ndim == 3 else density
