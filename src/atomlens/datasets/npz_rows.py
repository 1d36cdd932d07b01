"""Reading numpy archives row by row, so that one of a million frames never stands in memory as a whole."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from atomlens.errors import InputError

_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, KeyError)


class NpzRows:
    """An open archive: the shapes of its arrays, whole small ones, and large ones in pieces."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._headers = {
            name.removesuffix(".npy"): self._header(name) for name in archive.namelist() if name.endswith(".npy")
        }

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every array, by its key."""
        return {key: header[0] for key, header in self._headers.items()}

    def whole(self, key: str) -> np.ndarray:
        """An array in memory."""
        with self._archive.open(f"{key}.npy") as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))

    def text(self, key: str) -> str:
        """A text entry, as numpy or bytes hold it; empty where there is none."""
        if key not in self._headers or self._headers[key][2].kind not in "US":
            return ""
        values = self.whole(key).reshape(-1)
        first = values[0] if len(values) else ""
        return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)

    def pieces(self, keys: Sequence[str], size: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Rows of several arrays side by side, ``size`` at a time: where the piece starts, and its arrays by key.

        Raises:
            InputError: the arrays have not one length.
        """
        lengths = {key: self._headers[key][0][0] if self._headers[key][0] else 0 for key in keys}
        count = lengths[keys[0]]
        for key, length in lengths.items():
            if length != count:
                raise InputError(f"'{key}' has {length} rows where '{keys[0]}' has {count}; fetch the file again")
        with ExitStack() as stack:
            readers = {key: self._reader(key, stack) for key in keys}
            for start in range(0, count, size):
                rows = min(size, count - start)
                yield start, {key: read(rows) for key, read in readers.items()}

    def _header(self, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        with self._archive.open(name) as file:
            return _npy_header(file, name)

    def _reader(self, key: str, stack: ExitStack) -> Any:
        shape, by_columns, dtype = self._headers[key]
        if dtype.hasobject:
            raise InputError(f"'{key}' holds pickled objects, which are never read; save plain arrays")
        if by_columns and len(shape) > 1:  # its rows do not lie together in the file
            return _slices(self.whole(key))
        file = stack.enter_context(self._archive.open(f"{key}.npy"))
        _npy_header(file, key)
        width = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize

        def read(rows: int) -> np.ndarray:
            data = file.read(rows * width)
            if len(data) < rows * width:
                raise EOFError(f"'{key}' ends early")
            return np.frombuffer(data, dtype=dtype).reshape(rows, *shape[1:])

        return read


@contextmanager
def npz_rows(path: Path, name: str = "") -> Iterator[NpzRows]:
    """Open a numpy archive.

    Args:
        path: of the file.
        name: by which messages call it, where it is not its path.

    Raises:
        InputError: also while reading in the block: it is no archive, damaged, or holds pickled objects.
    """
    name = name or str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield NpzRows(archive)
    except InputError as error:
        raise error.at(file=name) from None
    except zipfile.BadZipFile:
        problem = "is not a whole numpy archive (.npz), or was altered; fetch or copy it again"
        raise InputError(problem, file=name) from None
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise InputError("holds pickled objects, which are never read; save plain arrays", file=name) from None
        raise InputError(f"has a damaged entry ({error}); fetch or copy it again", file=name) from None


def _npy_header(file: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise InputError(f"'{name}' has version {version} of numpy's format; save it with numpy.savez")


def _slices(values: np.ndarray) -> Any:
    taken = 0

    def read(rows: int) -> np.ndarray:
        nonlocal taken
        taken += rows
        return values[taken - rows : taken]

    return read
