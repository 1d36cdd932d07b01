"""A run file from data to test, and predictions from file to file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atomlens.data.dataset import Dataset
from atomlens.data.leaks import find_leaks
from atomlens.data.neighbours import neighbour_list
from atomlens.data.readers import read_structures
from atomlens.data.splits import Split, make_split
from atomlens.data.system import AtomicSystem
from atomlens.data.writers import check_suffix, write_predictions
from atomlens.errors import InputError
from atomlens.evaluation import evaluate, predict_structures
from atomlens.files import check_folder, write_json
from atomlens.model import Arrays, Model
from atomlens.progress import say
from atomlens.study.data import check_before_training, open_data, with_references
from atomlens.training import RunConfig, train
from atomlens.training.loop import MODEL
from atomlens.training.losses import loss_weights

_LARGE = 1_000  # atoms; smaller structures take little
_WORTH_A_WORD = 256 * 2**20  # bytes


def run_training(config: RunConfig, out: str | Path, *, resume: bool = False) -> dict[str, Any]:
    """Read data, split, train, and test on what was left out; what ``atomlens train`` does.

    Args:
        config: the run.
        out: a new or empty folder, or that of the run to resume.
        resume: go on with the run in ``out``.

    Returns:
        What is in ``test.json``: the model's file, best epoch, steps, seconds, under ``leaks`` what was found of test
        structures that are close to training structures, and under ``test`` errors by quantity.

    Raises:
        InputError: see `atomlens.study.data`, `make_split` and `atomlens.train`.
        Interrupted: it was asked to stop; its checkpoint is written.
    """
    folder = check_folder(out, resuming=resume)  # before long reading
    data = open_data(config.data)
    config = with_references(config.for_labels(data.labels, data.origin.unread), data)
    checked = None if resume else check_before_training(data, config.data.check)
    split = split_of(config, data, folder, resume=resume)
    say(
        f"{len(data)} structures; {len(split.train)} train, {len(split.validation)} validate, {len(split.test)} test; "
        f"split {split.hash[:12]}"
    )
    leaks = find_leaks(data, split)
    for sentence in leaks.sentences:
        say(f"note: {sentence}")
    result = train(config, data, split, folder, resume=resume)
    if checked is not None:
        write_json(folder / "check.json", checked.to_dict())
    report: dict[str, Any] = {
        "model": str(folder / MODEL),
        "best_epoch": result.best_epoch,
        "steps": result.steps,
        "seconds": result.seconds,
        "leaks": leaks.to_dict(),
    }
    if len(split.test):
        evaluation = evaluate(result.model, data.subset(split.test), title="test")
        report["test"] = {name: found.to_dict() for name, found in evaluation.errors.items()}
    write_json(folder / "test.json", report)
    return report


def split_of(config: RunConfig, data: Dataset, folder: Path, *, resume: bool = False) -> Split:
    """The split of a run: that of the run to resume, of the file that it names, or drawn.

    Raises:
        InputError: it cannot be drawn, or belongs to other structures.
    """
    shares = config.split
    if resume and (folder / "split.json").is_file():
        return Split.load(folder / "split.json", data)
    if shares.file is not None:
        return Split.load(shares.file, data)
    # Structures without any label to learn from are left out, as many of QM9's are for most of its properties.
    predicted = Model(config.model, data.elements).predicted
    known = data.known(list(loss_weights(config.training.loss, list(data.labels), predicted)))
    if not known.all() and known.any():
        say(f"{int((~known).sum()):,} structures have none of the labels and are left out")
    among = known if known.any() else None  # training will say what is missing
    try:
        return make_split(
            data, shares.method, shares.train, shares.validation, shares.test, shares.seed, among, **shares.options
        )
    except InputError as error:
        raise error.at(file=config.data.place) from None


def predict_file(
    model: Model,
    structures: str | Path,
    out: str | Path,
    *,
    forces: bool = True,
    position_unit: str | None = None,
) -> list[Arrays]:
    """Predict the structures of a file into another one; what ``atomlens predict`` does.

    Args:
        model: any model.
        structures: a file that ASE reads, a numpy archive or a store.
        out: ``.xyz``, ``.extxyz``, ``.npz`` or ``.json``.
        forces: also forces, and stress of crystals.
        position_unit: of the structures where it is not Å.

    Returns:
        The predictions, as `Model.predict` gives them.

    Raises:
        InputError: a file cannot be read or written so, or a structure is refused.
    """
    check_suffix(out)
    systems = read_structures(structures, position_unit)
    try:
        _announce_memory(model, systems)
        found = predict_structures(model, systems, forces=forces, stress=None if forces else False, title="predict")
    except InputError as error:
        raise error.at(file=str(structures)) from None
    write_predictions(out, systems, found)
    warn_of_strangers(model, systems)
    return found


def _announce_memory(model: Model, systems: Sequence[AtomicSystem]) -> None:
    """Say beforehand what the largest structure takes, where that is much; it is predicted in one piece."""
    place = max(range(len(systems)), key=lambda index: len(systems[index].numbers), default=0)
    if not systems or len(systems[place].numbers) < _LARGE:
        return
    try:
        pairs = len(neighbour_list(systems[place], model.cutoff)[0])
    except InputError as error:
        raise error.at(structure=place) from None
    atoms = len(systems[place].numbers)
    needed = model.bytes_needed(atoms, pairs)
    if needed < _WORTH_A_WORD:
        return
    say(f"largest structure: {atoms:,} atoms, {pairs:,} pairs; takes about {needed / 2**30:.2g} GiB of memory")
    on_host = model.device.type == "cpu" and hasattr(os, "sysconf")
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if on_host else None
    if free is not None and needed > free:
        say(f"note: only {free / 2**30:.2g} GiB are free; close other programs, or cut the structure into smaller ones")


def warn_of_strangers(model: Model, systems: Sequence[AtomicSystem]) -> None:
    """Say so where a model that learned few compositions meets others: there it extrapolates."""
    known = model.provenance.get("compositions")
    if not known:
        return
    strange = sorted({system.formula for system in systems} - set(known))
    if strange:
        more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
        say(
            f"note: {', '.join(strange[:3])}{more} did not occur in training, which knew {', '.join(known)}; "
            "these predictions are extrapolations"
        )
