"""QM7b: fourteen electronic properties of 7,211 small organic molecules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from atomlens.data.dataset import Dataset, Origin
from atomlens.data.pieces import in_pieces
from atomlens.data.units import LENGTH, to_internal
from atomlens.datasets.archives import Entry, mat_arrays, taken
from atomlens.datasets.card import Card, NamedDataset, RemoteFile
from atomlens.datasets.sources import found, one
from atomlens.errors import InputError

# No checksum is published. The address is that of the page http://quantum-machine.org/datasets/.
_FILE = RemoteFile("qm7b.mat", "http://quantum-machine.org/data/qm7b.mat")
_ATOMS = 23
_DIAGONAL = 0.02  # relative; neighbouring charges differ by more than 12 % in Z^2.4
_MISFIT = 0.01  # Å between the distances of a matrix and those of the points found; single precision costs 1e-5
# Length of most bonds to hydrogen in Å, from O-H to C-H with room; in Bohr they are outside.
_TO_HYDROGEN = (0.9, 1.25)

# The order of 'T', as two public readers of the file have it, kgcnn's and QM7b-JSON's, which agree.
# Units as in table 1 of Montavon et al. 2013; methane (-420.93 kcal/mol, 2.53 Å³) confirms them.
_PROPERTIES = (
    Entry("ae_pbe0", "kcal/mol", "atomisation energy, negative, PBE0", "energy"),
    Entry("emax_zindo", "eV", "excitation energy of the strongest absorption, ZINDO"),
    Entry("imax_zindo", None, "strength of the strongest absorption in arbitrary units, ZINDO"),
    Entry("homo_zindo", "eV", "highest occupied orbital, ZINDO"),
    Entry("lumo_zindo", "eV", "lowest unoccupied orbital, ZINDO"),
    Entry("e1_zindo", "eV", "first excitation energy, ZINDO"),
    Entry("ip_zindo", "eV", "ionisation potential, ZINDO"),
    Entry("ea_zindo", "eV", "electron affinity, ZINDO"),
    Entry("homo_pbe0", "eV", "highest occupied orbital, PBE0", "homo"),
    Entry("lumo_pbe0", "eV", "lowest unoccupied orbital, PBE0", "lumo"),
    Entry("homo_gw", "eV", "highest occupied orbital, GW"),
    Entry("lumo_gw", "eV", "lowest unoccupied orbital, GW"),
    Entry("p_pbe0", "Ang^3", "isotropic polarisability, PBE0", "isotropic_polarizability"),
    Entry("p_scs", "Ang^3", "isotropic polarisability, self-consistent screening"),
)
_INDEX = Entry("index", None, "row of the official file, from 0")


def read_qm7b(paths: tuple[Path, ...]) -> Iterator[Dataset]:
    """Read ``qm7b.mat``; see `NamedDataset.read`."""
    with found(paths, ("qm7b.mat",)) as sources:
        source = one(sources, ("qm7b.mat",))
        try:
            yield from in_pieces(_official(source.path, source.name))
        except InputError as error:
            raise error.at(file=source.name) from None


def _official(path: Path, name: str) -> Dataset:
    arrays = mat_arrays(path, name, {"X": (None, _ATOMS, _ATOMS), "T": (None, len(_PROPERTIES))})
    matrices, properties = arrays["X"].astype(np.float64), arrays["T"].astype(np.float64)
    if len(matrices) != len(properties):
        raise InputError("has arrays of different lengths; fetch it again")
    numbers, n_atoms = nuclear_charges(matrices)
    positions = recovered_positions(matrices, numbers, n_atoms)
    _check_energies(properties[:, 0], n_atoms)
    values = {entry.key: properties[:, place] for place, entry in enumerate(_PROPERTIES)}
    data = taken(
        (*_PROPERTIES, _INDEX),
        numbers,
        positions,
        n_atoms,
        {**values, "index": np.arange(len(n_atoms))},
        Origin(name),
    )
    told = {"positions": "recovered from Coulomb matrices; handedness is not known"}
    return replace(data, metadata={**data.metadata, **told})


def nuclear_charges(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Atomic numbers (atoms,) and numbers of atoms (structures,) from the diagonals Z^2.4 / 2 (Rupp et al. 2012).

    Raises:
        InputError: a diagonal is not of that form, or atoms do not come first in their matrix.
    """
    diagonals = np.diagonal(matrices, axis1=1, axis2=2)
    there = diagonals > 0
    n_atoms = there.sum(axis=1)
    numbers = np.rint((2 * diagonals[there]) ** (1 / 2.4)).astype(np.int64)
    wrong = (np.abs(0.5 * numbers**2.4 / diagonals[there] - 1) > _DIAGONAL).any()
    if wrong or (there != (np.arange(matrices.shape[1]) < n_atoms[:, None])).any() or (n_atoms < 1).any():
        raise InputError("'X' does not hold Coulomb matrices; fetch it again")
    return numbers, n_atoms


def recovered_positions(matrices: np.ndarray, numbers: np.ndarray, n_atoms: np.ndarray) -> np.ndarray:
    """Positions (atoms, 3) in Å, up to place, turn and mirror image, from Coulomb matrices Z_i Z_j / |R_i - R_j|.

    Distances are the charges' product divided by the matrix; points with these distances are the eigenvectors of the
    doubly centred squares to the three largest eigenvalues (classical multidimensional scaling, Torgerson 1952).

    Args:
        matrices: (structures, m, m), atoms first.
        numbers: (atoms,) atomic numbers.
        n_atoms: (structures,) number of atoms.

    Raises:
        InputError: a matrix is not of points in space, or the lengths are those of no molecules.
    """
    offsets = np.concatenate([[0], np.cumsum(n_atoms)])
    positions = np.zeros((len(numbers), 3))
    distances: dict[int, tuple[np.ndarray, ...]] = {}
    for size in map(int, np.unique(n_atoms)):
        rows = np.flatnonzero(n_atoms == size)
        atoms = offsets[rows][:, None] + np.arange(size)
        z = numbers[atoms].astype(np.float64)
        lengths = _distances(matrices[rows, :size, :size], z)
        positions[atoms], misfit = _scaled(lengths)
        distances[size] = rows, lengths, z, misfit
    factor = _unit(distances)
    for rows, _, _, misfit in distances.values():
        bad = np.flatnonzero(misfit * factor > _MISFIT)
        if len(bad):
            raise InputError(
                f"its Coulomb matrix is not of points in space (distances are off by {misfit[bad[0]] * factor:.2g} Å); "
                "fetch the official file",
                structure=int(rows[bad[0]]),
            )
    return positions * factor


def _distances(matrices: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(structures, n, n) in the unit of the matrices, which must be symmetric."""
    symmetric = 0.5 * (matrices + matrices.transpose(0, 2, 1))
    off = ~np.eye(matrices.shape[1], dtype=bool)
    if (symmetric[:, off] <= 0).any() or not np.allclose(matrices, symmetric, rtol=1e-3):
        raise InputError("'X' does not hold Coulomb matrices; fetch it again")
    products = z[:, :, None] * z[:, None, :]
    return np.where(off, products / np.where(symmetric > 0, symmetric, 1.0), 0.0)


def _scaled(distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (structures, n, 3) with these distances, and how far the distances are missed at most (structures,)."""
    squares = distances**2
    mean = squares.mean(axis=2, keepdims=True)
    gram = -0.5 * (squares - mean - mean.transpose(0, 2, 1) + mean.mean(axis=1, keepdims=True))
    values, vectors = np.linalg.eigh(gram)
    points = vectors[:, :, :-4:-1] * np.sqrt(np.clip(values[:, None, :-4:-1], 0.0, None))
    points = np.pad(points, ((0, 0), (0, 0), (0, 3 - points.shape[2])))
    # One choice among the mirror images, the same on every machine.
    largest = np.take_along_axis(points, np.abs(points).argmax(axis=1)[:, None], axis=1)
    points = points * np.where(largest < 0, -1.0, 1.0)
    rebuilt = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
    return points, np.abs(rebuilt - distances).max(axis=(1, 2))


def _unit(distances: Mapping[int, tuple[np.ndarray, ...]]) -> float:
    """Å per unit of length of the matrices: the file does not say it, bonds to hydrogen do.

    Raises:
        InputError: neither Bohr nor Å makes molecules of them.
    """
    shortest = []
    for _, lengths, z, _ in distances.values():
        if lengths.shape[1] > 1:
            nearest = np.where(lengths > 0, lengths, np.inf).min(axis=2)
            shortest.append(nearest[z == 1])
    to_hydrogen = np.concatenate([np.zeros(0), *shortest])
    for unit in ("bohr", "Ang"):
        factor = to_internal(unit, LENGTH, "positions")
        if len(to_hydrogen) and _TO_HYDROGEN[0] < np.median(to_hydrogen) * factor < _TO_HYDROGEN[1]:
            return factor
    raise InputError("'X' holds distances that are neither in Bohr nor in Å those of molecules; fetch it again")


def _check_energies(energies: np.ndarray, n_atoms: np.ndarray) -> None:
    """Refuse another order or unit of the properties: small organic molecules are bound by 60 to 120 kcal/mol/atom."""
    per_atom = np.median(energies / n_atoms)
    if not -130.0 < per_atom < -50.0:
        raise InputError(
            f"the first property is {per_atom:.3g} per atom, which is no atomisation energy in kcal/mol; fetch the "
            "official file"
        )


_CARD = Card(
    name="qm7b",
    title="QM7b: fourteen electronic properties of molecules with up to seven heavy atoms (H C N O S Cl)",
    citation=(
        "G. Montavon, M. Rupp, V. Gobre, A. Vazquez-Mayagoitia, K. Hansen, A. Tkatchenko, K.-R. Müller, O. A. von "
        "Lilienfeld, New Journal of Physics 15, 095003 (2013), doi:10.1088/1367-2630/15/9/095003; molecules from "
        "GDB-13: L. C. Blum, J.-L. Reymond, J. Am. Chem. Soc. 131, 8732 (2009), doi:10.1021/ja902302h"
    ),
    licence="not stated; the page of the data set asks for both citations",
    level="as each property says: PBE0, GW, ZINDO/s, self-consistent screening (SCS); geometries by PBE",
    labels={entry.key: entry.described for entry in (*_PROPERTIES, _INDEX)},
    structures=7211,
    free_atoms={"ae_pbe0": dict.fromkeys(("H", "C", "N", "O", "S", "Cl"), 0.0)},
    free_atom_unit="kcal/mol",
    errata=(
        "There are no coordinates in the file, only Coulomb matrices. Positions are recovered from their distances; a "
        "molecule and its mirror image have the same, so that the handedness of chiral molecules is lost. None of the "
        "properties depends on it.",
        "The file does not say its units. Energies are in kcal/mol and eV, polarisabilities in Å³; lengths are told by "
        "the bonds to hydrogen.",
        "Energies are not those of QM7: other molecules are in it, chlorine among them, and methane differs by some "
        "kcal/mol.",
    ),
    advice=(
        "The published results are for 5,000 molecules to train (Montavon et al.) and for 5,768 (DTNN).",
        "Labels are those at PBE0; other levels are columns, as in --label homo=homo_gw.",
    ),
)
DATASETS: tuple[NamedDataset, ...] = (NamedDataset(_CARD, (_FILE,), read_qm7b),)
