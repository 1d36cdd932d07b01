"""The on-disk form of a data set: a folder of flat memory-mapped arrays and a JSON header, written once, read by many."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from atomlens.data.dataset import Dataset
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
    """
    target = Path(path)
    if target.exists():
        raise InputError("exists already; choose another name or remove it", file=str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        for name in _ARRAYS:
            np.save(temporary / f"{name}.npy", getattr(data, name))
        for name, values in data.labels.items():
            np.save(temporary / f"labels.{name}.npy", values)
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "structures": len(data),
            "hash": data.hash,
            "labels": {name: {"unit": quantity(name).unit, "per": quantity(name).per} for name in data.labels},
            "metadata": dict(data.metadata),
        }
        (temporary / HEADER).write_text(json.dumps(header, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.chmod(0o755)
        os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def read_store(path: str | Path) -> Dataset:
    """Open a store; arrays are mapped, not read, until they are used.

    Raises:
        InputError: the header or an array is missing or damaged, or was written by a newer format.
    """
    folder = Path(path)
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        if header["format"] != FORMAT or header["format_version"] != FORMAT_VERSION:
            raise InputError(
                f"has format {header['format']} {header['format_version']}, this atomlens reads {FORMAT} {FORMAT_VERSION}; "
                "import the data again",
                file=str(folder),
            )
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
        labels = {
            name: np.load(folder / f"labels.{name}.npy", mmap_mode="r", allow_pickle=False) for name in header["labels"]
        }
    except (OSError, ValueError, KeyError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"is a damaged store ({error}); import the data again", file=str(folder)) from None
    return Dataset(**arrays, labels=labels, metadata=header["metadata"])
