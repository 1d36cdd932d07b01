"""The on-disk form of a data set: a folder of memory-mapped arrays and a JSON header, written once, read by many."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import numpy as np

from atomlens.data.dataset import Column, Dataset, Origin, content_hash
from atomlens.data.growing import GrowingArray
from atomlens.data.pieces import check_alike, merged_metadata
from atomlens.data.quantities import quantity
from atomlens.errors import InputError
from atomlens.files import disk_is_full

HEADER = "header.json"
FORMAT = "atomlens-store"
FORMAT_VERSION = 1
_STRUCTURES = ("numbers", "positions", "offsets", "cell", "pbc", "charge")
# Entries of the metadata that everybody who opens the header shall find at once.
_SHOWN_FIRST = ("level", "licence", "citation")
_INTEGER, _FLOAT = np.dtype(np.int64), np.dtype(np.float64)


def is_store(path: str | Path) -> bool:
    """Whether ``path`` is a folder with a store's header."""
    return (Path(path) / HEADER).is_file()


def write_store(data: Dataset, path: str | Path) -> None:
    """Write a data set; the folder appears at ``path`` whole or not at all.

    Raises:
        InputError: something is there already, or the disk is full.
        TypeError: the metadata hold something that JSON has not.
    """
    with StoreWriter(path) as writer:
        writer.append(data)


class StoreWriter:
    """Writes a store piece by piece; used in a ``with`` block, at whose end the folder appears, whole or not at all.

    A label or column that only some pieces have is NaN in the others. Memory is that of the largest piece.

    Args:
        path: of the store; nothing may be there.
        metadata: what is known about the data beside what the pieces say; goes before it.
        provenance: where the data come from: ``source``, ``sha256``, ``reader``, whatever is known. Version and date
            are added.

    Raises:
        InputError: on entering and leaving, something is there already; on appending and leaving, the disk is full, or
            a column differs from that of the pieces before in unit, shape or what it belongs to; on leaving, nothing
            was appended.
        TypeError: the metadata hold something that JSON has not.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        metadata: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self._target = Path(path)
        self._metadata: dict[str, Any] = dict(metadata or {})
        self._provenance: dict[str, Any] = dict(provenance or {})
        self._columns: dict[str, Column] = {}
        self._labels: dict[str, GrowingArray] = {}
        self._column_arrays: dict[str, GrowingArray] = {}
        self._names: set[str] = set()

    def __enter__(self) -> Self:
        self._refuse_taken()
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(dir=self._target.parent, prefix=f".{self._target.name}-"))
        rows: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
            "numbers": (_INTEGER, ()),
            "positions": (_FLOAT, (3,)),
            "offsets": (_INTEGER, ()),
            "cell": (_FLOAT, (3, 3)),
            "pbc": (np.dtype(bool), (3,)),
            "charge": (_FLOAT, ()),
        }
        self._structures = {
            name: GrowingArray(self._folder / f"{name}.npy", dtype, shape) for name, (dtype, shape) in rows.items()
        }
        self._structures["offsets"].append(np.zeros(1, dtype=np.int64))
        return self

    def __len__(self) -> int:
        """The structures so far."""
        return self._structures["charge"].rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
            elif isinstance(error, OSError):
                raise self._of_disk(error) from None
        finally:
            for array in self._arrays():
                array.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def append(self, piece: Dataset) -> None:
        """Append the structures of a piece, with their labels and columns.

        Raises:
            InputError: see the class.
        """
        try:
            self._append(piece)
        except OSError as error:
            raise self._of_disk(error) from None

    def note(self, **provenance: Any) -> None:
        """Say more about where the data come from."""
        self._provenance |= provenance

    def _append(self, piece: Dataset) -> None:
        atoms, structures = self._structures["numbers"].rows, len(self)
        for name, array in self._structures.items():
            array.append(piece.offsets[1:] + atoms if name == "offsets" else getattr(piece, name))
        before = {"atom": atoms, "system": structures}
        for name, values in piece.labels.items():
            if name not in self._labels:
                array = self._made(f"labels.{name}", _FLOAT, quantity(name).shape, before[quantity(name).per])
                self._labels[name] = array
            self._labels[name].append(values)
        for key, column in piece.columns.items():
            self._append_column(key, column, before[column.per])
        self._fill()
        self._metadata = merged_metadata(self._metadata, piece.metadata)
        source = piece.origin.file or piece.metadata.get("source")
        if source:
            self._provenance.setdefault("source", Path(str(source)).name)

    def _append_column(self, key: str, column: Column, before: int) -> None:
        check_alike(key, self._columns.setdefault(key, replace(column, values=column.values[:0])), column)
        dtype = _INTEGER if column.values.dtype.kind in "iu" else _FLOAT
        if key not in self._column_arrays:
            # Rows of pieces before that did not have it are NaN, which whole numbers have not.
            self._column_arrays[key] = self._made(
                self._file_name(key), _FLOAT if before else dtype, column.values.shape[1:], before
            )
        elif dtype == _FLOAT:
            self._make_floats(key)
        self._column_arrays[key].append(column.values)

    def _fill(self) -> None:
        """NaN where the last piece had no such label or column."""
        rows = {"atom": self._structures["numbers"].rows, "system": len(self)}
        for name, array in self._labels.items():
            array.append_unknown(rows[quantity(name).per] - array.rows)
        for key, column in self._columns.items():
            missing = rows[column.per] - self._column_arrays[key].rows
            if missing:
                self._make_floats(key)
                self._column_arrays[key].append_unknown(missing)

    def _made(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], before: int) -> GrowingArray:
        array = GrowingArray(self._folder / f"{name}.npy", dtype, shape)
        array.append_unknown(before)
        return array

    def _make_floats(self, key: str) -> None:
        if self._column_arrays[key].dtype != _FLOAT:
            self._column_arrays[key] = self._column_arrays[key].as_floats()

    def _file_name(self, key: str) -> str:
        """A name for the file of a column that every file system takes, and that no other column has."""
        name = f"columns.{quote(key, safe=' ')}"
        if len(name) > 200 or name.lower() in self._names:
            name = f"columns.{hashlib.sha256(key.encode()).hexdigest()}"
        self._names.add(name.lower())
        return name

    def _arrays(self) -> Iterable[GrowingArray]:
        return [*self._structures.values(), *self._labels.values(), *self._column_arrays.values()]

    def _finish(self) -> None:
        if not len(self):
            raise InputError("holds no structures; give at least one", file=str(self._target))
        try:
            header = self._header()
            for array in self._arrays():
                array.finish()
            with open(self._folder / HEADER, "w", encoding="utf-8") as file:
                file.write(json.dumps(header, indent=2, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._folder.chmod(0o755)
            os.replace(self._folder, self._target)
        except OSError as error:
            # Another process was quicker: a folder that holds something is never replaced.
            self._refuse_taken()
            raise self._of_disk(error) from None

    def _header(self) -> dict[str, Any]:
        hashed = {name: self._structures[name] for name in _STRUCTURES}
        hashed |= {f"labels.{name}": self._labels[name] for name in sorted(self._labels)}
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "structures": len(self),
            "atoms": self._structures["numbers"].rows,
            "hash": content_hash((name, array.dtype, array.shape, array.blocks()) for name, array in hashed.items()),
            **{key: self._metadata.get(key) for key in _SHOWN_FIRST},
            "provenance": {**self._provenance, "atomlens": version("atomlens"), "created": created},
            "units": {"positions": "Ang", "cell": "Ang", "charge": "e"},
            "labels": {name: {"unit": quantity(name).unit, "per": quantity(name).per} for name in self._labels},
            "columns": {
                key: {
                    "unit": column.unit,
                    "per": column.per,
                    "meaning": column.meaning,
                    "file": self._column_arrays[key].path.stem,
                }
                for key, column in self._columns.items()
            },
            "metadata": {key: value for key, value in self._metadata.items() if key not in _SHOWN_FIRST},
        }

    def _refuse_taken(self) -> None:
        if self._target.exists():
            raise InputError("exists already; choose another name or remove it", file=str(self._target))

    def _of_disk(self, error: OSError) -> Exception:
        if not disk_is_full(error):
            return error
        return InputError("the disk is full, nothing was written; free space and try again", file=str(self._target))


def read_header(path: str | Path) -> dict[str, Any]:
    """What a store says about itself: ``provenance``, ``level``, ``licence``, ``citation``, ``hash``, ``metadata``, ...

    Raises:
        InputError: there is no header, or it is damaged or of another format.
    """
    try:
        header = json.loads((Path(path) / HEADER).read_text(encoding="utf-8"))
        _check_format(header)
    except InputError as error:
        raise error.at(file=str(path)) from None
    except KeyError as error:
        problem = f"is a damaged store ({HEADER} lacks {error}); import the data again"
        raise InputError(problem, file=str(path)) from None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"is a damaged store ({error}); import the data again", file=str(path)) from None
    return dict(header)


def read_store(path: str | Path, *, verify: bool = False) -> Dataset:
    """Open a store; arrays are mapped, not read, until they are used.

    Args:
        path: the folder.
        verify: also read everything and compare it with the hash in the header.

    Raises:
        InputError: the header or an array is missing, truncated or altered, or was written by a newer format.
    """
    folder = Path(path)
    header = read_header(folder)
    try:
        arrays = {name: _map_array(folder, name) for name in _STRUCTURES}
        labels = {name: _map_array(folder, f"labels.{name}") for name in header["labels"]}
        columns = {key: _column(folder, key, kind) for key, kind in header.get("columns", {}).items()}
        _check_shapes(header, arrays, labels, columns)
        shown = {key: header[key] for key in _SHOWN_FIRST if header.get(key) is not None}
        data = Dataset(
            **arrays,
            labels=labels,
            metadata={**shown, **dict(header["metadata"])},
            origin=Origin(str(folder), unread=tuple(columns)),
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


def _column(folder: Path, key: str, kind: Mapping[str, Any]) -> Column:
    name = kind.get("file", f"columns.{key}")
    if not name.startswith("columns.") or Path(name).name != name:
        raise InputError(f"is a damaged store (the column '{key}' stands in '{name}'); import the data again")
    if kind["per"] not in ("system", "atom"):
        raise InputError(f"is a damaged store (the column '{key}' is per {kind['per']}); import the data again")
    return Column(_map_array(folder, name), kind["per"], kind["unit"], kind["meaning"])


def _map_array(folder: Path, name: str) -> np.ndarray:
    try:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"is a damaged store ({name}.npy is missing); import the data again") from None
    except (ValueError, EOFError) as error:
        problem = f"is a damaged store ({name}.npy is truncated or altered: {error}); import the data again"
        raise InputError(problem) from None


def _check_shapes(
    header: Any, arrays: dict[str, np.ndarray], labels: dict[str, np.ndarray], columns: dict[str, Column]
) -> None:
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
    found = {**arrays}
    for name, values in labels.items():
        kind = quantity(name)
        if header["labels"][name]["unit"] != kind.unit:
            raise InputError(
                f"states '{name}' in {header['labels'][name]['unit']}, not in {kind.unit}; import the data again"
            )
        found[f"labels.{name}"] = values
        needed[f"labels.{name}"] = ((atoms if kind.per == "atom" else structures, *kind.shape), "f8")
    for key, column in columns.items():
        found[f"columns.{key}"] = column.values
        rows = atoms if column.per == "atom" else structures
        needed[f"columns.{key}"] = ((rows, *column.values.shape[1:]), "i8" if column.values.dtype.kind == "i" else "f8")
    for name, values in found.items():
        shape, dtype = needed[name]
        if values.shape != shape or values.dtype != np.dtype(dtype):
            problem = f"{name}.npy holds {values.dtype} {values.shape} where {np.dtype(dtype)} {shape} is needed"
            raise InputError(f"is a damaged store ({problem}); import the data again")
    offsets = arrays["offsets"]
    if structures < 1 or offsets[0] != 0 or offsets[-1] != atoms or (np.diff(offsets) < 1).any():
        raise InputError("is a damaged store (offsets.npy does not fit the atoms); import the data again")
