"""The study of a molecule: reference data, training, test, checks, explanation, report."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from atomlens import figures
from atomlens.data.dataset import Dataset
from atomlens.data.splits import Split, trajectory_split
from atomlens.data.store import is_store
from atomlens.data.system import AtomicSystem, symbol
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError, Interrupted
from atomlens.evaluation import Evaluation, evaluate
from atomlens.explain.partition.compared import kind
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.files import check_folder, read_json, write_json
from atomlens.model import Model
from atomlens.progress import format_duration, say
from atomlens.reference.molecule import describe
from atomlens.reference.structures import NamedStructure, resolve_structure
from atomlens.reference.xtb import estimate_seconds, sample_trajectories
from atomlens.report.explanations import explained_section
from atomlens.report.page import write_report
from atomlens.simulate import constant_energy_run
from atomlens.study.checks import check_physics, force_differences
from atomlens.study.config import StudyConfig
from atomlens.study.explanation import chosen_analyses, run_analyses
from atomlens.study.panels import WrittenPanels
from atomlens.training import DataConfig, RunConfig, TrainingResult, train
from atomlens.training.config import ReferencesConfig
from atomlens.training.loop import CHECKPOINT, MODEL, cpu_threads, seconds_per_step

IDENTITY = "study.json"
_AXIS_WORDS = {"forces": "force component"}
_CHECKED_FRAMES = 3
# What one molecule and one model can tell.
_ANALYSES = ("contributions", "chemical-potential", "bond-breaking", "rings", "filters", "errors")
_HERO = "atom_contributions"  # the figure beside the headline
_REST_SECONDS = 10.0  # test, checks, constant-energy run and figures of a small molecule, measured
# Nothing that these say changes a number of data or model.
_INDIFFERENT: dict[str, Any] = {"training": {"checkpoint_seconds", "tensorboard", "threads"}, "sampling": {"workers"}}
# What comes after the training can be asked for in other ways without a new one.
_INDIFFERENT |= {"probe": True, "drift_duration": True, "drift_timestep": True}


class _Clock:
    """How long each part took, in s; data and training are timed over all calls that worked on them."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "timings.json"
        self.seconds: dict[str, float] = read_json(self._file) if self._file.is_file() else {}

    @contextmanager
    def time(self, part: str, *, adding: bool = False) -> Iterator[None]:
        say(f"== {part}")
        start = time.monotonic()
        try:
            yield
        finally:
            spent = time.monotonic() - start
            self.seconds[part] = spent + (self.seconds.get(part, 0.0) if adding else 0.0)
            write_json(self._file, self.seconds)


def run_study(
    structure: str, out: str | Path, config: StudyConfig | None = None, *, retrain: bool = False
) -> dict[str, Any]:
    """From a molecule to a trained, tested and explained model.

    Called again with the same settings it goes on where it stopped, and what is finished is not done again.

    Args:
        structure: a name, file or SMILES, see `atomlens.reference.structures.resolve_structure`.
        out: a new or empty folder, or that of the same study.
        config: settings; the defaults take under six minutes for ethanol on two cores.
        retrain: throw the training of an earlier study away and keep its reference data, if they fit.

    Returns:
        What is in ``summary.json``; the folder also gets ``report.html``, ``model.safetensors`` and ``figures/``.

    Raises:
        InputError: the structure is not found, the folder holds something else, or tblite is missing.
        Interrupted: it was asked to stop (Ctrl-C); the same call goes on.
    """
    config = config or StudyConfig()
    named = resolve_structure(structure)
    named.atoms.info.setdefault("name", named.name)
    _check_possible(named, config)
    folder = _open_folder(Path(out), named, config, retrain=retrain)
    try:
        with cpu_threads(config.training.threads):
            return _run(named, folder, config)
    except (Interrupted, KeyboardInterrupt):
        raise Interrupted(f"the same command goes on with what is in {folder}") from None


def _run(named: NamedStructure, folder: Path, config: StudyConfig) -> dict[str, Any]:
    _announce(named, config, folder)
    clock = _Clock(folder)
    with clock.time("reference data", adding=True):
        reused = is_store(folder / "reference" / "data")
        data = sample_trajectories(named.atoms, config.sampling, folder / "reference")
    walkers = np.asarray(data.metadata["walker"])
    split = trajectory_split(data, walkers, config.test_walkers, config.validation, config.training.seed)
    with clock.time("training", adding=True):
        result = _train(config, data, split, folder)
    shutil.copyfile(folder / "training" / MODEL, folder / MODEL)
    test_frames = data.subset(split.test)
    with clock.time("test on frames never seen"):
        evaluation = evaluate(result.model, test_frames, title="test")
    summary = _facts(named, config, data, split, result, evaluation)
    summary["reference"]["reused"] = reused
    drawn = _accuracy_figures(evaluation, result, folder / "figures")
    with clock.time("physics checks"):
        summary["checks"], more = _physics(result.model, test_frames, config, folder / "figures")
        drawn |= more
    with clock.time("explanation"):
        subject, explained = _explain(result.model, data, test_frames, named.name, config, folder / "explanations")
    summary["explanations"] = {"panels": _explained_facts(explained)}
    drawn |= {figure: path for (_, place, figure), path in explained.pictures.items() if place == 0 and figure == _HERO}
    summary["timings"] = clock.seconds
    write_json(folder / "summary.json", summary)
    section = explained_section(
        folder, subject.systems, subject.names, explained.panels, explained.pictures, explained.folders
    )
    page = write_report(folder, summary, drawn, section)
    _conclude(summary, page)
    return summary


def _open_folder(folder: Path, named: NamedStructure, config: StudyConfig, *, retrain: bool) -> Path:
    """Make the study's folder, or take it up again if it is the same study's.

    Raises:
        InputError: it holds something else, or a study with other settings (or other reference data, where those are
            to be used again).
    """
    known = (folder / IDENTITY).is_file()
    check_folder(folder, resuming=known)
    settings = config.model_dump(mode="json", exclude=_INDIFFERENT)
    fingerprint = sha256(json.dumps(describe(named.atoms), sort_keys=True).encode()).hexdigest()
    identity = {"format": "atomlens-study", "structure": fingerprint, "settings": settings}
    before: dict[str, Any] = read_json(folder / IDENTITY) if known else identity
    if before != identity and not retrain:
        other = _difference(before, identity)
        raise InputError(
            f"holds a study with another {other}; choose another folder, or use --retrain to train anew on its "
            "reference data",
            file=str(folder),
        )
    if before["structure"] != fingerprint or before["settings"]["sampling"] != settings["sampling"]:
        raise InputError(
            "holds reference data of another structure or another sampling, which --retrain cannot use; choose another "
            "folder",
            file=str(folder),
        )
    if retrain and (folder / "training").is_dir():
        shutil.rmtree(folder / "training")
        for name in ("timings.json", "summary.json"):
            (folder / name).unlink(missing_ok=True)
    write_json(folder / IDENTITY, identity)
    return folder


def _difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first setting that is not the same, by its path."""
    for key in now:
        old, new = before.get(key), now[key]
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            inner = _difference(old, new)
            return inner if key == "settings" else f"{key}.{inner}"
        return "structure" if key == "structure" else f"{key} ({old} there, {new} now)"
    return "structure"


def _check_possible(named: NamedStructure, config: StudyConfig) -> None:
    """Refuse now what would only fail after sampling or training.

    Raises:
        InputError: a single atom, a probe that is not in the molecule, or too few frames for the split.
    """
    if len(named.atoms) < 2:
        raise InputError(f"{named.name} is a single atom, which has nothing to learn; give a molecule")
    symbols = sorted(set(named.atoms.get_chemical_symbols()))
    if config.probe is not None and config.probe.capitalize() not in symbols:
        raise InputError(f"--probe {config.probe} is not in the molecule; choose one of {', '.join(symbols)}")
    frames = (config.sampling.walkers - config.test_walkers) * config.sampling.frames_per_walker
    if config.test_walkers >= config.sampling.walkers or frames <= config.validation:
        raise InputError(
            f"{config.sampling.walkers} trajectories of {config.sampling.frames_per_walker} frames cannot give "
            f"{config.test_walkers} trajectories for the test and {config.validation} frames for validation; raise "
            "--frames, or lower them with --set validation=... and --set test_walkers=..."
        )


def _announce(named: NamedStructure, config: StudyConfig, folder: Path) -> None:
    """Say what will be done and how long it will take, from short timings on this machine."""
    sampling, frames = config.sampling, config.sampling.walkers * config.sampling.frames_per_walker
    learning = frames - config.test_walkers * sampling.frames_per_walker - config.validation
    steps = config.training.epochs * -(-max(learning, 1) // config.training.batch_size)
    have_data, trained = is_store(folder / "reference" / "data"), (folder / "summary.json").is_file()
    sampling_seconds = 0.0 if have_data else estimate_seconds(named.atoms, sampling)
    system = AtomicSystem.from_ase(named.atoms)
    per_step = 0.0 if trained else seconds_per_step(_run_config(config, {}), [system] * config.training.batch_size)
    training_seconds = steps * per_step
    rest = " or what is left of it" if (folder / "training" / CHECKPOINT).is_file() else ""
    total = sampling_seconds + training_seconds + _REST_SECONDS
    lines = [
        f"Study of {_described(named)} ({named.source.rstrip('.')})",
        f"  1. reference data: {frames} frames of {sampling.method} dynamics at {sampling.temperature:g} K, "
        + ("reused" if have_data else f"about {format_duration(sampling_seconds)}"),
        f"  2. training: SchNet on energies and forces, {steps} steps, "
        + ("done before" if trained else f"about {format_duration(training_seconds)}{rest}"),
        f"  3. test, physics checks, explanation and report: about {format_duration(_REST_SECONDS)}",
        f"  Together about {format_duration(total)}; results in {folder}.",
        "  Interrupt at any time: the same command goes on.",
    ]
    say("\n".join(lines))


def _described(named: NamedStructure) -> str:
    """Formula, atoms, charge and spin in words."""
    facts = describe(named.atoms)
    charge, multiplicity = facts["charge"], facts["multiplicity"]
    words = [named.atoms.get_chemical_formula(mode="hill"), f"{len(named.atoms)} atoms"]
    words += [f"charge {charge:+d}"] if charge else []
    words += [f"multiplicity {multiplicity}"] if multiplicity > 1 else []
    return ", ".join(words)


def _run_config(config: StudyConfig, free_atoms: Mapping[str, float]) -> RunConfig:
    references = ReferencesConfig(unit="eV", values=dict(free_atoms)) if free_atoms else None
    source = DataConfig(path="reference/data")
    return RunConfig(data=source, model=config.model, references=references, training=config.training)


def _train(config: StudyConfig, data: Dataset, split: Split, folder: Path) -> TrainingResult:
    free_atoms = data.metadata["free_atom_energies"]  # an atom whose SCF failed is not in it; then offsets are fitted
    known = all(symbol(number) in free_atoms for number in data.elements)
    run = _run_config(config, free_atoms if known else {})
    place = folder / "training"
    return train(run, data, split, place, resume=(place / "run.yaml").is_file())


def _facts(
    named: NamedStructure,
    config: StudyConfig,
    data: Dataset,
    split: Split,
    result: TrainingResult,
    evaluation: Evaluation,
) -> dict[str, Any]:
    """Everything of the summary that is known before checks and explanation."""
    reference = {key: value for key, value in data.metadata.items() if key not in ("walker", "relaxed", "name")}
    return {
        "atomlens_version": version("atomlens"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["atomlens", *sys.argv[1:]]) if sys.argv[0].endswith("atomlens") else "run_study",
        "structure": {
            "name": named.name,
            "formula": named.atoms.get_chemical_formula(mode="hill"),
            "source": named.source,
            "symbols": named.atoms.get_chemical_symbols(),
            "positions": named.atoms.positions.tolist(),
        },
        "reference": {
            **reference,
            "method": config.sampling.method,
            "walkers": config.sampling.walkers,
            "frames": len(data),
            "correlation_time_fs": data.metadata["energy_autocorrelation_fs"],
            "data_hash": data.hash,
        },
        "split": {
            "method": split.method,
            "train": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
            "hash": split.hash,
        },
        "model": {
            "representation": config.model.model_dump(mode="json")["representation"],
            "parameters": sum(parameter.numel() for parameter in result.model.parameters()),
            "file": MODEL,
        },
        "training": {
            "epochs": len(result.history),
            "steps": result.steps,
            "seconds": result.seconds,
            "best_epoch": result.best_epoch,
            "batch_size": config.training.batch_size,
            "settings": config.training.model_dump(mode="json"),
            "history": result.history,
        },
        "test": {name: found.to_dict() for name, found in evaluation.errors.items()},
    }


def _accuracy_figures(evaluation: Evaluation, result: TrainingResult, folder: Path) -> dict[str, Path]:
    drawn = {"learning_curve": figures.learning_curve(result.history, result.best_epoch)}
    for name, found in evaluation.errors.items():
        labelled, predicted = evaluation.labelled[name].ravel(), evaluation.predicted[name].ravel()
        drawn[f"parity_{name}"] = figures.parity(
            labelled, predicted, _AXIS_WORDS.get(name, name), found.unit, found.mae, found.rmse
        )
    return {name: figures.save_figure(figure, folder, name) for name, figure in drawn.items()}


def _physics(
    model: Model, frames: Dataset, config: StudyConfig, folder: Path
) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    chosen = [frames[index].to_ase() for index in np.linspace(0, len(frames) - 1, _CHECKED_FRAMES).astype(int)]
    differences = force_differences(model, chosen[0])
    trace = constant_energy_run(
        model,
        chosen[0],
        temperature=config.sampling.temperature,
        duration=config.drift_duration,
        timestep=config.drift_timestep,
    )
    drawn = {
        "force_order": figures.finite_difference_order(differences.steps, differences.errors, differences.order),
        "energy_drift": figures.energy_drift(trace.times, trace.total, trace.potential, trace.drift),
    }
    saved = {name: figures.save_figure(figure, folder, name) for name, figure in drawn.items()}
    return check_physics(model, chosen, differences, trace), saved


def _explain(
    model: Model, data: Dataset, frames: Dataset, name: str, config: StudyConfig, folder: Path
) -> tuple[Subject, WrittenPanels]:
    """Every analysis that serves one molecule: drawn on it at rest, with the test frames behind the statistics."""
    positions = np.asarray(data.metadata["relaxed"]["positions"])
    relaxed = replace(data[0], positions=positions)
    probes = None if config.probe is None else (config.probe.capitalize(),)
    named = NamedModel(kind(NamedModel("", model)), model)
    subject = Subject((named,), (relaxed,), (name,), frames, ExplainConfig(probes=probes))
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier call of the same study
    explained = run_analyses(subject, chosen_analyses(_ANALYSES), folder)
    return subject, replace(explained, panels=tuple(pair for pair in explained.panels if not pair[1].unavailable))


def _explained_facts(explained: WrittenPanels) -> list[dict[str, Any]]:
    """Sentences and checks of the panels; their numbers lie in files of their own."""
    return [
        {
            "analysis": row.name,
            "about": "data" if panel.structure is None else "molecule",
            "reading": panel.reading,
            "trust": panel.trust,
            "checks": [check.to_dict() for check in panel.checks],
        }
        for row, panel in explained.panels
    ]


def _conclude(summary: Mapping[str, Any], page: Path) -> None:
    errors = [summary["test"][name] for name in ("energy", "forces")]
    (energy, mean_energy), (forces, mean_forces) = (
        (found["mae"] / KCAL_PER_MOL, found["mean_predictor_mae"] / KCAL_PER_MOL) for found in errors
    )
    failed = [row["name"] for row in summary["checks"] if not row["passed"]]
    say(
        f"On {summary['split']['test']} frames never seen: energy MAE {energy:.3g} kcal/mol (mean predictor "
        f"{mean_energy:.3g}), force MAE {forces:.3g} kcal/mol/Å (mean predictor {mean_forces:.3g})\n"
        f"Physics checks: {'all passed' if not failed else 'FAILED: ' + ', '.join(failed)}\nReport: {page}"
    )
