"""Checks of what a model does to its inputs, its weights and its files."""

from __future__ import annotations

import tempfile
from copy import deepcopy
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from atomlens.data.batch import Batch, Pairs
from atomlens.data.quantities import quantity
from atomlens.testing import rules
from atomlens.testing.result import Measurement
from atomlens.testing.subject import Subject, evaluate, largest, readouts_of

# Difference of float32 and float64 relative to the largest atom term. Networks of a few layers stay near 1e-6; at 1e-4
# of 1 eV per atom, rounding would be as large as the error of a good model.
ROUNDING_LIMIT = 1e-4


def additivity(subject: Subject) -> list[Measurement]:
    """Atom terms give the property, by the readout's own rule and by `rules.total`; what follows from it follows."""
    found = []
    for model in subject.precisions:
        for atoms in subject.everything:
            outputs = evaluate(model, [atoms], derivatives=False)
            for name, readout in readouts_of(model).items():
                value, terms = outputs[name][0], outputs[readout.atom_quantity]
                expected, limit = rules.total(name, terms.cpu().numpy(), atoms)
                own = readout.total(terms, model.collate([atoms]))[0].detach()
                place, unit = f"{name} of {atoms.symbols}", quantity(name).unit
                found.append(Measurement(place, _off(value, expected), limit, unit))
                found.append(Measurement(f"{place}, the readout's own sum", _off(own, expected), limit, unit))
                for part, rule in rules.DERIVED.items():
                    if part in readout.derived_quantities:
                        off = _off(outputs[part][0], rule(value.cpu().numpy()))
                        rounding = 8.0 * rules.EPSILON * largest(value)
                        found.append(Measurement(f"{part} of {atoms.symbols}", off, rounding, quantity(part).unit))
    return found


def inputs_unchanged(subject: Subject) -> list[Measurement]:
    """Predicting changes no tensor of the batch, no structure and no weight, not even to write the same values."""
    changed, model = [], deepcopy(subject.model)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    batch = model.collate(list(subject.molecules + subject.crystals + subject.slabs))
    tensors = _tensors(batch)
    before = {name: (value.clone(), value._version, value.requires_grad) for name, value in tensors.items()}
    model(batch, forces="energy" in model.readouts)
    for name, value in tensors.items():
        copy, version, differentiable = before[name]
        if not torch.equal(value, copy) or value._version != version or value.requires_grad != differentiable:
            changed.append(f"batch.{name}")
    atoms = [entry.copy() for entry in subject.everything]
    model.predict(atoms)
    changed += [
        f"structure {place}" for place, (a, b) in enumerate(zip(atoms, subject.everything, strict=True)) if a != b
    ]
    changed += [name for name, value in model.state_dict().items() if not _same(value, weights[name])]
    return [Measurement(f"changed: {', '.join(changed) or 'nothing'}", len(changed), 0.0, "tensors")]


def precision_kept(subject: Subject) -> list[Measurement]:
    """Weights keep dtype and device, outputs are float64 on the model's device, at either precision of the weights."""
    found = []
    for dtype in (torch.float32, torch.float64):
        model = deepcopy(subject.double).set_precision(dtype)
        outputs = evaluate(model, subject.molecules)
        wrong = [f"{name} is {v.dtype}" for name, v in outputs.items() if v.dtype != torch.float64]
        wrong += [f"{name} is on {v.device}" for name, v in outputs.items() if v.device != model.device]
        wrong += [f"{name} became {value.dtype}" for name, value in model.named_parameters() if value.dtype != dtype]
        wrong += [name for name, value in model.named_parameters() if value.device != subject.model.device]
        found.append(Measurement(f"{dtype}: {', '.join(wrong) or 'all kept'}", len(wrong), 0.0, "tensors"))
    return found


def rounding(subject: Subject) -> list[Measurement]:
    """Atom terms and properties in float32 and float64 agree to single precision, however large the references are."""
    found = []
    for name, readout in subject.readouts.items():
        limit = ROUNDING_LIMIT * subject.sizes[name]
        for of in (readout.atom_quantity, name):
            worst = max(scale.rounding(of, torch.float32) for scale in (subject.open_scale, subject.periodic_scale))
            found.append(Measurement(f"{of} in float32 against float64", worst, limit, quantity(of).unit))
    return found


def saving(subject: Subject) -> list[Measurement]:
    """A saved and loaded model has the same weights and gives the same numbers, bit for bit."""
    from atomlens.model_file import load_model, save_model

    model = deepcopy(subject.model).cpu()  # sums on other devices are not repeatable to the last bit
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(model, path)
        loaded = load_model(path).eval()
    mine, theirs = model.state_dict(), loaded.state_dict()
    altered = [name for name in mine.keys() | theirs.keys() if not _same(mine.get(name), theirs.get(name))]
    altered += [
        name for name in ("config", "elements", "charges", "dtype") if getattr(model, name) != getattr(loaded, name)
    ]
    found = [Measurement(f"altered: {', '.join(sorted(altered)) or 'nothing'}", len(altered), 0.0, "entries")]
    for atoms in subject.everything:
        before, after = evaluate(model, [atoms]), evaluate(loaded, [atoms])
        for name, value in before.items():
            off = largest(after[name] - value)
            found.append(Measurement(f"{name} of {atoms.symbols} after loading", off, 0.0, quantity(name).unit))
    return found


def _tensors(batch: Batch) -> dict[str, Tensor]:
    parts = {field.name: getattr(batch, field.name) for field in fields(batch)}
    pairs: Pairs = parts.pop("pairs")
    parts |= {f"pairs.{field.name}": getattr(pairs, field.name) for field in fields(pairs)}
    return {name: value for name, value in parts.items() if value is not None}


def _off(value: Tensor, expected: np.ndarray | float) -> float:
    return largest(value.cpu() - torch.as_tensor(expected, dtype=torch.float64))


def _same(first: Tensor | None, second: Tensor | None) -> bool:
    if first is None or second is None:
        return False
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return torch.equal(first, second) or bool(torch.isclose(first, second, rtol=0.0, atol=0.0, equal_nan=True).all())
