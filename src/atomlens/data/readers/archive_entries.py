"""The arrays of a numpy archive, row by row: none is ever read as a whole unless it is asked for."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from atomlens.errors import InputError

_BLOCK = 1 << 20  # bytes


@dataclass(frozen=True)
class _Head:
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    in_rows: bool  # whether the rows stand one after the other


class Entries:
    """The arrays of a ``.npz`` archive by name, compressed or not.

    Raises:
        InputError: it is no archive, truncated, or holds pickled objects or what is no array.
    """

    def __init__(self, path: Path) -> None:
        if not zipfile.is_zipfile(path):
            raise InputError("is not a whole numpy archive (.npz); it may be truncated, copy or write it again")
        self._streams: dict[str, tuple[IO[bytes], int]] = {}  # what was opened, and the next row of each
        self._held: dict[str, np.ndarray] = {}  # what cannot be read row by row
        with _readable():
            self._zip = zipfile.ZipFile(path)
            try:
                self._heads = {name.removesuffix(".npy"): self._head(name) for name in self._zip.namelist()}
            except BaseException:
                self._zip.close()
                raise

    def __iter__(self) -> Iterator[str]:
        return iter(self._heads)

    def __contains__(self, key: str) -> bool:
        return key in self._heads

    def shape(self, key: str) -> tuple[int, ...]:
        """Of the whole array."""
        return self._heads[key].shape

    def dtype(self, key: str) -> np.dtype[Any]:
        """Of the numbers as they stand."""
        return self._heads[key].dtype

    def whole(self, key: str) -> np.ndarray:
        """An array in memory."""
        with _readable(), self._zip.open(f"{key}.npy") as file:
            return npy.read_array(file, allow_pickle=False)

    def rows(self, key: str, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``; what was passed over is read again from the beginning."""
        head = self._heads[key]
        if not head.in_rows:
            if key not in self._held:
                self._held[key] = self.whole(key)
            return self._held[key][start:stop]
        with _readable():
            file, place = self._at(key, start)
            size = head.dtype.itemsize * int(np.prod(head.shape[1:]))
            for _ in _chunks((start - place) * size, file):
                pass
            values = np.empty((stop - start, *head.shape[1:]), head.dtype)
            filled = 0
            flat = values.reshape(-1).view(np.uint8)
            for block in _chunks((stop - start) * size, file):
                flat[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
                filled += len(block)
            self._streams[key] = file, stop
        return values

    def close(self) -> None:
        """Let go of the file."""
        for file, _ in self._streams.values():
            file.close()
        self._zip.close()

    def _at(self, key: str, start: int) -> tuple[IO[bytes], int]:
        file, place = self._streams.get(key, (None, 0))
        if file is not None and place <= start:
            return file, place
        if file is not None:
            file.close()
        file = self._zip.open(f"{key}.npy")
        _read_head(file)
        return file, 0

    def _head(self, name: str) -> _Head:
        with self._zip.open(name) as file:
            if not name.endswith(".npy"):  # numpy hands over other files in a zip archive as bytes
                raise InputError(f"holds '{name}', which is no array; write it with numpy.savez")
            found = _read_head(file)
        if found is None:
            with self._zip.open(name) as file:
                values = self._held[name.removesuffix(".npy")] = npy.read_array(file, allow_pickle=False)
            return _Head(values.shape, values.dtype, in_rows=False)
        shape, by_column, dtype = found
        if dtype.hasobject:
            raise InputError("holds pickled objects, which are never read; save plain arrays")
        return _Head(shape, dtype, in_rows=bool(shape) and not (by_column and len(shape) > 1))


def _read_head(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]] | None:
    """Shape, whether columns stand together, and type; None for a version that only numpy itself can read."""
    version = npy.read_magic(file)
    if version == (1, 0):
        return npy.read_array_header_1_0(file)
    return npy.read_array_header_2_0(file) if version == (2, 0) else None


def _chunks(size: int, file: IO[bytes]) -> Iterator[bytes]:
    """So many bytes of a file, some at a time."""
    while size > 0:
        block = file.read(min(size, _BLOCK))
        if not block:
            raise EOFError("it ends before its last number")
        size -= len(block)
        yield block


@contextmanager
def _readable() -> Iterator[None]:
    """One sentence for whatever zipfile and numpy say about a damaged archive."""
    try:
        yield
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise InputError(f"has a damaged entry ({error}); copy or write it again") from None
