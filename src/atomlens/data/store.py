"""The on-disk form of a data set: a folder of memory-mapped arrays and a JSON header, written once, read by many."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from atomlens.data.dataset import Column, Dataset, Origin
from atomlens.data.quantities import quantity
from atomlens.errors import InputError

HEADER = "header.json"
FORMAT = "atomlens-store"
FORMAT_VERSION = 1
_ARRAYS = ("numbers", "positions", "offsets", "cell", "pbc", "charge")


def is_store(path: str | Path) -> bool:
    """Whether ``path`` is a folder with a store's header."""
    return (Path(path) / HEADER).is_file()


def write_store(data: Dataset, path: str | Path) -> None:
    """Write a data set; the folder appears at ``path`` whole or not at all.

    Raises:
        InputError: something is there already.
        TypeError: the metadata hold something that JSON has not.
    """
    target = Path(path)
    taken = InputError("exists already; choose another name or remove it", file=str(target))
    if target.exists():
        raise taken
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        for name in _ARRAYS:
            _write_array(temporary / f"{name}.npy", getattr(data, name))
        for name, values in data.labels.items():
            _write_array(temporary / f"labels.{name}.npy", values)
        for key, column in data.columns.items():
            _write_array(temporary / f"columns.{key}.npy", column.values)
        with open(temporary / HEADER, "w", encoding="utf-8") as file:
            file.write(json.dumps(_header(data), indent=2, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o755)
        try:
            os.replace(temporary, target)
        except OSError:
            # Another process was quicker: a folder that holds something is never replaced.
            if target.exists():
                raise taken from None
            raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _write_array(path: Path, values: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, values, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _header(data: Dataset) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "structures": len(data),
        "atoms": len(data.numbers),
        "hash": data.hash,
        "units": {"positions": "Ang", "cell": "Ang", "charge": "e"},
        "labels": {name: {"unit": quantity(name).unit, "per": quantity(name).per} for name in data.labels},
        "columns": {
            key: {"unit": column.unit, "per": column.per, "meaning": column.meaning}
            for key, column in data.columns.items()
        },
        "metadata": dict(data.metadata),
    }


def read_store(path: str | Path, *, verify: bool = False) -> Dataset:
    """Open a store; arrays are mapped, not read, until they are used.

    Args:
        path: the folder.
        verify: also read everything and compare it with the hash in the header.

    Raises:
        InputError: the header or an array is missing, truncated or altered, or was written by a newer format.
    """
    folder = Path(path)
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        _check_format(header)
        arrays = {name: _map_array(folder, name) for name in _ARRAYS}
        labels = {name: _map_array(folder, f"labels.{name}") for name in header["labels"]}
        _check_shapes(header, arrays, labels)
        columns = {
            key: Column(_map_array(folder, f"columns.{key}"), **kind) for key, kind in header.get("columns", {}).items()
        }
        data = Dataset(
            **arrays,
            labels=labels,
            metadata=dict(header["metadata"]),
            origin=Origin(str(folder)),
            columns=columns,
        )
        if verify and data.hash != header["hash"]:
            raise InputError("was altered (its hash does not fit); import the data again")
    except InputError as error:
        raise error.at(file=str(folder)) from None
    except KeyError as error:
        raise InputError(
            f"is a damaged store ({HEADER} lacks {error}); import the data again", file=str(folder)
        ) from None
    except (OSError, ValueError, TypeError, AttributeError, EOFError) as error:
        raise InputError(f"is a damaged store ({error}); import the data again", file=str(folder)) from None
    return data


def _check_format(header: Any) -> None:
    if header["format"] != FORMAT or header["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"has format {header['format']} {header['format_version']}, this atomlens reads {FORMAT} {FORMAT_VERSION}; "
            "import the data again"
        )


def _map_array(folder: Path, name: str) -> np.ndarray:
    try:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"is a damaged store ({name}.npy is missing); import the data again") from None
    except (ValueError, EOFError) as error:
        problem = f"is a damaged store ({name}.npy is truncated or altered: {error}); import the data again"
        raise InputError(problem) from None


def _check_shapes(header: Any, arrays: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> None:
    """Compare every array with the header; only ``offsets`` is read."""
    structures, atoms = int(header["structures"]), len(arrays["numbers"])
    needed: dict[str, tuple[tuple[int, ...], str]] = {
        "numbers": ((atoms,), "i8"),
        "positions": ((atoms, 3), "f8"),
        "offsets": ((structures + 1,), "i8"),
        "cell": ((structures, 3, 3), "f8"),
        "pbc": ((structures, 3), "?"),
        "charge": ((structures,), "f8"),
    }
    for name in labels:
        kind = quantity(name)
        if header["labels"][name]["unit"] != kind.unit:
            raise InputError(
                f"states '{name}' in {header['labels'][name]['unit']}, not in {kind.unit}; import the data again"
            )
        needed[f"labels.{name}"] = ((atoms if kind.per == "atom" else structures, *kind.shape), "f8")
    for name, values in {**arrays, **{f"labels.{name}": values for name, values in labels.items()}}.items():
        shape, dtype = needed[name]
        if values.shape != shape or values.dtype != np.dtype(dtype):
            problem = f"{name}.npy holds {values.dtype} {values.shape} where {np.dtype(dtype)} {shape} is needed"
            raise InputError(f"is a damaged store ({problem}); import the data again")
    offsets = arrays["offsets"]
    if structures < 1 or offsets[0] != 0 or offsets[-1] != atoms or (np.diff(offsets) < 1).any():
        raise InputError("is a damaged store (offsets.npy does not fit the atoms); import the data again")
