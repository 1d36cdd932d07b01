"""Model files: safetensors with a JSON header; data, never code.

Beside the weights a file holds its format version, configuration, units, provenance, a digest over all of it, and a
fingerprint: structures with the energies and forces that the model gave when it was saved. Loading computes them again.
Tables of filters come with their certificates, and the fingerprint is there twice: through the tables and without them.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from atomlens.data.quantities import QUANTITIES, quantity
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.files import replacing
from atomlens.model import Model, ModelConfig

FORMAT = "atomlens-model"
FORMAT_VERSION = 3
_HEADER = "atomlens"
_EXAMPLE = "fingerprint."
_PREDICTED, _EXACT = "predicted.", "exact."  # through tables of filters, and by the filters themselves
# Other machines sum in another order: a few hundred roundings of the learned part, and no more.
_TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}
_FORCE_SLACK = 10.0  # forces are differences of many terms


def save_model(model: Model, path: str | Path) -> None:
    """Write a model with its fingerprint; the file appears whole or not at all.

    Tables of filters that do not meet their bound are refined first, in ``model`` as well. A model that was set to
    exact filters is written as one that uses tables: how to evaluate is chosen anew when it is loaded.

    Raises:
        InputError: no table of reasonable size meets the bound.
    """
    model.refine_tables()
    model = copy.deepcopy(model).set_exact_filters(False)
    certificates = model.refine_tables()
    examples = model.examples or _made_up_examples(model)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    tensors |= _structures(examples) | _predictions(model, examples, _PREDICTED)
    if certificates:
        tensors |= _predictions(model.set_exact_filters(), examples, _EXACT)
    header = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "config": model.config.model_dump(mode="json"),
        "elements": list(model.elements),
        "charges": list(model.charges),
        "precision": str(model.dtype).removeprefix("torch."),
        "tables": [found.to_dict() for found in certificates],
        "table_effect": _table_effect(tensors),
        "units": {name: QUANTITIES[name].unit for name in sorted(model.predicted)},
        "provenance": model.provenance,
    }
    header["digest"] = _digest(tensors, header)
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={_HEADER: json.dumps(header, ensure_ascii=False, allow_nan=False)})


def read_header(path: str | Path) -> dict[str, Any]:
    """The JSON header of a model file, without its weights.

    Raises:
        InputError: the file is missing, damaged, no model, or of another format version.
    """
    file = str(path)
    try:
        with safetensors.safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
        header: dict[str, Any] = json.loads(metadata[_HEADER])
    except FileNotFoundError:
        raise InputError("no such model file; check the path", file=file) from None
    except KeyError:
        raise InputError(
            "is a safetensors file, but not one of atomlens; give a model saved by atomlens", file=file
        ) from None
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise InputError(f"is truncated or no model file ({error}); copy or train it again", file=file) from None
    if header.get("format") != FORMAT or header.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"has model format version {header.get('format_version')}, this atomlens reads {FORMAT_VERSION}; "
            "use the atomlens that wrote it",
            file=file,
        )
    return header


def load_model(path: str | Path, device: str | torch.device = "cpu", *, exact_filters: bool = False) -> Model:
    """Load a model and check that it computes what it computed when it was saved.

    Args:
        path: the file.
        device: where the model will be used.
        exact_filters: let it evaluate filters for every pair instead of using their table; it is checked against what
            it computed in that way when it was saved.

    Raises:
        InputError: see `read_header`; also if the file was altered, or the fingerprint is not met.
    """
    header = read_header(path)
    tensors = load_file(path)
    written = header.pop("digest", None)
    if written != _digest(tensors, header):
        raise InputError(
            "was altered after it was saved (its digest does not fit); restore the original", file=str(path)
        )
    try:
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and overwritten at once
            model = Model(ModelConfig.parse(header["config"]), header["elements"], header["charges"])
        model.set_precision(getattr(torch, header["precision"]))
        model.load_state_dict({name: value for name, value in tensors.items() if not name.startswith(_EXAMPLE)})
    except InputError as error:
        raise error.at(file=str(path)) from None
    except RuntimeError:
        raise InputError("holds other weights than its configuration needs; train it again", file=str(path)) from None
    model.provenance = header["provenance"]
    model.examples = _stored_examples(tensors)
    model.to(device)  # the fingerprint is computed where the model will be used
    model.set_exact_filters(exact_filters)
    _check_fingerprint(model, tensors, _EXACT if exact_filters and header["tables"] else _PREDICTED, str(path))
    return model


def _made_up_examples(model: Model) -> tuple[AtomicSystem, ...]:
    """Small clusters of the elements that the model knows, for models that were never trained."""
    rng = np.random.default_rng(0)
    corners = 1.6 * np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3)
    return tuple(
        AtomicSystem.from_ase(
            ase.Atoms(rng.choice(model.elements, size), corners[:size] + rng.uniform(-0.2, 0.2, (size, 3)))
        )
        for size in (2, 5)
    )


def _structures(examples: tuple[AtomicSystem, ...]) -> dict[str, Tensor]:
    arrays = {
        "n_atoms": np.array([len(system.numbers) for system in examples]),
        "numbers": np.concatenate([system.numbers for system in examples]),
        "positions": np.concatenate([system.positions for system in examples]),
        "cell": np.stack([system.cell for system in examples]),
        "pbc": np.stack([system.pbc for system in examples]),
        "charge": np.array([system.charge for system in examples]),
    }
    return {_EXAMPLE + name: torch.from_numpy(array) for name, array in arrays.items()}


def _predictions(model: Model, examples: tuple[AtomicSystem, ...], kind: str) -> dict[str, Tensor]:
    """What the model says of the structures, under the names of tensors in the file."""
    results = model.predict(list(examples), stress=False)
    found = {}
    for name in results[0]:
        join = np.concatenate if quantity(name).per == "atom" else np.stack
        found[_EXAMPLE + kind + name] = torch.from_numpy(join([result[name] for result in results]))
    return found


def _table_effect(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """The largest difference, by quantity, that tables of filters make to the structures of the fingerprint."""
    exact, predicted = _EXAMPLE + _EXACT, _EXAMPLE + _PREDICTED
    names = [name.removeprefix(exact) for name in tensors if name.startswith(exact)]
    return {name: float((tensors[predicted + name] - tensors[exact + name]).abs().max()) for name in names}


def _stored_examples(tensors: Mapping[str, Tensor]) -> tuple[AtomicSystem, ...]:
    stored = {
        name: tensors[_EXAMPLE + name].numpy() for name in ("n_atoms", "numbers", "positions", "cell", "pbc", "charge")
    }
    ends = np.cumsum(stored["n_atoms"])
    return tuple(
        AtomicSystem(
            numbers=stored["numbers"][end - size : end],
            positions=stored["positions"][end - size : end],
            cell=stored["cell"][place],
            pbc=stored["pbc"][place],
            charge=float(stored["charge"][place]),
        )
        for place, (end, size) in enumerate(zip(ends, stored["n_atoms"], strict=True))
    )


def _check_fingerprint(model: Model, tensors: Mapping[str, Tensor], kind: str, file: str) -> None:
    now = _predictions(model, model.examples, kind)
    known = _known_part(model, tensors)
    for name in now:
        quantity_name = name.removeprefix(_EXAMPLE + kind)
        # Rounding follows the size of what the network adds, not that of the references, which are added in float64.
        base = known.get(quantity_name, torch.zeros(()))
        size = float((tensors[name] - base).abs().max()) + model.scales[quantity_name]
        limit = _TOLERANCE[model.dtype] * size * (_FORCE_SLACK if quantity_name == "forces" else 1.0)
        limit += 8.0 * torch.finfo(torch.float64).eps * float(base.abs().max())
        off = float((now[name] - tensors[name]).abs().max())
        if not off <= limit:
            raise InputError(
                f"computes other {quantity_name} than when it was saved, off by {off:.1e} "
                f"{QUANTITIES[quantity_name].unit}; do not trust it here; report the versions of torch and atomlens",
                file=file,
            )


def _known_part(model: Model, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The references' part of energies, which no network computed."""
    if not model.has_energy:
        return {}
    per_atom = model.energy_readout.references.cpu()[tensors[_EXAMPLE + "numbers"]]
    sizes = tensors[_EXAMPLE + "n_atoms"].tolist()
    return {"atom_energies": per_atom, "energy": torch.stack([part.sum() for part in per_atom.split(sizes)])}


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.view(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()
