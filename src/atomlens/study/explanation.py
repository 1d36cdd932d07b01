"""Explanations of models on structures: every analysis that they serve, its figures and numbers, and one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from atomlens.config import nearest
from atomlens.data.dataset import Dataset
from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain.analyses import ANALYSES
from atomlens.explain.analysis import Analysis
from atomlens.explain.subject import ExplainConfig, NamedModel, Subject
from atomlens.files import check_folder, made_at_once, write_json
from atomlens.model import Model
from atomlens.panel import Panel, Topic
from atomlens.progress import track
from atomlens.report.explanations import write_explanations
from atomlens.report.formatting import formula
from atomlens.study.panels import WrittenPanels, write_panels

SHOWN = 10  # structures with panels of their own, unless others are asked for


def make_subject(
    models: Mapping[str, Model],
    data: Dataset,
    *,
    shown: Sequence[int] | None = None,
    dataset: Dataset | None = None,
    config: ExplainConfig | None = None,
) -> Subject:
    """Collect what is to be explained, and refuse what no analysis could serve.

    Args:
        models: by the name that tables and figures give them; the first that serves an analysis is shown by it.
        data: structures.
        shown: places of those with panels of their own; None: the first ten.
        dataset: structures behind distributions, errors and rankings; None: ``data``.
        config: settings.

    Raises:
        InputError: a place, probe or plane does not exist, or every model refuses a structure that is to be shown.
    """
    config = config or ExplainConfig()
    places = list(range(min(len(data), SHOWN))) if shown is None else list(shown)
    places = list(dict.fromkeys(places))
    if not models or not places:
        raise InputError("there is nothing to explain without a model and a structure; give at least one of each")
    for place in places:
        if not 0 <= place < len(data):
            raise InputError(f"there is no structure {place} (the last one is {len(data) - 1}); choose another")
    systems = tuple(data[place] for place in places)
    for place, system in zip(places, systems, strict=True):
        _check_served(models, data, place, system)
    _check_wishes(models, systems, config)
    names = tuple(f"{place} {system.formula}" for place, system in zip(places, systems, strict=True))
    named = tuple(NamedModel(name, model) for name, model in models.items())
    return Subject(named, systems, names, data if dataset is None else dataset, config)


def chosen_analyses(names: Sequence[str] | None) -> list[Analysis]:
    """Rows of the registry by name; all without names.

    Raises:
        InputError: there is no analysis of a name.
    """
    for name in names or ():
        if name not in ANALYSES:
            raise InputError(f"unknown analysis '{name}'; {nearest(name, list(ANALYSES))}")
    return [row for name, row in ANALYSES.items() if not names or name in names]


def explain_models(
    models: Mapping[str, Model],
    data: Dataset,
    out: str | Path,
    *,
    shown: Sequence[int] | None = None,
    dataset: Dataset | None = None,
    analyses: Sequence[str] | None = None,
    config: ExplainConfig | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Write ``report.html``, ``summary.json``, and per panel numbers and figures, into a new folder, in one step.

    Args:
        models: see `make_subject`.
        data: see `make_subject`.
        out: a new or empty folder.
        shown: see `make_subject`.
        dataset: see `make_subject`.
        analyses: names in `ANALYSES`; None: all. One that models or structures cannot serve says why on its panel.
        config: settings.
        command: by which this was asked for, for the page.

    Returns:
        What is in ``summary.json``.

    Raises:
        InputError: see `make_subject` and `chosen_analyses`; the folder is not empty.
    """
    rows = chosen_analyses(analyses)
    folder = check_folder(out, resumable=False)
    subject = make_subject(models, data, shown=shown, dataset=dataset, config=config)
    with made_at_once(folder) as temporary:
        explained = run_analyses(subject, rows, temporary)
        summary = _summary(subject, explained, temporary, command)
        write_json(temporary / "summary.json", summary)
        write_explanations(
            temporary,
            title=_title(subject),
            systems=subject.systems,
            names=subject.names,
            models=summary["models"],
            panels=explained.panels,
            pictures=explained.pictures,
            folders=explained.folders,
            about={key: summary[key] for key in ("atomlens_version", "created", "command", "data")},
        )
    return summary


def run_analyses(subject: Subject, rows: Sequence[Analysis], folder: Path) -> WrittenPanels:
    """Make every panel and write its numbers, figures and files below ``folder``."""
    places = range(len(subject.systems))
    jobs: list[tuple[Analysis, int | None]] = []
    for row in rows:
        jobs += [(row, None)] if row.of_models else []
        jobs += [(row, place) for place in places] if row.of_structure else []
    with track("explain", len(jobs), "panels") as bar:

        def made() -> Iterator[tuple[Topic, Panel]]:
            for row, place in jobs:
                bar.note(row.name)
                yield row, _made(row, subject, place)
                bar.advance()

        return write_panels(folder, made(), subject.names)


def _made(row: Analysis, subject: Subject, place: int | None) -> Panel:
    """The panel, or the sentence why there is none."""
    try:
        if place is None:
            assert row.of_models is not None
            return row.of_models(subject)
        assert row.of_structure is not None
        return row.of_structure(subject, place)
    except InputError as error:
        return Panel(row.name, place, unavailable=str(error))


def _summary(subject: Subject, explained: WrittenPanels, folder: Path, command: str) -> dict[str, Any]:
    """What a program wants to know first, with the way to everything else."""
    return {
        "atomlens_version": version("atomlens"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "models": [described(entry.name, entry.model) for entry in subject.models],
        "structures": [
            {"name": name, "formula": system.formula, "atoms": len(system.numbers)}
            for name, system in zip(subject.names, subject.systems, strict=True)
        ],
        "data": {
            "structures": len(subject.data),
            "file": subject.data.origin.file,
            "labels": list(subject.data.labels),
        },
        "settings": subject.config.model_dump(mode="json"),
        "checks": explained.checked(claims=False),
        "claims": explained.checked(claims=True),
        "panels": explained.listed(subject.names, folder),
    }


def described(name: str, model: Model) -> dict[str, Any]:
    """A model for summaries and pages."""
    return {
        "name": name,
        "representation": model.config.model_dump(mode="json")["representation"],
        "predicts": [name for name in model.predicted if name not in ("forces", "stress")],
        "elements": [symbol(number) for number in model.elements],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _title(subject: Subject) -> str:
    formulas = list(dict.fromkeys(formula(system.formula) for system in subject.systems))
    more = f" and {len(formulas) - 3} more" if len(formulas) > 3 else ""
    return f"{', '.join(formulas[:3])}{more}, explained"


def _check_served(models: Mapping[str, Model], data: Dataset, place: int, system: AtomicSystem) -> None:
    """Refuse a structure that every model refuses, with the last one's reason.

    Raises:
        InputError: names structure and atom in the user's file.
    """
    problem: InputError | None = None
    for model in models.values():
        try:
            model.collate([system])
            return
        except InputError as error:
            problem = InputError(error.problem, atom=error.atom)
    if problem is not None:
        raise data.located(problem, place)


def _check_wishes(models: Mapping[str, Model], systems: Sequence[AtomicSystem], config: ExplainConfig) -> None:
    """Refuse probes that no model knows and planes that no structure has.

    Raises:
        InputError: says which.
    """
    known = sorted({number for model in models.values() for number in model.elements})
    for probe in config.probes or ():
        if probe.capitalize() not in [symbol(number) for number in known]:
            seen = ", ".join(symbol(number) for number in known)
            raise InputError(f"the probe {probe} is an element that the model never saw; choose one of {seen}")
    if config.plane_atoms is not None and len(set(config.plane_atoms)) < 3:
        raise InputError(f"the plane needs three different atoms, not {config.plane_atoms}; choose others")
    atoms, largest = config.plane_atoms, max(len(system.numbers) for system in systems)
    if atoms is not None and not 0 <= min(atoms) <= max(atoms) < largest:
        wrong = max(atoms) if max(atoms) >= largest else min(atoms)
        raise InputError(f"there is no atom {wrong} (the last one is {largest - 1}); choose others for the plane")
