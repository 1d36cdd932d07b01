"""Crystals of the Materials Project: documents of its interface, files of crystals with targets, repacked archives."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ase
import ase.io
import numpy as np

from atomlens.data.dataset import Column, Dataset, Origin
from atomlens.data.pieces import cuts
from atomlens.data.readers.archive import load_arrays
from atomlens.data.readers.ase_files import translated
from atomlens.datasets.card import Card, NamedDataset
from atomlens.datasets.crystal_documents import Crystal, crystal, documents
from atomlens.datasets.materials_project_api import FORMAT
from atomlens.datasets.sources import Source, found, one
from atomlens.errors import InputError
from atomlens.files import read_json

PIECE = 2_000  # crystals
_REPACKED = "materials_project.npz"
_DOCUMENTS = ("*.json", "*.jsonl", "*.json.gz", "*.jsonl.gz")
_ENERGY = "formation_energy_per_atom"
_TARGETS = {_ENERGY: "formation_energy", "formation_energy": "formation_energy", "band_gap": "gap"}
_UNITS = {"formation_energy": "eV/atom", "gap": "eV"}
_COLUMNS = {"energy_above_hull": ("eV/atom", "above the convex hull of all phases")}
_ID = "number of the material: 149 for mp-149, negative for mvc-"


@dataclass(frozen=True)
class _Row:
    """One crystal with its numbers."""

    crystal: Crystal
    material: int  # 0 where it is not told
    values: Mapping[str, float]  # by key of the file
    place: int


def read_materials_project(paths: tuple[Path, ...]) -> Iterator[Dataset]:
    """Documents (JSON, as `fetch_materials_project` or mp-api writes them), CIF files with targets, or an archive.

    Raises:
        InputError: nothing of it is there, a file is damaged, or a crystal is disordered or has no target.
    """
    with found(paths, (_REPACKED, *_DOCUMENTS, "*.cif", "*.csv")) as sources:
        archives = [source for source in sources if source.path.suffix == ".npz"]
        crystals = [source for source in sources if source.path.suffix == ".cif"]
        if archives:
            yield from _repacked(one(archives, (_REPACKED,)))
        elif crystals:
            yield from _cif_files(crystals, [source for source in sources if source not in crystals])
        else:
            listed = [source for source in sources if source.matches(_DOCUMENTS)]
            if not listed:
                raise InputError("holds targets without crystals; give the CIF files too", file=sources[0].name)
            for source in listed:
                yield from _documents(source)


def material_number(identifier: Any) -> int:
    """The number of ``mp-149``, of ``mvc-149`` (negative), or of the letters that stand for one (``mp-aaaaaaft``).

    The letters are digits to the base 26, a = 0. What is none of these gives 0.
    """
    text = str(identifier or "").strip().lower()
    digits = re.fullmatch(r"(mp|mvc)-(\d+)", text)
    if digits:
        return int(digits[2]) * (1 if digits[1] == "mp" else -1)
    letters = re.fullmatch(r"mp-([a-z]{1,12})", text)
    number = 0
    for letter in letters[1] if letters else "":
        number = 26 * number + ord(letter) - ord("a")
    return number


def _documents(source: Source) -> Iterator[Dataset]:
    """Crystals of a file of documents; deprecated ones are left out."""
    version = ""
    rows: list[_Row] = []
    for place, document in enumerate(documents(source.path, source.name)):
        if document.get("format") == FORMAT:
            version = str(document.get("database_version") or "")
        elif not document.get("deprecated"):
            rows.append(_row(document, place, source.name))
        if len(rows) == PIECE:
            yield _dataset(rows, source.name, version)
            rows = []
    if rows:
        yield _dataset(rows, source.name, version)


def _row(document: Mapping[str, Any], place: int, name: str) -> _Row:
    try:
        if "structure" not in document:
            raise InputError("has no entry 'structure'; ask for it when you fetch the documents")
        structure = document["structure"]
        made = crystal(structure.as_dict() if hasattr(structure, "as_dict") else structure)
        values = {key: _number(document[key], key) for key in (*_TARGETS, *_COLUMNS) if document.get(key) is not None}
    except InputError as error:
        raise error.at(file=name, structure=place) from None
    identifier = document.get("material_id", document.get("task_id"))
    return _Row(made, material_number(identifier), values, place)


def _number(value: Any, key: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"'{key}' is {str(value)[:40]!r}, which is no number; correct it") from None


def _dataset(rows: Sequence[_Row], name: str, version: str = "") -> Dataset:
    every = {label: np.array([_first(row.values, label) for row in rows]) for label in _UNITS}
    labels = {label: values for label, values in every.items() if np.isfinite(values).any()}
    columns = {
        key: Column(np.array([row.values.get(key, np.nan) for row in rows]), "system", unit, meaning)
        for key, (unit, meaning) in _COLUMNS.items()
    }
    return _checked(
        np.concatenate([row.crystal.numbers for row in rows]),
        np.concatenate([row.crystal.positions for row in rows]),
        np.array([len(row.crystal.numbers) for row in rows]),
        labels,
        cell=np.stack([row.crystal.cell for row in rows]),
        pbc=np.stack([row.crystal.pbc for row in rows]),
        columns={**columns, "material_id": Column(np.array([row.material for row in rows]), "system", None, _ID)},
        origin=Origin(name, np.array([row.place for row in rows])),
        version=version,
    )


def _first(values: Mapping[str, float], label: str) -> float:
    return next((values[key] for key, target in _TARGETS.items() if target == label and key in values), np.nan)


def _checked(
    numbers: np.ndarray,
    positions: np.ndarray,
    n_atoms: np.ndarray,
    labels: Mapping[str, np.ndarray],
    *,
    cell: np.ndarray,
    pbc: np.ndarray,
    columns: Mapping[str, Column],
    origin: Origin,
    version: str = "",
) -> Dataset:
    stated = {label: {"key": label, "unit": _UNITS[label]} for label in labels}
    metadata = {"source": origin.file, "labels": stated} | ({"database_version": version} if version else {})
    try:
        return Dataset.from_arrays(
            numbers, positions, n_atoms, labels, cell=cell, pbc=pbc, metadata=metadata, origin=origin, columns=columns
        )
    except InputError as error:
        raise error.at(file=origin.file) from None


def _repacked(source: Source) -> Iterator[Dataset]:
    try:
        arrays = load_arrays(source.path)
        missing = {"n_atoms", "numbers", "positions", "cell", "formation_energy", "material_id"} - arrays.keys()
        if missing:
            raise InputError(f"lacks {', '.join(sorted(missing))}; give an archive of the Materials Project")
    except InputError as error:
        raise error.at(file=source.name) from None
    offsets = np.concatenate([[0], np.cumsum(arrays["n_atoms"], dtype=np.int64)])
    for start, end in cuts(offsets, PIECE):
        atoms, rows = slice(offsets[start], offsets[end]), slice(start, end)
        yield _checked(
            arrays["numbers"][atoms],
            arrays["positions"][atoms],
            arrays["n_atoms"][rows],
            {"formation_energy": arrays["formation_energy"][rows]},
            cell=arrays["cell"][rows],
            pbc=np.ones((end - start, 3), dtype=bool),
            columns={"material_id": Column(arrays["material_id"][rows].astype(np.int64), "system", None, _ID)},
            origin=Origin(source.name, np.arange(start, end)),
        )


def _cif_files(crystals: Sequence[Source], others: Sequence[Source]) -> Iterator[Dataset]:
    """Crystals whose file is called after the material, with targets from a table or JSON file by that name."""
    if not others:
        raise InputError(
            f"has no targets beside its CIF files; add a table (CSV) with the columns material_id and {_ENERGY}",
            file=crystals[0].name,
        )
    targets: dict[str, dict[str, float]] = {}
    for source in others:
        targets |= _targets(source)
    for start in range(0, len(crystals), PIECE):
        rows = [_cif(source, targets, start + place) for place, source in enumerate(crystals[start : start + PIECE])]
        yield _dataset(rows, str(crystals[0].path.parent))


def _cif(source: Source, targets: Mapping[str, dict[str, float]], place: int) -> _Row:
    name = source.inside.stem
    try:
        if name not in targets:
            raise InputError(f"has no target of the name '{name}'; add its row to the table, or remove the file")
        with translated("a CIF file"):
            atoms = cast(ase.Atoms, ase.io.read(str(source.path), format="cif"))
        for site in (atoms.info.get("occupancy") or {}).values():
            if len(site) > 1 or abs(sum(site.values()) - 1.0) > 1e-3:
                shares = ", ".join(f"{symbol} {share:g}" for symbol, share in site.items())
                raise InputError(f"has a disordered site ({shares}); leave the crystal out, or order it")
    except InputError as error:
        raise error.at(file=source.name) from None
    made = Crystal(atoms.numbers.astype(np.int64), atoms.positions, atoms.cell.array, np.ones(3, dtype=bool))
    return _Row(made, material_number(name), targets[name], place)


def _targets(source: Source) -> dict[str, dict[str, float]]:
    readers: dict[str, Callable[[Source], dict[str, dict[str, float]]]] = {".csv": _table, ".json": _mapping}
    if source.path.suffix not in readers:
        raise InputError("is no table (.csv) or JSON file of targets; convert it", file=source.name)
    try:
        return readers[source.path.suffix](source)
    except InputError as error:
        raise error.at(file=source.name) from None


def _table(source: Source) -> dict[str, dict[str, float]]:
    """Targets of a CSV file, whose first row must name the columns: what a nameless column holds is not guessed."""
    with open(source.path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        names = [name.strip() for name in rows.fieldnames or []]
        rows.fieldnames = names
        if "material_id" not in names or not set(names) & set(_TARGETS):
            raise InputError(f"does not name its columns; its first row must hold material_id and {_ENERGY} (eV/atom)")
        kept = [name for name in names if name in _TARGETS or name in _COLUMNS]
        return {
            row["material_id"].strip(): {name: _number(row[name], name) for name in kept if (row[name] or "").strip()}
            for row in rows
        }


def _mapping(source: Source) -> dict[str, dict[str, float]]:
    """Targets of a JSON file: material to number (of the formation energy) or to an object with names."""
    values = read_json(source.path)
    if isinstance(values, list):
        values = {str(entry.get("material_id")): entry for entry in values if isinstance(entry, dict)}
    if not isinstance(values, dict) or not values:
        raise InputError(f"is no JSON object of materials with their {_ENERGY}; write one")
    found_targets = {}
    for name, entry in values.items():
        named = entry if isinstance(entry, dict) else {_ENERGY: entry}
        found_targets[str(name)] = {
            key: _number(named[key], key) for key in (*_TARGETS, *_COLUMNS) if named.get(key) is not None
        }
    return found_targets


_CARD = Card(
    name="materials-project",
    title="Crystals of the Materials Project with formation energies",
    citation=(
        "A. Jain, S. P. Ong, G. Hautier, W. Chen, W. D. Richards, S. Dacek, S. Cholia, D. Gunter, D. Skinner, "
        "G. Ceder, K. A. Persson, APL Materials 1, 011002 (2013), doi:10.1063/1.4812323"
    ),
    licence="CC-BY-4.0",
    level="PBE and PBE+U mixed by corrections fitted to experiments; VASP",
    labels={
        _ENERGY: "eV/atom, taken as formation_energy",
        "band_gap": "eV, of PBE, taken as gap",
        "energy_above_hull": "column, eV/atom",
        "material_id": f"column: {_ID}",
    },
    structures=None,
    errata=(
        "Values and crystals change from one release of the database to the next: the version is written down with "
        "what is fetched. Compare results on the same version only.",
        "Formation energies mix PBE and PBE+U by corrections for some elements and anions, which changed in 2020: they "
        "are no pure density-functional energies.",
        "Entries that the database calls deprecated (wrong or unphysical calculations) are left out.",
        "Repacked archives do not tell the version; some of their elements are in very few crystals (He in 1, Kr in 8, "
        "Xe in 38, Ac in 67, Pa in 70, Pu in 72 of 33,733), so that a small training set may lack them.",
    ),
    advice=(
        "A random split leaves polymorphs of one composition on both sides; split by composition to test on new ones.",
        "Published errors belong to 60,000 training crystals of an old release (SchNet: 0.035 eV/atom); at "
        "3,000 its error is 0.127 eV/atom: name the number of crystals with the error.",
    ),
)

DATASETS: tuple[NamedDataset, ...] = (
    NamedDataset(
        _CARD,
        (),
        read_materials_project,
        why_no_files=(
            "the Materials Project gives its data out to users with a key: pip install 'atomlens[materials-project]', "
            "set MP_API_KEY to your key (next-gen.materialsproject.org/api) and try again, or give documents (JSON) or "
            "CIF files with targets by --from"
        ),
    ),
)
