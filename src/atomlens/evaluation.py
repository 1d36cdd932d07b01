"""How far predictions are from labels, always beside a predictor that knows nothing but the mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from atomlens.data.batching import BatchSource
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.runs import runs_within
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.model import Arrays, Model, Structure
from atomlens.progress import track

PAIRS_PER_BATCH = 30_000
STRUCTURES_PER_CALL = 1000


@dataclass(frozen=True)
class Errors:
    """Errors of one quantity over all its components, in the internal unit, and those of predictors without a network.

    The mean predictor always answers with the training mean. Energies are also judged against the model's references
    alone, Σ E_ref[Z]: what counting atoms gives.
    """

    unit: str
    count: int  # structures
    mae: float
    rmse: float
    mean_predictor_mae: float
    mean_predictor_rmse: float
    atom_count_mae: float | None = None  # of energies

    @property
    def gain(self) -> float:
        """How many times smaller the MAE is than the mean predictor's."""
        return self.mean_predictor_mae / self.mae if self.mae else float("inf")

    def in_kcal(self) -> tuple[float, float]:
        """MAE and RMSE in kcal/mol (per Å for forces)."""
        return self.mae / KCAL_PER_MOL, self.rmse / KCAL_PER_MOL

    def to_dict(self) -> dict[str, Any]:
        """All fields, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """Errors by quantity, with the predicted and labelled values that they come from (internal units)."""

    errors: Mapping[str, Errors]
    predicted: Mapping[str, np.ndarray]
    labelled: Mapping[str, np.ndarray]


def batches_by_pairs(source: BatchSource, indices: np.ndarray, limit: int = PAIRS_PER_BATCH) -> Iterator[np.ndarray]:
    """Cut ``indices`` into runs of at most ``limit`` pairs (one structure at least)."""
    for start, stop in runs_within(np.maximum(source.pair_count(indices), 1), limit):
        yield indices[start:stop]


def predict_source(
    model: Model, source: BatchSource, indices: np.ndarray, *, forces: bool, stress: bool = False, title: str = ""
) -> dict[str, np.ndarray]:
    """Predict the structures at ``indices``; arrays are laid end to end, in internal units. A title shows a bar."""
    parts: dict[str, list[np.ndarray]] = {}
    with track(title, len(indices), "structures") as bar:
        for rows in batches_by_pairs(source, indices):
            batch, _ = source.batch(rows)
            for name, value in model.predict(batch.to(model.device), forces=forces, stress=stress).items():
                parts.setdefault(name, []).append(value.cpu().numpy())
            bar.advance(len(rows))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def predict_structures(
    model: Model, structures: Sequence[Structure], *, forces: bool = True, stress: bool | None = None, title: str = ""
) -> list[Arrays]:
    """`Model.predict` of many structures with a progress bar.

    Raises:
        InputError: see `Model.predict`.
    """
    found: list[Arrays] = []
    with track(title, len(structures), "structures") as bar:
        for start in range(0, len(structures), STRUCTURES_PER_CALL):
            some = structures[start : start + STRUCTURES_PER_CALL]
            try:
                found += model.predict(some, forces=forces, stress=stress)
            except InputError as error:
                place = None if error.structure is None else error.structure + start
                raise InputError(error.problem, structure=place, atom=error.atom) from None
            bar.advance(len(some))
    return found


def training_means(data: Dataset, names: list[str]) -> dict[str, Any]:
    """What the mean predictor says: the mean label, per component, as plain lists and numbers."""
    return {
        name: np.nanmean(data.labels[name], axis=0).tolist() for name in names if np.isfinite(data.labels[name]).any()
    }


def errors_of(name: str, predicted: np.ndarray, labelled: np.ndarray, mean: Any, count: int) -> Errors:
    """Errors of one quantity over its known labels, and those of the mean predictor.

    Args:
        name: of `atomlens.data.quantities`.
        predicted: (rows, ...)
        labelled: (rows, ...), NaN where not known.
        mean: what the mean predictor says for every row.
        count: number of structures.
    """
    known = np.isfinite(labelled)
    off, mean_off = (predicted - labelled)[known], (np.asarray(mean) - labelled)[known]
    return Errors(
        unit=quantity(name).unit,
        count=count,
        mae=float(np.abs(off).mean()),
        rmse=float(np.sqrt(np.square(off).mean())),
        mean_predictor_mae=float(np.abs(mean_off).mean()),
        mean_predictor_rmse=float(np.sqrt(np.square(mean_off).mean())),
    )


def evaluate(model: Model, data: Dataset, *, title: str = "evaluate") -> Evaluation:
    """Test a model on labelled structures.

    Every quantity that the model can predict is judged on the structures whose label is known; stress where all are
    periodic in three directions. The mean predictor is that of the training set where the model remembers it, else of
    ``data``.

    Raises:
        InputError: no label fits the model, an element is unknown to it, or a structure is impossible.
    """
    bulk = bool(data.pbc.all())
    offered = [name for name in model.predicted if name != "stress" or bulk]
    names = [name for name in data.labels if name in offered and np.isfinite(data.labels[name]).any()]
    if not len(data):
        raise InputError("there are no structures to test; give some", file=data.origin.file)
    if not names:
        have, can = ", ".join(data.labels) or "none", ", ".join(offered)
        problem = f"no label that the model predicts here (labels: {have}; predicted: {can}); name keys and units"
        raise InputError(problem, file=data.origin.file)
    check_known(model, data)
    source = BatchSource(data, model.cutoff, [], title=f"{title}: neighbours" if title else "")
    rows = np.arange(len(data))
    predicted = predict_source(model, source, rows, forces="forces" in names, stress="stress" in names, title=title)
    labelled = {name: np.asarray(data.labels[name]) for name in names}
    means = {**training_means(data, names), **model.provenance.get("training_means", {})}
    errors = {
        name: errors_of(name, predicted[name], labelled[name], means[name], _known_structures(data, name))
        for name in names
    }
    if "energy" in errors:
        errors["energy"] = replace(errors["energy"], atom_count_mae=_atom_count_mae(model, data))
    return Evaluation(errors, {name: predicted[name] for name in names}, labelled)


def check_known(model: Model, data: Dataset) -> None:
    """Refuse structures that the model cannot serve (elements, charges, boundaries), by their place in the user's file.

    Raises:
        InputError: names file, structure and atom.
    """
    try:
        model.check_elements(data.numbers, data.offsets)
        model.check_charges(data.charge)
        model.check_boundaries(data.pbc)
    except InputError as error:
        place = error.structure or 0
        raise data.located(InputError(error.problem, atom=error.atom), place) from None


def _atom_count_mae(model: Model, data: Dataset) -> float:
    """MAE of the references alone, in eV."""
    terms = model.energy_readout.references.cpu().numpy()[data.numbers]
    off = np.add.reduceat(terms, data.offsets[:-1]) - data.labels["energy"]
    return float(np.abs(off[np.isfinite(off)]).mean())


def _known_structures(data: Dataset, name: str) -> int:
    values = data.labels[name]
    known = np.isfinite(values.reshape(len(values), -1)).any(axis=1)
    if quantity(name).per == "system":
        return int(known.sum())
    return len(np.unique(np.repeat(np.arange(len(data)), data.n_atoms)[known]))
