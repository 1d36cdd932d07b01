"""A process that keeps molecules in one format, on request in JSON lines (``python -m benchmarks.data.worker FORMAT``).

Requests: ``hello``; ``write`` an archive's molecules; ``open``; ``show`` some molecules; ``read`` for some seconds;
``memory``; ``bring_in`` and ``search``, of the store alone; ``stop``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from atomlens.data.neighbour_cache import stored_neighbours
from atomlens.data.readers import import_dataset, read_dataset
from atomlens.data.store import read_store
from benchmarks.data.formats import CUTOFF, FORMATS, Reader, size_on_disk, versions
from benchmarks.worker import Answering, Reply, give_memory_back, reset_high_water_mark, serve, status

KINDS = {"one": 1, "gather32": 32, "gather256": 256, "batch32": 32, "batch256": 256}  # molecules read at once


class DataWorker(Answering):
    """Holds the data set that was opened last."""

    def __init__(self, key: str) -> None:
        self.format = next(entry for entry in FORMATS if entry.key == key)
        self.reader: Reader | None = None
        self.before: dict[str, float] = {}

    def do_hello(self) -> Reply:
        """Versions of what takes part."""
        return {"versions": versions(self.format)}

    def do_write(self, archive: str, path: str) -> Reply:
        """Write the molecules of a numpy archive that lie in memory already."""
        data = read_dataset(archive)
        start = time.perf_counter()
        self.format.write(data, Path(path))
        return {"seconds": time.perf_counter() - start, "bytes": size_on_disk(Path(path))}

    def do_open(self, path: str) -> Reply:
        """Open a data set; memory counts from here."""
        self.before = _memory_mark()
        start = time.perf_counter()
        self.reader = self.format.read(Path(path))
        return {"seconds": time.perf_counter() - start}

    def do_show(self, rows: list[int], results: str) -> Reply:
        """Write what is read in every way, for comparison."""
        reader, indices = self._opened, np.array(rows)
        numbers, positions, energies, forces = zip(*(reader.one(row) for row in rows), strict=True)
        gathered = dict(zip(("sizes", "numbers", "positions", "energy", "forces"), reader.gather(indices), strict=True))
        batch, targets = reader.batch(indices)
        shown: dict[str, Any] = {
            "one_numbers": np.concatenate(numbers),
            "one_positions": np.concatenate(positions),
            "one_energy": np.array(energies),
            "one_forces": np.concatenate(forces),
            "centre": batch.pairs.centre.numpy(),
            "neighbour": batch.pairs.neighbour.numpy(),
            "batch_positions": batch.positions.numpy(),
            "batch_energy": targets["energy"].numpy(),
            "batch_forces": targets["forces"].numpy(),
        }
        np.savez(results, **shown, **gathered)
        return {}

    def do_read(self, kind: str, structures: int, seconds: float, seed: int) -> Reply:
        """Read random molecules for so long: how many there were, and the time they took."""
        reader, at_once = self._opened, KINDS[kind]
        reading: Callable[[np.ndarray], object] = reader.batch if kind.startswith("batch") else reader.gather
        if kind == "one":
            reading = lambda rows: reader.one(int(rows[0]))  # noqa: E731
        read, spent = 0, 0.0
        for rows in _drawn(structures, at_once, seed):
            start = time.perf_counter()
            reading(rows)
            spent += time.perf_counter() - start
            read += len(rows)
            if spent >= seconds:
                break
        return {"structures": read, "seconds": spent}

    def do_memory(self) -> Reply:
        """Resident memory above that before opening, in MiB: its peak, and now its own and that of mapped files."""
        return _memory_above(self.before)

    def do_bring_in(self, archive: str, path: str) -> Reply:
        """Import a numpy archive into a store."""
        before, start = _memory_mark(), time.perf_counter()
        structures = len(import_dataset(archive, path))
        reply = {"seconds": time.perf_counter() - start, "memory": _memory_above(before)}
        return reply | {"structures": structures, "bytes": size_on_disk(Path(path))}

    def do_search(self, path: str) -> Reply:
        """Search the pairs of a whole store, and keep them."""
        size, before, start = size_on_disk(Path(path)), _memory_mark(), time.perf_counter()
        found = stored_neighbours(read_store(path), CUTOFF)
        if found is None:
            raise RuntimeError("no pairs were kept")
        reply = {"seconds": time.perf_counter() - start, "memory": _memory_above(before)}
        return reply | {"pairs": int(found[0].offsets[-1]), "bytes": size_on_disk(Path(path)) - size}

    @property
    def _opened(self) -> Reader:
        if self.reader is None:
            raise RuntimeError("asked to read before anything was opened")
        return self.reader


def _drawn(structures: int, at_once: int, seed: int) -> Iterator[np.ndarray]:
    """Rows without end, as training draws them: none twice before the others."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(structures)
        for start in range(0, max(structures - at_once + 1, 1), at_once):
            yield order[start : start + at_once]


def _memory_mark() -> dict[str, float]:
    """Where the resident memory stands, in KiB; its peak counts from here."""
    give_memory_back()
    reset_high_water_mark()
    return {"peak": status("VmRSS"), "own": status("RssAnon"), "mapped": status("RssFile")}


def _memory_above(before: Mapping[str, float]) -> dict[str, float]:
    """Resident memory above a mark, in MiB: its highest, and what there is now of its own and of mapped files."""
    now = {"peak": status("VmHWM"), "own": status("RssAnon"), "mapped": status("RssFile")}
    return {name: (now[name] - before[name]) / 1024.0 for name in now}


def main() -> None:
    """Argument: the key of a format."""
    serve(lambda: DataWorker(sys.argv[1]))


if __name__ == "__main__":
    main()
