"""What a run was started with, written into its folder, so that nothing else goes on in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch

from atomlens.errors import InputError
from atomlens.files import read_json, write_json
from atomlens.model import Model

SETTINGS = "settings.json"
_PACKAGES = ("atomlens", "ase", "numpy", "torch")


def model_hash(model: Model) -> str:
    """A hash of everything that decides a model's predictions: configuration, elements, precision and weights."""
    digest = hashlib.sha256(f"{model.config.model_dump_json()} {model.elements} {model.charges}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def structure_hash(atoms: ase.Atoms) -> str:
    """A hash of where a run begins: elements, masses, positions, momenta, cell, boundaries and charge."""
    arrays = (atoms.numbers, atoms.get_masses(), atoms.positions, atoms.get_momenta(), atoms.cell.array, atoms.pbc)
    digest = hashlib.sha256(str(atoms.info.get("charge", 0.0)).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of the packages that decide a trajectory, to be written down."""
    return {name: version(name) for name in _PACKAGES}


def agree(folder: str | Path, settings: Mapping[str, Any], *, resume: bool, free: Collection[str] = ()) -> None:
    """Write ``settings.json``; when a run goes on, first see that it does so with what it was started with.

    Args:
        folder: of the run.
        settings: what JSON can say; ``config`` in it is compared entry by entry.
        resume: whether the run goes on.
        free: entries of ``config`` that may change on the way, such as the duration.

    Raises:
        InputError: the folder holds no run, or one that was started differently; names the first difference.
    """
    path = Path(folder) / SETTINGS
    now = json.loads(json.dumps(settings))  # tuples become lists, as in the file
    if resume:
        if not path.is_file():
            raise InputError("holds no run to go on with; start it without --resume", file=str(folder))
        before = read_json(path)
        if not isinstance(before, dict):
            raise InputError("does not hold the settings of a run; start anew", file=str(path))
        _compare(before, now, free, str(path))
    write_json(path, now | {"versions": versions()})


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], free: Collection[str], file: str) -> None:
    flat = [_flat(entry, free) for entry in (before, now)]
    for name in sorted({*flat[0], *flat[1]}):
        first, second = (entry.get(name) for entry in flat)
        if first == second:
            continue
        if name in ("model", "structures"):
            what = "model is another one" if name == "model" else "structure or its velocities are others"
            raise InputError(f"the {what} than the run was started with; hand in that one, or start anew", file=file)
        raise InputError(
            f"'{name}' is {second!r}, but the run was started with {first!r}; set that, or start anew", file=file
        )


def _flat(settings: Mapping[str, Any], free: Collection[str]) -> dict[str, Any]:
    own = {name: value for name, value in settings.items() if name not in ("config", "versions")}
    return own | {name: value for name, value in settings.get("config", {}).items() if name not in free}
