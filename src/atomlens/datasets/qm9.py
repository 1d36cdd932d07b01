"""QM9: 130,831 small organic molecules with thirteen properties each."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from atomlens.data.dataset import Dataset, Origin
from atomlens.data.pieces import PIECE
from atomlens.datasets.archives import Entry, flat_pieces, taken, texts
from atomlens.datasets.card import Card, NamedDataset, RemoteFile, Variant
from atomlens.errors import InputError

MOLECULES, UNCHARACTERISED = 133_885, 3_054
_CHARACTERISED = MOLECULES - UNCHARACTERISED

# Size and SHA-256 as in TensorFlow Datasets (tensorflow_datasets/datasets/qm9/checksums.tsv); MD5 as figshare publishes
# it with the files, collection 978904.
_MOLECULE_FILE = RemoteFile(
    "dsgdb9nsd.xyz.tar.bz2",
    "https://ndownloader.figshare.com/files/3195389",
    size=86_144_227,
    md5="ad1ebd51ee7f5b3a6e32e974e5d54012",
    sha256="3a63848ac80691bdb8d41834b575afad345b9300d7a2db0c38adb7f6eaa8360c",
)
_LIST_FILE = RemoteFile(
    "uncharacterized.txt",
    "https://ndownloader.figshare.com/files/3195404",
    size=486_752,
    md5="a361887bacb427b8a0ce7903d92a53b4",
    sha256="3aa5115d540b356de94791d4a74c3bf1ed91c469ecf52a4f5d7cc0506fe02e24",
)

# Line 2 of a molecule's file, after tag and index, in this order (readme.txt of the collection).
_SCALARS = (
    Entry("A", None, "rotational constant in GHz, 0 for linear molecules"),
    Entry("B", None, "rotational constant in GHz"),
    Entry("C", None, "rotational constant in GHz"),
    Entry("mu", "D", "length of the dipole moment", "dipole_magnitude"),
    Entry("alpha", "bohr^3", "isotropic polarisability", "isotropic_polarizability"),
    Entry("homo", "Ha", "highest occupied orbital", "homo"),
    Entry("lumo", "Ha", "lowest unoccupied orbital", "lumo"),
    Entry("gap", "Ha", "LUMO less HOMO", "gap"),
    Entry("r2", "bohr^2", "electronic spatial extent", "electronic_spatial_extent"),
    Entry("zpve", "Ha", "zero-point vibrational energy", "zero_point_energy"),
    Entry("U0", "Ha", "internal energy at 0 K, total", "energy", column=True),
    Entry("U", "Ha", "internal energy at 298.15 K, total"),
    Entry("H", "Ha", "enthalpy at 298.15 K, total"),
    Entry("G", "Ha", "free energy at 298.15 K, total"),
    Entry("Cv", "cal/mol/K", "heat capacity at 298.15 K", "heat_capacity"),
)
_INDEX = Entry("gdb_index", None, "number of the molecule in the official set, from 1")
_CHARGES = Entry("mulliken_charges", "e", "Mulliken charges", "charges", per="atom")
_ENTRIES = (*_SCALARS, _INDEX, _CHARGES)
_NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}


def read_qm9(paths: tuple[Path, ...], *, keep_uncharacterised: bool = False) -> Iterator[Dataset]:
    """Read QM9 from its official files, or from a flat numpy archive with ``gdb_index`` and ``U0``.

    Args:
        paths: ``dsgdb9nsd.xyz.tar.bz2`` or a folder of its ``.xyz`` files, with ``uncharacterized.txt``; or a folder
            that holds both; or an archive.
        keep_uncharacterised: also those 3,054 molecules that the list names; it is then not needed.

    Raises:
        InputError: a file is missing, damaged, or not of this data set.
    """
    files = [file for path in paths for file in _inside(path)]
    lists = [file for file in files if _is_list(file)]
    sources = [file for file in files if file not in lists and file.suffix != ".txt"]
    if len(sources) != 1:
        have = ", ".join(map(str, sources)) or "none"
        raise InputError(
            f"give one source of molecules, {_MOLECULE_FILE.name}, a folder of its .xyz files or a numpy archive "
            f"(there is: {have})"
        )
    source = sources[0]
    left_out = uncharacterised(lists[0]) if lists and not keep_uncharacterised else None
    if zipfile.is_zipfile(source):
        pieces = _from_archive(source, left_out, keep_uncharacterised)
    else:
        if left_out is None and not keep_uncharacterised:
            raise _no_list(source)
        pieces = _from_texts(source, left_out)
    yield from pieces


def _inside(path: Path) -> list[Path]:
    """The files of the set that a path stands for."""
    if not path.exists():
        raise InputError("does not exist; check the path", file=str(path))
    if not path.is_dir():
        return [path]
    packed = sorted([*path.glob("dsgdb9nsd*.tar*"), *path.glob("qm9.npz")])
    return [*path.glob(_LIST_FILE.name), *(packed or [path])]


def _is_list(file: Path) -> bool:
    """Whether a file is the list, under whatever name: figshare's own is a number."""
    if file.is_dir() or file.suffix in (".npz", ".xyz") or "atomref" in file.name or "readme" in file.name.lower():
        return False
    return file.suffix == ".txt" or not (zipfile.is_zipfile(file) or _is_tar(file))


def _is_tar(file: Path) -> bool:
    try:
        return ".tar" in file.suffixes or tarfile.is_tarfile(file)
    except EOFError:  # a compressed one that ends early
        return True


def _no_list(source: Path) -> InputError:
    return InputError(
        f"needs {_LIST_FILE.name} beside it, the list of the {UNCHARACTERISED:,} molecules that failed the consistency "
        f"check: download {_LIST_FILE.url} and give it with another --from, or keep these molecules with "
        "--variant keep-uncharacterised",
        file=str(source),
    )


def uncharacterised(path: Path) -> np.ndarray:
    """Numbers of the molecules, from 1, that the published list names.

    Raises:
        InputError: it is not that list.
    """
    # A molecule's line begins with its number; titles and rules do not.
    text = path.read_text(encoding="utf-8", errors="replace")
    found = np.array([int(number) for number in re.findall(r"^\s*(\d+)\s+\S", text, re.MULTILINE)], dtype=np.int64)
    whole = len(found) == len(np.unique(found)) == UNCHARACTERISED
    if not whole or found.min() < 1 or found.max() > MOLECULES:
        raise InputError(
            f"names {len(np.unique(found)):,} molecules, not the {UNCHARACTERISED:,} that failed the consistency "
            f"check; fetch {_LIST_FILE.url} again",
            file=str(path),
        )
    return found


def _from_archive(source: Path, left_out: np.ndarray | None, keep: bool) -> Iterator[Dataset]:
    unfiltered = keep or left_out is not None
    count = 0
    for piece in flat_pieces(source, _ENTRIES, ("gdb_index", "U0")):
        count += len(piece)
        if count > _CHARACTERISED and not unfiltered:
            raise _no_list(source)
        rest = piece
        if left_out is not None:
            rest = piece.subset(~np.isin(piece.columns["gdb_index"].values, left_out))
        if len(rest):
            yield rest


@dataclass
class _Rows:
    """Molecules of a piece, while it grows."""

    index: list[int] = field(default_factory=list)
    n_atoms: list[int] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    atoms: list[float] = field(default_factory=list)  # x, y, z, charge of each
    scalars: list[float] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def dataset(self, source: Path) -> Dataset:
        atoms = np.array(self.atoms).reshape(-1, 4)
        scalars = np.array(self.scalars).reshape(-1, len(_SCALARS))
        values = {entry.key: scalars[:, place] for place, entry in enumerate(_SCALARS)}
        return taken(
            _ENTRIES,
            np.array([_NUMBERS[symbol] for symbol in self.symbols]),
            atoms[:, :3],
            np.array(self.n_atoms),
            {**values, _INDEX.key: np.array(self.index), _CHARGES.key: atoms[:, 3]},
            Origin(str(source), places=np.array(self.places)),
        )


def _from_texts(source: Path, left_out: np.ndarray | None) -> Iterator[Dataset]:
    wanted = np.ones(MOLECULES + 1, dtype=bool)
    wanted[0] = False
    if left_out is not None:
        wanted[left_out] = False
    seen = np.zeros(MOLECULES + 1, dtype=bool)
    rows = _Rows()
    place = -1
    for place, (name, text) in enumerate(texts(source, ".xyz")):
        try:
            index = _read(name, text, wanted, rows)
        except InputError as error:
            raise error.at(file=f"{source}: {name}") from None
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(
                f"is not a molecule as QM9 writes them ({error}); fetch the official file", file=f"{source}: {name}"
            ) from None
        if seen[index]:
            raise InputError(f"holds molecule {index} twice; fetch the official file", file=str(source))
        seen[index] = True
        if wanted[index]:
            rows.places.append(place)
        if len(rows.index) >= PIECE:
            yield rows.dataset(source)
            rows = _Rows()
    if place < 0:
        raise InputError("holds no .xyz files of QM9; check the path", file=str(source))
    if rows.index:
        yield rows.dataset(source)


def _read(name: str, text: str, wanted: np.ndarray, rows: _Rows) -> int:
    """Read one file, and append its molecule where it is wanted; returns its number, from 1.

    The molecule is known by the number in its own second line. Its place in the archive or folder says nothing: copies
    of QM9 in which the list was applied to places from 0 left good molecules out and kept bad ones.
    """
    lines = text.splitlines()
    count, head = int(lines[0]), lines[1].split()
    if len(head) != 2 + len(_SCALARS) or head[0] not in ("gdb", "gdb9"):
        raise InputError("has no line of 15 properties as QM9 writes it; fetch the official file")
    index = int(head[1])
    if not 1 <= index <= MOLECULES:
        raise InputError(f"has the number {index}, which no molecule of QM9 has; fetch the official file")
    named = re.search(r"_(\d{6})\.xyz$", name)
    if named and int(named[1]) != index:
        raise InputError(f"holds molecule {index}, not that of its name; fetch the official file")
    # Atoms are followed by frequencies, SMILES and InChI.
    if len(lines) < count + 5:
        raise InputError(f"has {len(lines)} of its {count + 5} lines; fetch the official file")
    if wanted[index]:
        _append(lines[2 : 2 + count], head, rows)
        rows.index.append(index)
        rows.n_atoms.append(count)
    return index


def _append(lines: Sequence[str], head: Sequence[str], rows: _Rows) -> None:
    # Some small numbers are written 6.8*^-6 for 6.8e-6.
    scalars = [float(word.replace("*^", "e")) for word in head[2:]]
    atoms = [line.replace("*^", "e").split() for line in lines]
    if any(len(words) != 5 for words in atoms):
        raise InputError("has an atom that is not symbol, position and charge; fetch the official file")
    numbers = [float(word) for words in atoms for word in words[1:]]
    symbols = [words[0] for words in atoms]
    unknown = set(symbols) - set(_NUMBERS)
    if unknown:
        raise InputError(f"has the element '{unknown.pop()}', which is not in QM9; fetch the official file")
    rows.scalars += scalars
    rows.atoms += numbers
    rows.symbols += symbols


# atomref.txt of the collection (https://ndownloader.figshare.com/files/3195395), Ha.
_FREE_ATOMS = {
    "U0": {"H": -0.500273, "C": -37.846772, "N": -54.583861, "O": -75.064579, "F": -99.718730},
    "U": {"H": -0.498857, "C": -37.845355, "N": -54.582445, "O": -75.063163, "F": -99.717314},
    "H": {"H": -0.497912, "C": -37.844411, "N": -54.581501, "O": -75.062219, "F": -99.716370},
    "G": {"H": -0.510927, "C": -37.861317, "N": -54.598897, "O": -75.079532, "F": -99.733544},
}

_CARD = Card(
    name="qm9",
    title="QM9: properties of 130,831 molecules with up to nine heavy atoms (H C N O F)",
    citation=(
        "R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld, Scientific Data 1, 140022 (2014), "
        "doi:10.1038/sdata.2014.22; molecules from GDB-17: L. Ruddigkeit, R. van Deursen, L. C. Blum, J.-L. Reymond, "
        "J. Chem. Inf. Model. 52, 2864 (2012), doi:10.1021/ci300415d"
    ),
    licence="CC0",
    level="B3LYP/6-31G(2df,p), geometries too",
    labels={entry.key: entry.described for entry in _ENTRIES},
    structures=_CHARACTERISED,
    free_atoms=_FREE_ATOMS,
    free_atom_unit="Ha",
    errata=(
        f"{UNCHARACTERISED:,} of the {MOLECULES:,} molecules failed the authors' consistency check: the relaxed "
        "geometry is another molecule than was meant. They are left out by the published list, unless "
        "--variant keep-uncharacterised is given.",
        "The list counts molecules from 1. Copies that took its numbers for places from 0 left out the wrong ones "
        "(DimeNet's qm9_eV.npz; PyTorch Geometric before December 2020). Here a molecule is known by the number in its "
        "own file.",
        "Eleven molecules were hard to converge (readme.txt: 21725, 87037, 59827, 117523, 128113, 129053, 129152, "
        "129158, 130535, 6620, 59818); 6620 and 59818 are saddle points. Kept where the list keeps them.",
        "About 130 molecules are in the set twice, with the same geometry: a random split may have one in training and "
        "one in the test. The check of duplicates names them.",
        "176 coordinates are written like 6.8*^-6. Rotational constant A of linear molecules is 0. Both are read as "
        "meant.",
    ),
    advice=(
        "Say how many molecules trained the model: published numbers are for 50,000, 100,000 and 110,000, and errors "
        "of the energy fall by tens of per cent from one to the next. Only the same size compares.",
        "U0, U, H and G are total energies. Results are the same for atomisation energies, less the free atoms' "
        "(references: {from_data: true}), but R² and the mean predictor's error are not.",
        "energy is U0; name another column for others, as in --label energy=H. The heat capacity of every free atom is "
        "2.981 cal/mol/K.",
        "One conformer per molecule, at equilibrium: a model trained on them knows no forces. Frequencies, SMILES and "
        "InChI are not taken over.",
    ),
)
DATASETS: tuple[NamedDataset, ...] = (
    NamedDataset(
        _CARD,
        (_MOLECULE_FILE, _LIST_FILE),
        read_qm9,
        variants={
            "keep-uncharacterised": Variant(
                f"also the {UNCHARACTERISED:,} molecules that failed the consistency check",
                partial(read_qm9, keep_uncharacterised=True),
                MOLECULES,
            )
        },
    ),
)
