"""Crystals in JSON as pymatgen writes them, read without it, and long JSON files document by document."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from ase.data import atomic_numbers

from atomlens.errors import InputError

_CHUNK = 1 << 20  # characters


@dataclass(frozen=True)
class Crystal:
    """One ordered structure."""

    numbers: np.ndarray  # (atoms,)
    positions: np.ndarray  # (atoms, 3) Å
    cell: np.ndarray  # (3, 3) Å, rows are lattice vectors
    pbc: np.ndarray  # (3,) bool


def crystal(values: Any) -> Crystal:
    """A structure from pymatgen's dictionary: ``lattice.matrix``, ``sites`` with ``species`` and ``abc`` or ``xyz``.

    Raises:
        InputError: it is no such dictionary, or a site is shared by several species or partly empty.
    """
    try:
        lattice, sites = values["lattice"], values["sites"]
        cell = np.array(lattice["matrix"], dtype=np.float64).reshape(3, 3)
        numbers = np.array([_element(site, place) for place, site in enumerate(sites)], dtype=np.int64)
        if all("abc" in site for site in sites):
            positions = np.array([site["abc"] for site in sites], dtype=np.float64).reshape(-1, 3) @ cell
        else:
            positions = np.array([site["xyz"] for site in sites], dtype=np.float64).reshape(-1, 3)
        pbc = np.array(lattice.get("pbc", [True] * 3), dtype=bool).reshape(3)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"is no structure as pymatgen writes it ({error!r}); export it again") from None
    return Crystal(numbers, positions, cell, pbc)


def _element(site: Any, place: int) -> int:
    species = site["species"]
    if len(species) != 1 or abs(float(species[0].get("occu", 1)) - 1.0) > 1e-3:
        shares = ", ".join(f"{entry.get('element')} {entry.get('occu')}" for entry in species) or "nothing"
        raise InputError(
            f"a site is disordered (it holds {shares}); leave the structure out, or order it into a larger cell",
            atom=place,
        )
    symbol = str(species[0]["element"])
    if symbol in ("D", "T"):  # isotopes of hydrogen, which electrons cannot tell apart
        return 1
    if symbol not in atomic_numbers or not atomic_numbers[symbol]:
        raise InputError(f"'{symbol}' is no element; correct it", atom=place)
    return int(atomic_numbers[symbol])


def documents(path: Path, name: str = "") -> Iterator[dict[str, Any]]:
    """The objects of a JSON file one by one: of a list, of one object a line, or of the ``data`` of an API's answer.

    Args:
        path: of the file, which may be compressed (``.gz``).
        name: by which messages call it, where it is not its path.

    Raises:
        InputError: it cannot be read, ends early, or holds something else than objects.
    """
    name = name or str(path)
    try:
        with _opened(path) as text:
            for document in _objects(text):
                if set(document) <= {"data", "meta", "errors"} and isinstance(document.get("data"), list):
                    yield from map(_object, document["data"])
                else:
                    yield document
    except InputError as error:
        raise error.at(file=name) from None
    except UnicodeDecodeError:
        raise InputError("is no text, so no JSON; check the file", file=name) from None
    except (OSError, EOFError) as error:
        raise InputError(f"cannot be read ({error}); check the file, or fetch it again", file=name) from None


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")


def _objects(text: IO[str]) -> Iterator[dict[str, Any]]:
    """The values at the top of a file, or in the list at its top."""
    decoder = json.JSONDecoder()
    buffer, size, in_list, first = text.read(_CHUNK), _CHUNK, False, True
    while True:
        buffer = buffer.lstrip(" \t\r\n," if in_list else " \t\r\n")
        if first and buffer.startswith("["):
            buffer, in_list, first = buffer[1:], True, False
            continue
        if in_list and buffer.startswith("]"):
            return
        try:
            value, end = decoder.raw_decode(buffer)
        except json.JSONDecodeError:
            more = text.read(size)
            if not more:
                if not buffer and not in_list:
                    return
                raise InputError("is no JSON of documents, or ends early; fetch or write it again") from None
            # Twice as much each time: a long document is not scanned again and again.
            buffer, size = buffer + more, 2 * size
            continue
        first, size, buffer = False, _CHUNK, buffer[end:]
        yield _object(value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"holds {str(value)[:40]!r} where an object is needed; give documents with structures")
    return value
