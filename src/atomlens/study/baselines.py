"""Simple baselines and trained models on the data, labels and split of a run file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from atomlens.baselines.problem import Problem
from atomlens.baselines.result import BaselineResult
from atomlens.baselines.suite import check_names, run_baseline, serving
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.splits import Split
from atomlens.data.units import from_internal
from atomlens.errors import InputError, Interrupted
from atomlens.evaluation import Errors, evaluate
from atomlens.files import check_folder, read_json, write_json, write_text
from atomlens.model import Model
from atomlens.model_file import load_model
from atomlens.progress import say
from atomlens.study.data import open_data
from atomlens.study.run import split_of
from atomlens.training import RunConfig
from atomlens.training.losses import loss_weights

_COLUMNS = (
    *("quantity", "unit", "name", "what", "mae", "rmse", "mean_predictor_mae", "test", "size"),
    *("seconds_descriptor", "seconds_fit", "seconds_predict", "chosen", "failure"),
)
RESULTS, TABLE, FIGURE = "baselines.json", "baselines.csv", "baselines"


@dataclass(frozen=True)
class Comparison:
    """Baselines and trained models on one split."""

    data: str  # the file
    structures: int
    split: dict[str, Any]  # hash, method, and how many train, validation and test
    labels: tuple[str, ...]
    rows: tuple[BaselineResult, ...]

    def by_quantity(self) -> dict[str, list[tuple[BaselineResult, Errors]]]:
        """What was measured of each quantity, best first."""
        found: dict[str, list[tuple[BaselineResult, Errors]]] = {label: [] for label in self.labels}
        for row in self.rows:
            for name, errors in row.errors.items():
                found.setdefault(name, []).append((row, errors))
        return {name: sorted(rows, key=lambda pair: pair[1].mae) for name, rows in found.items() if rows}

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return {**vars(self), "labels": list(self.labels), "rows": [row.to_dict() for row in self.rows]}


def compare_baselines(
    config: RunConfig,
    out: str | Path,
    *,
    only: Sequence[str] | None = None,
    models: Sequence[str | Path] = (),
    split: str | Path | None = None,
    resume: bool = False,
) -> Comparison:
    """Judge baselines on the test structures of a run file; what ``atomlens baselines`` does.

    The split is that of ``split``, or else of the first model's folder, or else the one that training would draw.
    Each finished baseline is kept in ``baselines.json``; at the end come ``baselines.csv`` and a figure per quantity.

    Args:
        config: the run file that a network is trained by.
        out: a new or empty folder, or the one to go on in.
        only: names of `atomlens.baselines.BASELINES`; None: all that serve these data.
        models: trained models of the same split, or the folders of their runs.
        split: a split.json.
        resume: keep what is finished in ``out``.

    Raises:
        InputError: a file is unsound, a name is unknown, or a model was trained on another split.
        Interrupted: it was asked to stop; finished baselines are kept.
    """
    check_names(only or ())
    folder = check_folder(out, resuming=resume)
    data = open_data(config.data)
    config = config.for_labels(data.labels, data.origin.unread)
    used = _chosen_split(config, data, folder, split, models)
    loaded = {str(path): _model_of(Path(path), used) for path in models}
    labels = _labels(config, data)
    state = Comparison(config.data.place, len(data), _about(used), labels, ())
    if resume:
        state = _finished(state, folder / RESULTS)
    say(f"{len(used.train)} train, {len(used.validation)} validate, {len(used.test)} test; split {used.hash[:12]}")
    try:
        for label in labels:
            state = _add_baselines(state, Problem.of(data, used, label), only, folder)
        for path, model in loaded.items():
            state = _keep(state, _judged(path, model, data.subset(used.test)), folder)
    except KeyboardInterrupt:
        raise Interrupted(f"finished baselines are kept in {folder}; go on with --resume") from None
    write_text(folder / TABLE, table(state))
    _draw(state, folder)
    return state


def _add_baselines(state: Comparison, problem: Problem, only: Sequence[str] | None, folder: Path) -> Comparison:
    """Run what serves one label and is not finished yet."""
    can = serving(problem.data, problem.label)
    # A quantity that baselines do not learn has its mean, which every table needs.
    names = [name for name in only if name in can or problem.scalar] if only else can
    for name in names:
        before = next((row for row in state.rows if row.name == name), None)
        if before is not None and problem.label in before.errors:
            continue
        found = run_baseline(problem, name, name)
        if before is not None and found.failure is None:
            found = replace(found, errors={**before.errors, **found.errors})
        elif before is not None and before.errors:
            continue
        state = _keep(state, found, folder)
    return state


def _keep(state: Comparison, row: BaselineResult, folder: Path) -> Comparison:
    others = tuple(other for other in state.rows if other.name != row.name)
    state = replace(state, rows=(*others, row))
    write_json(folder / RESULTS, state.to_dict())
    return state


def _chosen_split(
    config: RunConfig, data: Dataset, folder: Path, file: str | Path | None, models: Sequence[str | Path]
) -> Split:
    if file is not None:
        return Split.load(file, data)
    for path in models:
        beside = (Path(path) if Path(path).is_dir() else Path(path).parent) / "split.json"
        if beside.is_file():
            return Split.load(beside, data)
    return split_of(config, data, folder, resume=False)


def _model_of(path: Path, split: Split) -> Model:
    """A trained model, if it learned from this split.

    Raises:
        InputError: it learned from another one, or does not say from which.
    """
    file = path / "model.safetensors" if path.is_dir() else path
    model = load_model(file)
    found = model.provenance.get("split", {}).get("hash")
    if found != split.hash:
        said = f"was trained on the split {found[:12]}" if found else "does not say which split it was trained on"
        raise InputError(
            f"{said}, and the baselines are judged on {split.hash[:12]}; give the model's split.json with --split",
            file=str(path),
        )
    return model


def _judged(path: str, model: Model, test: Dataset) -> BaselineResult:
    """A trained model as a row, with the time of its training where its run says it."""
    where = Path(path)
    beside = (where if where.is_dir() else where.parent) / "test.json"
    seconds = {"fit": float(read_json(beside)["seconds"])} if beside.is_file() else {}
    name = where.name if where.is_dir() else where.parent.name or where.stem
    kind = type(model.representation).__name__
    return BaselineResult(name, f"trained model ({kind})", evaluate(model, test, title=name).errors, {}, seconds)


def _labels(config: RunConfig, data: Dataset) -> tuple[str, ...]:
    """What a training of this run would learn."""
    predicted = Model(config.model, data.elements).predicted
    weights = loss_weights(config.training.loss, list(data.labels), predicted)
    return tuple(name for name in data.labels if name in weights)


def _about(split: Split) -> dict[str, Any]:
    sizes = {name: len(getattr(split, name)) for name in ("train", "validation", "test")}
    return {"hash": split.hash, "method": split.method, **sizes}


def _finished(state: Comparison, file: Path) -> Comparison:
    """What an earlier call finished; failures are tried again.

    Raises:
        InputError: it was on another split, or the file is damaged.
    """
    if not file.is_file():
        return state
    values = read_json(file)
    try:
        same = values["split"]["hash"] == state.split["hash"]
        rows = [BaselineResult.from_dict(row) for row in values["rows"]]
    except (KeyError, TypeError, AttributeError):
        raise InputError("holds no baselines; choose another output folder", file=str(file)) from None
    if not same:
        raise InputError("holds baselines of another split; choose another output folder", file=str(file))
    return replace(state, rows=tuple(row for row in rows if row.failure is None))


def table(state: Comparison) -> str:
    """Everything as CSV, in the units that reports print."""
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow(_COLUMNS)
    for name, rows in state.by_quantity().items():
        unit = quantity(name).shown or quantity(name).unit
        for row, errors in rows:
            shown = [from_internal(value, unit) for value in (errors.mae, errors.rmse, errors.mean_predictor_mae)]
            write.writerow([name, unit, row.name, row.what, *shown, errors.count, *_rest(row)])
    for row in state.rows:
        if row.failure is not None:
            write.writerow(["", "", row.name, row.what, "", "", "", "", *_rest(row)])
    return text.getvalue()


def _rest(row: BaselineResult) -> list[Any]:
    seconds = [row.seconds.get(step, "") for step in ("descriptor", "fit", "predict")]
    return ["" if row.size is None else row.size, *seconds, summary(row), row.failure or ""]


def summary(row: BaselineResult) -> str:
    """The hyper-parameters of a row in a few words."""
    chosen = row.chosen
    if "kernel" in chosen:
        beyond = ", beyond composition" if chosen["removed"] == "elements" else ""
        return f"{chosen['kernel']}, σ {chosen['width']:.3g}, λ {chosen['ridge']:.0e}{beyond}"
    if "sigma" in chosen:
        return f"σ {chosen['sigma']:g}, {chosen['permutations']} permutations, {chosen['solver']}"
    return f"λ {chosen['ridge']:.0e}" if "ridge" in chosen else ""


def _draw(state: Comparison, folder: Path) -> None:
    from atomlens.figures.baselines import baseline_errors
    from atomlens.figures.style import save_figure

    for name, rows in state.by_quantity().items():
        trained = {row.name for row, _ in rows if row.what.startswith("trained model")}
        errors = {row.name: found.mae for row, found in rows}
        figure = baseline_errors(errors, trained, name.replace("_", " "), quantity(name).unit)
        save_figure(figure, folder, f"{FIGURE}_{name}")
