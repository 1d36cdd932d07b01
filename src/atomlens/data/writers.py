"""Writing structures with predictions or labels; the suffix chooses the format, and every file states its units."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.io.extxyz import write_extxyz

from atomlens.config import nearest
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.readers.contents import fit
from atomlens.data.readers.structures_json import JSON_FORMAT
from atomlens.data.store import write_store
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.files import replacing, write_text


def write_predictions(
    path: str | Path, structures: Sequence[ase.Atoms | AtomicSystem], predictions: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """Write structures with what a model predicts for them, in one step.

    Args:
        path: ``.xyz`` or ``.extxyz`` (extended XYZ), ``.npz`` (flat layout) or ``.json``; an existing file is replaced.
        structures: in Å.
        predictions: per structure a mapping of quantity names to arrays in internal units, as `Model.predict` returns.

    Raises:
        InputError: the suffix or a quantity is unknown, or a prediction does not fit its structure.
    """
    write = _writer(path, WRITERS)
    systems = [AtomicSystem.from_ase(entry) if isinstance(entry, ase.Atoms) else entry for entry in structures]
    write(_gathered(systems, predictions), Path(path))


def check_suffix(path: str | Path) -> None:
    """Refuse a path that `write_predictions` could not write to, before any long work.

    Raises:
        InputError: the suffix is unknown.
    """
    _writer(path, WRITERS)


def write_dataset(data: Dataset, path: str | Path) -> None:
    """Write a data set for other programs, or as a store where ``path`` has no suffix or ``.store``.

    Raises:
        InputError: the suffix is unknown, or a store is in the way.
    """
    _writer(path, {**WRITERS, ".store": write_store, "": write_store})(data, Path(path))


def _writer(path: str | Path, known: Mapping[str, Callable[[Dataset, Path], None]]) -> Callable[[Dataset, Path], None]:
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        hint = nearest(suffix, [entry for entry in known if entry])
        raise InputError(f"the suffix '{suffix}' names no format that can be written; {hint}", file=str(path))
    return known[suffix]


def _gathered(systems: Sequence[AtomicSystem], predictions: Sequence[Mapping[str, np.ndarray]]) -> Dataset:
    """Structures and predictions end to end, NaN where a structure has none of a quantity."""
    offsets = np.concatenate([[0], np.cumsum([len(system.numbers) for system in systems])]).astype(np.int64)
    labels: dict[str, np.ndarray] = {}
    for index, (system, values) in enumerate(zip(systems, predictions, strict=True)):
        for name, value in values.items():
            kind = quantity(name)
            shape = (len(system.numbers), *kind.shape) if kind.per == "atom" else kind.shape
            fitted = fit(np.asarray(value), shape)
            if fitted is None:
                raise InputError(f"'{name}' has shape {np.shape(value)} where {shape} is needed", structure=index)
            rows = offsets[-1] if kind.per == "atom" else len(systems)
            column = labels.setdefault(name, np.full((rows, *kind.shape), np.nan))
            column[slice(*offsets[index : index + 2]) if kind.per == "atom" else index] = fitted
    return Dataset(
        numbers=np.concatenate([np.asarray(system.numbers) for system in systems] or [np.zeros(0, dtype=np.int64)]),
        positions=np.concatenate([np.asarray(system.positions) for system in systems] or [np.zeros((0, 3))]),
        offsets=offsets,
        cell=np.array([system.cell for system in systems]).reshape(-1, 3, 3),
        pbc=np.array([system.pbc for system in systems], dtype=bool).reshape(-1, 3),
        charge=np.array([system.charge for system in systems], dtype=np.float64),
        labels=labels,
    )


def _units(data: Dataset) -> dict[str, str]:
    return {"positions": "Ang", **{name: quantity(name).unit for name in data.labels}}


def _values(data: Dataset, index: int) -> dict[str, np.ndarray]:
    """The labels of one structure, without those that are not known."""
    atoms = slice(data.offsets[index], data.offsets[index + 1])
    found = {name: v[atoms if quantity(name).per == "atom" else index] for name, v in data.labels.items()}
    return {name: values for name, values in found.items() if not np.isnan(values).all()}


def _write_extended_xyz(data: Dataset, path: Path) -> None:
    units = " ".join(f"{name}={unit}" for name, unit in _units(data).items())
    frames = []
    for index, system in enumerate(data):
        atoms = system.to_ase()
        atoms.info = {"units": units} | ({"charge": _digits(system.charge)} if system.charge else {})
        for name, values in _values(data, index).items():
            if quantity(name).per == "atom":
                # Columns of the format are numbers or rows of numbers; a tensor goes row by row.
                atoms.set_array(name, values.reshape(len(values), -1) if values.ndim > 2 else values)
            else:
                atoms.info[name] = " ".join(_digits(value) for value in values.ravel())
        frames.append(atoms)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ASE, about names of its own results
        write_extxyz(str(temporary), frames, write_results=False)


def _digits(value: float) -> str:
    """All digits, always with a point: some readers of extended XYZ take 1e-05 for a whole number."""
    text = repr(float(value))
    return text if "." in text or not math.isfinite(value) else text.replace("e", ".0e")


def _write_archive(data: Dataset, path: Path) -> None:
    arrays: dict[str, Any] = {
        "n_atoms": data.n_atoms,
        "numbers": data.numbers.astype(np.uint8),
        "positions": data.positions,
        "cell": data.cell,
        "pbc": data.pbc,
        "charge": data.charge,
        **data.labels,
        "units": np.array(json.dumps(_units(data))),
        "metadata": np.array(json.dumps(dict(data.metadata))),
    }
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def _write_json(data: Dataset, path: Path) -> None:
    head = {"format": JSON_FORMAT, "format_version": 1, "units": _units(data), "metadata": dict(data.metadata)}
    entries = []
    for index, system in enumerate(data):
        entry: dict[str, Any] = {"formula": system.formula, "numbers": system.numbers, "positions": system.positions}
        if system.pbc.any() or system.cell.any():
            entry |= {"cell": system.cell, "pbc": system.pbc}
        if system.charge:
            entry["charge"] = np.array(system.charge)
        entries.append(json.dumps(_plain({**entry, **_values(data, index)}), ensure_ascii=False, allow_nan=False))
    body = ",\n".join(entries)
    # One structure per line: indented lists would put every coordinate on a line of its own.
    opening = json.dumps(head, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    write_text(path, f'{opening},\n  "structures": [\n{body}\n]\n}}\n')


def _plain(value: Any) -> Any:
    """Arrays as lists, and null for what is no finite number, for JSON has none."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


WRITERS: dict[str, Callable[[Dataset, Path], None]] = {
    ".xyz": _write_extended_xyz,
    ".extxyz": _write_extended_xyz,
    ".npz": _write_archive,
    ".json": _write_json,
}
