"""A checksum of memory."""

from __future__ import annotations

import numba
import numpy as np

from atomlens.ops.numba_tools import KEEP, Apart, pointer

_LANES = 64
_FACTOR, _OTHER, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(29)


@numba.njit(pipeline_class=Apart, forceinline=True)
def _mix_rows(data, rows, lanes):  # type: ignore[no-untyped-def]
    for row in range(rows):
        for lane in range(_LANES):
            mixed = (lanes[lane] ^ data[row, lane]) * _FACTOR
            lanes[lane] = mixed ^ (mixed >> _SHIFT)


@numba.njit(cache=KEEP, nogil=True)
def checksum(addresses, sizes):  # type: ignore[no-untyped-def]
    """Of so many bytes at each address: each is mixed into what those before it left, so that order counts as well."""
    lanes = np.empty(_LANES, np.uint64)
    for lane in range(_LANES):
        lanes[lane] = np.uint64(lane) * _OTHER + _FACTOR
    for t in range(addresses.shape[0]):
        words = sizes[t] // 8
        data = numba.carray(pointer(addresses[t]), words, np.uint64)
        rows = words // _LANES
        _mix_rows(numba.carray(pointer(addresses[t]), (rows, _LANES), np.uint64), rows, lanes)
        for place in range(rows * _LANES, words):
            mixed = (lanes[place % _LANES] ^ data[place]) * _FACTOR
            lanes[place % _LANES] = mixed ^ (mixed >> _SHIFT)
        rest = numba.carray(pointer(addresses[t] + 8 * words), sizes[t] - 8 * words, np.uint8)
        for place in range(rest.shape[0]):
            mixed = (lanes[place] ^ np.uint64(rest[place])) * _FACTOR
            lanes[place] = mixed ^ (mixed >> _SHIFT)
        mixed = (lanes[0] ^ np.uint64(sizes[t])) * _FACTOR
        lanes[0] = mixed ^ (mixed >> _SHIFT)
    total = _OTHER
    for lane in range(_LANES):
        total = (total ^ lanes[lane]) * _OTHER
        total ^= total >> _SHIFT
    return total


def mix(addresses: tuple[int, ...], sizes: tuple[int, ...]) -> int:
    """The checksum of so many bytes at each address."""
    return int(checksum(np.array(addresses, np.int64), np.array(sizes, np.int64)))
