"""QM7: atomisation energies of 7,165 small organic molecules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from atomlens.data.dataset import Dataset, Origin
from atomlens.data.pieces import in_pieces
from atomlens.data.units import LENGTH, to_internal
from atomlens.datasets.archives import Entry, flat_pieces, mat_arrays, taken
from atomlens.datasets.card import Card, NamedDataset, RemoteFile
from atomlens.datasets.sources import found, one
from atomlens.errors import InputError

# No checksum is published. The address and the layout of the file are those of the page
# http://quantum-machine.org/datasets/ as many public readers have them.
_FILE = RemoteFile("qm7.mat", "http://quantum-machine.org/data/qm7.mat")
_ATOMS = 23
_MEANING = "atomisation energy, negative: energy of the molecule less that of its free atoms"
_OFFICIAL = (
    Entry("T", "kcal/mol", _MEANING, "energy"),
    Entry("fold", None, "published fold of the cross-validation, 0 to 4 (from 'P')"),
    Entry("index", None, "row of the official file, from 0"),
)
_REPACKED = (
    Entry("atomization_energy", "kcal/mol", _MEANING, "energy"),
    Entry("index", None, "number of the molecule as the archive has it"),
)


def read_qm7(paths: tuple[Path, ...]) -> Iterator[Dataset]:
    """Read ``qm7.mat``, or a flat numpy archive with ``atomization_energy``; see `NamedDataset.read`."""
    with found(paths, ("qm7.mat", "qm7.npz")) as sources:
        source = one(sources, ("qm7.mat", "qm7.npz"))
        if source.path.suffix == ".npz":
            yield from flat_pieces(source.path, _REPACKED, ("atomization_energy",))
        else:
            yield from in_pieces(_official(source.path, source.name))


def _official(path: Path, name: str) -> Dataset:
    padded: tuple[int | None, ...] = (None, _ATOMS)
    arrays = mat_arrays(
        path, name, {"X": (*padded, _ATOMS), "T": (None,), "P": (5, None), "Z": padded, "R": (*padded, 3)}
    )
    count = len(arrays["T"])
    if not all(len(arrays[key]) == count for key in "XZR"):
        raise InputError("has arrays of different lengths; fetch it again", file=name)
    _check_lengths(arrays["X"], arrays["Z"], arrays["R"], name)
    there = arrays["Z"] > 0
    return taken(
        _OFFICIAL,
        np.rint(arrays["Z"][there]).astype(np.int64),
        # The erratum of this set: its coordinates are in Bohr, which many programs take for Å.
        arrays["R"][there].astype(np.float64) * to_internal("bohr", LENGTH, "positions"),
        there.sum(axis=1),
        {"T": arrays["T"], "fold": folds(arrays["P"], count, name), "index": np.arange(count)},
        Origin(name),
    )


def folds(groups: np.ndarray, count: int, name: str) -> np.ndarray:
    """(structures,) the published fold of each row, from five lists of rows.

    Raises:
        InputError: the lists do not share the rows out.
    """
    rows = groups.reshape(-1).astype(np.int64)
    if not np.array_equal(np.sort(rows), np.arange(count)):
        raise InputError("'P' does not name every row once; fetch it again", file=name)
    fold = np.empty(count, dtype=np.int64)
    fold[rows] = np.repeat(np.arange(len(groups)), groups.shape[1])
    return fold


def _check_lengths(coulomb: np.ndarray, charges: np.ndarray, positions: np.ndarray, name: str) -> None:
    """Hold coordinates against the Coulomb matrices, Z_i Z_j / |R_i - R_j| in atomic units, of the same file."""
    for row, (matrix, z, r) in enumerate(zip(coulomb, charges, positions, strict=True)):
        there = np.flatnonzero(z > 0)
        i, j = np.triu_indices(len(there), 1)
        i, j = there[i], there[j]
        products = z[i] * z[j]
        stated = np.asarray(matrix[i, j], dtype=np.float64) * np.linalg.norm(r[i] - r[j], axis=1)
        # Single precision; one in Å would be off by 47 %.
        if len(i) and not np.allclose(stated, products, rtol=0.01):
            raise InputError(
                "the coordinates do not fit the Coulomb matrix, which is in atomic units: this copy was altered (the "
                "official coordinates are in Bohr); fetch the official file",
                file=name,
                structure=row,
            )


_CARD = Card(
    name="qm7",
    title="QM7: atomisation energies of molecules with up to seven heavy atoms (H C N O S)",
    citation=(
        "M. Rupp, A. Tkatchenko, K.-R. Müller, O. A. von Lilienfeld, Physical Review Letters 108, 058301 (2012), "
        "doi:10.1103/PhysRevLett.108.058301; molecules from GDB-13: L. C. Blum, J.-L. Reymond, J. Am. Chem. Soc. 131, "
        "8732 (2009), doi:10.1021/ja902302h"
    ),
    licence="use and redistribution permitted with the copyright notice and both citations",
    level="PBE0, numerical atom-centred orbitals of the second tier (FHI-aims)",
    labels={entry.key: entry.described for entry in _OFFICIAL},
    structures=7165,
    # Atomisation energies: nothing is left of the free atoms.
    free_atoms={"T": dict.fromkeys("HCNOS", 0.0), "atomization_energy": dict.fromkeys("HCNOS", 0.0)},
    free_atom_unit="kcal/mol",
    errata=(
        "Coordinates ('R') are in Bohr, which the file does not say. They are converted to Å, after each was held "
        "against the Coulomb matrix ('X') of the same molecule.",
        "Energies are negative, and in single precision (about 1e-4 kcal/mol).",
        "Copies with energies that were computed anew circulate (test data of the library QML: PBE0/def2-TZVP, methane "
        "-417.031 kcal/mol). Errors on one are not those on the other; the provenance tells what was read.",
    ),
    advice=(
        "Results in the literature are mostly for 5,000 molecules to train, or for the five published folds (column "
        "'fold', 5,732 to train each time), which are stratified by energy: name which.",
        "Single conformers at equilibrium: a model trained on them knows no forces.",
    ),
)
DATASETS: tuple[NamedDataset, ...] = (NamedDataset(_CARD, (_FILE,), read_qm7),)
