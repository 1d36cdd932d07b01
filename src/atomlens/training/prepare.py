"""What comes before training: everything is checked, and model and batches are built, before anything is written."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.splits import SUBSETS, Split
from atomlens.data.system import formula
from atomlens.errors import InputError
from atomlens.evaluation import batches_by_pairs, check_known, training_means
from atomlens.model import Model
from atomlens.progress import say
from atomlens.readouts import Readout
from atomlens.training.config import RunConfig
from atomlens.training.losses import loss_weights
from atomlens.training.tables import MARGIN

_MOST_COMPOSITIONS = 20  # that a model file lists
_EXAMPLES = 3  # structures in a model file's fingerprint


@dataclass(frozen=True)
class Material:
    """What is trained, checked before anything is written."""

    model: Model
    weights: dict[str, float]
    train: BatchSource
    validation: BatchSource


def prepare(config: RunConfig, data: Dataset, split: Split) -> Material:
    """Check data, split and settings, and build the model and its batches.

    Raises:
        InputError: a label is missing, a structure is impossible, or settings and data do not fit.
    """
    split.check(data)
    subsets = {name: data.subset(getattr(split, name)) for name in SUBSETS}
    model = build_model(config, subsets["train"])
    weights = loss_weights(config.training.loss, list(data.labels), model.predicted)
    # At ρ = 0 the energy's constant is fitted afterwards, so its labels are needed all the same.
    names = sorted({"energy", *weights} if set(weights) & {"forces", "stress"} else weights)
    _refuse_idle(model, weights)
    for part in ("train", "validation"):
        _require(subsets[part], names, weights, part)
    if {"forces", "stress"} & set(weights) and not model.representation.continuous_forces:
        raise InputError(
            "aggregation 'mean' makes energies jump when an atom crosses the cutoff; use 'sum' to train on forces or "
            "stress"
        )
    for subset in subsets.values():
        check_known(model, subset)
    # Test structures are only looked at, so that a bad one is found now and not after the training.
    sources = {
        name: BatchSource(subset, model.cutoff, [] if name == "test" else names, title=f"neighbours, {name}")
        for name, subset in subsets.items()
        if len(subset)
    }
    _standardise(model, sources["train"])
    model.provenance = _provenance(config, data, split, subsets["train"], names)
    model.examples = tuple(subsets["train"][index] for index in range(min(_EXAMPLES, len(subsets["train"]))))
    return Material(model, weights, sources["train"], sources["validation"])


def build_model(config: RunConfig, data: Dataset) -> Model:
    """A fresh model: weights drawn from the seed, references and scale fitted to the training structures ``data``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.training.seed)
        model = Model(config.model, data.elements, np.unique(data.charge).tolist())
    model.set_precision(getattr(torch, config.training.precision))
    model.refine_tables(MARGIN)
    free_atoms = config.references.in_ev() if config.references else None
    model.standardise(data, free_atoms)
    return model


def _require(data: Dataset, names: list[str], weights: dict[str, float], part: str) -> None:
    """Refuse structures that there is nothing to learn from, and say where some of their labels are not known.

    Raises:
        InputError: a quantity has no labels, or a structure has none of those that are trained on.
    """
    for name in names:
        data.label(name)
    if len(names) == 1:
        data.require(names[0])  # says which structure, and what to do
    missing = np.flatnonzero(~data.known(list(weights)))
    if len(missing):
        problem = InputError(f"has none of the labels {', '.join(weights)}; leave the structure out")
        raise data.located(problem, int(missing[0]))
    flat = np.flatnonzero(~data.pbc.all(axis=1))
    if "stress" in weights and len(flat):
        problem = InputError(
            "is not periodic in three directions and has no stress; leave it out, or give stress no weight"
        )
        raise data.located(problem, int(flat[0]))
    for name in names:
        if not np.isfinite(data.label(name)).any():
            raise InputError(f"no {name.replace('_', ' ')} is known in the structures for {part}; give it no weight")
        unknown = int((~data.known([name])).sum())
        if unknown:
            say(f"note: {unknown:,} of {len(data):,} structures for {part} have no {name.replace('_', ' ')}")


def _refuse_idle(model: Model, weights: dict[str, float]) -> None:
    """Refuse a readout that nothing trains: it would answer, and know nothing.

    Raises:
        InputError: names it.
    """
    for name, module in model.readouts.items():
        readout = cast(Readout, module)
        if name == "polarizability" and name not in weights:
            raise InputError(
                "a trace alone does not train the polarizability tensor; give the tensor a weight, or use the readout "
                "'extensive' with the property isotropic_polarizability"
            )
        learned = {name, *readout.derived_quantities} | ({"forces", "stress"} if name == "energy" else set())
        if not learned & set(weights):
            raise InputError(
                f"nothing trains the readout of {name}: no label of it has a weight; name one, or leave the readout out"
            )


def _standardise(model: Model, source: BatchSource) -> None:
    """Fit the representation to the training structures, a few at a time."""
    rows = np.arange(len(source))
    model.representation.standardise(source.batch(part)[0] for part in batches_by_pairs(source, rows))


def _provenance(
    config: RunConfig, data: Dataset, split: Split, training_set: Dataset, names: list[str]
) -> dict[str, Any]:
    facts = {key: value for key, value in data.metadata.items() if isinstance(value, str | int | float)}
    facts = {key: value for key, value in facts.items() if not isinstance(value, float) or np.isfinite(value)}
    return {
        "data": {**facts, "file": Path(config.data.place).name, "hash": data.hash, "structures": len(data)},
        "split": {
            "hash": split.hash,
            "method": split.method,
            "train": len(split.train),
            "validation": len(split.validation),
        },
        "training": config.training.model_dump(mode="json"),
        "training_means": training_means(training_set, names),
        "compositions": _compositions(training_set),
        "versions": {
            "atomlens": version("atomlens"),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def _compositions(data: Dataset) -> list[str] | None:
    """Formulas of the training structures; None where there are many."""
    counts, elements = data.counts()
    rows = np.unique(counts, axis=0)
    if len(rows) > _MOST_COMPOSITIONS:
        return None
    return [formula(np.repeat(elements, row.astype(int))) for row in rows]
