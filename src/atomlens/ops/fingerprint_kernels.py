"""A checksum of memory."""

from __future__ import annotations

import numba
import numpy as np

from atomlens.ops.numba_tools import KEEP, pointer


@numba.njit(cache=KEEP, nogil=True)
def checksum(addresses, words):  # type: ignore[no-untyped-def]
    """Of 32-bit words at addresses: a sum in which each word counts by its place, and one in which all count alike."""
    ordered, plain = np.uint32(0), np.uint32(0)
    for t in range(addresses.shape[0]):
        data = numba.carray(pointer(addresses[t]), words[t], np.uint32)
        weight, one, other = np.uint32(2654435761), np.uint32(0), np.uint32(0)
        for i in range(words[t]):
            one += data[i] * weight
            other += data[i]
            weight += np.uint32(2246822518)  # even, so that every weight is odd
        ordered = ordered * np.uint32(3266489917) + one
        plain += other
    return np.uint64(ordered) * np.uint64(4294967296) + np.uint64(plain)


def mix(addresses: tuple[int, ...], words: tuple[int, ...]) -> int:
    """The checksum of so many words at each address."""
    return int(checksum(np.array(addresses, np.int64), np.array(words, np.int64)))
