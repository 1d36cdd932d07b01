"""A .npy file that rows are appended to, however many there will be."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from atomlens.errors import InputError

_BLOCK = 1 << 20  # bytes
_EXACT = 1 << 53
_ROWS = 1 << 14  # filled with NaN at a time


class GrowingArray:
    """Rows of one type and shape in a .npy file; the number of rows in its head is put right at the end.

    Args:
        path: of the file; it is made.
        dtype: of the numbers.
        shape: of one row.
    """

    def __init__(self, path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.path, self.dtype, self.row, self.rows = path, np.dtype(dtype), shape, 0
        self._file = open(path, "w+b")  # noqa: SIM115  it stays open while the array grows
        self._write_head()
        self._start = self._file.tell()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array."""
        return (self.rows, *self.row)

    def append(self, values: np.ndarray) -> None:
        """Append rows; whole numbers go into a file of floats, not the other way round.

        Raises:
            InputError: a whole number is larger than a float64 can hold exactly.
        """
        if self.dtype.kind == "f" and values.dtype.kind in "iu" and np.abs(values).max(initial=0) > _EXACT:
            raise InputError(
                f"'{self.path.stem}' holds whole numbers beyond 2^53 for some structures and none for others, which no "
                "number says exactly; leave the key out, or give it to all structures"
            )
        # Not ndarray.tofile: its error does not tell a full disk from any other.
        self._file.write(np.ascontiguousarray(values, dtype=self.dtype).data)
        self.rows += len(values)

    def append_unknown(self, rows: int) -> None:
        """Append rows of NaN to an array of floats."""
        for start in range(0, rows, _ROWS):
            self.append(np.full((min(_ROWS, rows - start), *self.row), np.nan))

    def as_floats(self) -> GrowingArray:
        """The same rows as float64 in a file of the same name; this object is of no more use."""
        wide = GrowingArray(self.path.with_suffix(".wide"), np.dtype(np.float64), self.row)
        try:
            for block in self.blocks():
                wide.append(np.frombuffer(block, self.dtype).reshape(-1, *self.row))
        except BaseException:
            wide.close()
            raise
        self._file.close()
        os.replace(wide.path, self.path)
        wide.path = self.path
        return wide

    def blocks(self) -> Iterator[bytes]:
        """The bytes of all rows in turn, whole rows at a time."""
        self._file.flush()
        bytes_of_row = self.dtype.itemsize * int(np.prod(self.row))
        size = max(_BLOCK // max(bytes_of_row, 1), 1) * bytes_of_row
        with open(self.path, "rb") as file:
            file.seek(self._start)
            while size and (block := file.read(size)):
                yield block

    def finish(self) -> None:
        """Write the number of rows into the head, and have the disk keep it all."""
        self._file.seek(0)
        self._write_head()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def close(self) -> None:
        """Let go of a file that is not wanted any more; a full disk cannot object."""
        with suppress(OSError):
            self._file.close()

    def _write_head(self) -> None:
        # numpy leaves room in the head for any number of rows.
        head = {"descr": npy.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
        npy.write_array_header_1_0(self._file, head)
