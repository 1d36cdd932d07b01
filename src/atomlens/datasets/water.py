"""Dipoles and polarisabilities of water's monomer, dimer and Zundel cation by coupled cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from atomlens.data.dataset import Column, Dataset, Origin
from atomlens.data.quantities import quantity
from atomlens.data.readers.archive import load_arrays
from atomlens.data.units import to_internal
from atomlens.datasets.card import Card, NamedDataset, RemoteFile
from atomlens.datasets.sources import Source, found, one
from atomlens.errors import InputError

# Folder of the official examples, atoms, charge, and the name that its file of energies has there.
_PARTS = {
    "water_monomer": (3, 0.0, "energy_1000.in"),
    "water_dimer": (6, 0.0, "ener_1000.in"),
    "water_zundel": (7, 1.0, "energy_1000.in"),
}
_NUMBERS = {"energy": 1, "dipole": 3, "polarizability": 9}
_UNITS = {"energy": "Ha", "dipole": "e*bohr", "polarizability": "bohr^3"}
_FILES = {"dipole": "dipole_1000.in", "polarizability": "alpha_1000.in"}
_MEANING = "which species: 3 monomer, 6 dimer, 7 Zundel cation (its number of atoms)"
_REPACKED = "water_dipole_polarizability.npz"


def read_water(paths: tuple[Path, ...]) -> Iterator[Dataset]:
    """The official examples, one species after the other, or the repacked archive.

    Raises:
        InputError: a file is absent, damaged, or does not fit the others.
    """
    official = tuple(f"{part}{mark}{file}" for part in _PARTS for file in _wanted(part) for mark in "/_")
    with found(paths, (*official, _REPACKED)) as sources:
        archives = [source for source in sources if source.path.suffix == ".npz"]
        if archives:
            yield _repacked(one(archives, (_REPACKED,)))
            return
        for part in _PARTS:
            files = {file: _file(sources, f"{part}/{file}") for file in _wanted(part)}
            yield _species(part, files)


def _wanted(part: str) -> tuple[str, ...]:
    return ("coords_1000.xyz", *_FILES.values(), _PARTS[part][2])


def _file(sources: Sequence[Source], end: str) -> Source:
    # A download keeps all files in one folder, so that the species is the beginning of the name.
    fitting = [source for source in sources if source.matches((end, end.replace("/", "_")))]
    if len(fitting) != 1:
        problem = "is missing" if not fitting else f"is there {len(fitting)} times"
        raise InputError(f"{end} {problem}; give the folder 'example' of the official repository")
    return fitting[0]


def _species(part: str, files: Mapping[str, Source]) -> Dataset:
    atoms, charge, energies = _PARTS[part]
    numbers, positions = _coordinates(files["coords_1000.xyz"], atoms)
    count = len(positions) // atoms
    names = {**_FILES, "energy": energies}
    values = {label: _table(files[file], _NUMBERS[label], count) for label, file in names.items()}
    origin = Origin(files["coords_1000.xyz"].name, np.arange(count))
    return _dataset(numbers, positions, np.full(count, atoms), np.full(count, charge), values, origin)


def _coordinates(source: Source, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (structures·atoms,) and positions in Å of a plain XYZ file; its comments say nothing."""
    symbols = {"O": 8, "H": 1}
    lines = source.path.read_text(encoding="utf-8", errors="replace").splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines or len(lines) % (atoms + 2):
        raise InputError(f"is no XYZ file of {atoms} atoms a structure; fetch it again", file=source.name)
    rows = np.array(lines, dtype=object).reshape(-1, atoms + 2)[:, 2:].reshape(-1)
    try:
        words = [str(row).split()[:4] for row in rows]
        return (
            np.array([symbols[word[0]] for word in words]),
            np.array([[float(word) for word in row[1:]] for row in words]).reshape(-1, 3),
        )
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"has a line that is no atom of water ({error!r}); fetch it again", file=source.name) from None


def _table(source: Source, width: int, count: int) -> np.ndarray:
    """(structures, width) numbers."""
    try:
        values = np.loadtxt(source.path, dtype=np.float64, ndmin=2)
    except (ValueError, OSError) as error:
        raise InputError(f"is no table of numbers ({error}); fetch it again", file=source.name) from None
    if values.size != count * width:
        raise InputError(
            f"has {values.shape} numbers where {(count, width)} are needed; fetch it again", file=source.name
        )
    return values.reshape(count, width)


def _repacked(source: Source) -> Dataset:
    try:
        arrays = load_arrays(source.path)
        missing = {"n_atoms", "numbers", "positions", *_NUMBERS} - arrays.keys()
        if missing:
            raise InputError(f"lacks {', '.join(sorted(missing))}; give the archive of the water tensors")
        n_atoms = arrays["n_atoms"].astype(np.int64)
        charge = np.where(n_atoms == _PARTS["water_zundel"][0], 1.0, 0.0)
        origin = Origin(source.name, np.arange(len(n_atoms)))
        return _dataset(arrays["numbers"], arrays["positions"], n_atoms, charge, arrays, origin)
    except InputError as error:
        raise error.at(file=source.name) from None


def _dataset(
    numbers: np.ndarray,
    positions: np.ndarray,
    n_atoms: np.ndarray,
    charge: np.ndarray,
    values: Mapping[str, np.ndarray],
    origin: Origin,
) -> Dataset:
    labels = {
        name: np.asarray(values[name], dtype=np.float64).reshape(len(n_atoms), *quantity(name).shape)
        * to_internal(unit, quantity(name).dimension, name)
        for name, unit in _UNITS.items()
    }
    metadata: dict[str, Any] = {
        "source": origin.file,
        "labels": {name: {"key": name, "unit": unit} for name, unit in _UNITS.items()},
    }
    columns = {"species": Column(n_atoms.astype(np.int64), "system", None, _MEANING)}
    return Dataset.from_arrays(
        numbers, positions, n_atoms, labels, charge=charge, metadata=metadata, origin=origin, columns=columns
    )


_URL = "https://raw.githubusercontent.com/lab-cosmo/SA-GPR/"
# Versions at which the files are known to stand there, of coordinates and of tables.
_COMMITS = {".xyz": "d3db325890a409d6cdbb32380548faac5081fbc8", ".in": "e1e9c46346fdc9dc7846cd05e4abbc515dfcf734"}


def _remote(part: str, file: str) -> RemoteFile:
    return RemoteFile(f"{part}_{file}", f"{_URL}{_COMMITS[Path(file).suffix]}/example/{part}/{file}")


_CARD = Card(
    name="water-tensors",
    title="Water monomer, dimer and Zundel cation with dipole vectors and polarisability tensors",
    citation=(
        "A. Grisafi, D. M. Wilkins, G. Csányi, M. Ceriotti, Physical Review Letters 120, 036002 (2018), "
        "doi:10.1103/PhysRevLett.120.036002"
    ),
    licence="not stated with the examples",
    level="CCSD/d-aug-cc-pVTZ",
    labels={
        "energy": "Ha, total energy",
        "dipole": "e*bohr, vector",
        "polarizability": "bohr^3, (3, 3)",
        "species": f"column: {_MEANING}",
    },
    structures=3_000,
    errata=(
        "The files do not say that the Zundel cation is charged: +1 e is put in. Its dipole depends on the origin, "
        "which is the centre of mass: the coordinates stand about it to within 0.0004 Å, and dipoles by "
        "CCSD/aug-cc-pVDZ about it differ from the labels by 0.003 e·bohr (ten cations, root mean "
        "square), about the centre of nuclear charge by 0.024.",
        "Frames of TENSOAP's copy claim to be periodic, without a cell; they are molecules in vacuum.",
    ),
    advice=(
        "Repacked archives hold 2,700 of the 3,000 structures.",
        "Test each species by itself: a mean over three of them hides which one is hard.",
    ),
)

DATASETS: tuple[NamedDataset, ...] = (
    NamedDataset(
        _CARD,
        tuple(_remote(part, file) for part in _PARTS for file in _wanted(part)),
        read_water,
    ),
)
