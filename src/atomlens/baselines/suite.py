"""All baselines on one label and one split."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from atomlens.baselines.descriptor import Descriptor, kinds_of
from atomlens.baselines.descriptors import DESCRIPTORS
from atomlens.baselines.gradient_domain import gradient_domain
from atomlens.baselines.kernels import AtomKernel, Kernel, StructureKernel
from atomlens.baselines.problem import Problem
from atomlens.baselines.result import BaselineResult
from atomlens.baselines.ridge import choose, predict
from atomlens.baselines.targets import targets
from atomlens.config import nearest
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.splits import Split
from atomlens.errors import InputError
from atomlens.evaluation import training_means
from atomlens.progress import say


@dataclass(frozen=True)
class Baseline:
    """One method: a row of the registry."""

    name: str
    what: str
    run: Callable[[Problem, str], BaselineResult]  # with the title of its progress bars


def _mean(problem: Problem, title: str) -> BaselineResult:
    """The training mean for every structure."""
    del title
    rows = problem.data.subset(problem.test).labels[problem.label]
    mean = training_means(problem.data.subset(problem.train), [problem.label])[problem.label]
    return BaselineResult("mean", "the training mean", {problem.label: problem.errors(np.zeros_like(rows) + mean)})


def _composition(problem: Problem, title: str) -> BaselineResult:
    """A linear function of composition."""
    del title
    _need_scalar(problem)
    began = time.perf_counter()
    found = problem.composition
    return BaselineResult(
        "composition",
        BASELINES["composition"].what,
        {problem.label: problem.errors(found.predicted[problem.test])},
        {"ridge": found.ridge},
        {"fit": time.perf_counter() - began},
        len(problem.data.elements),
    )


def _kernel_ridge(descriptor: Descriptor, problem: Problem, title: str) -> BaselineResult:
    """Kernel ridge regression on a descriptor."""
    _need_scalar(problem)
    _need_kind(descriptor, problem.data)
    clock = [time.perf_counter()]
    features = descriptor.compute(problem.data, problem.train, f"{title}: descriptor" if title else "")
    clock.append(time.perf_counter())
    extensive = quantity(problem.label).extensive
    kernel: Kernel
    if descriptor.per == "atom":
        kernel = AtomKernel(features, problem.data, average=not extensive)
    else:
        kernel = StructureKernel(features)
    aims = targets(problem.data, problem.label, problem.composition, per_atom=not descriptor.extensive)
    chosen, weights = choose(kernel, aims, problem.train, problem.validation, title)
    clock.append(time.perf_counter())
    predicted = predict(kernel, chosen, weights, problem.train, problem.test, f"{title}: test" if title else "")
    clock.append(time.perf_counter())
    seconds = dict(zip(("descriptor", "fit", "predict"), np.diff(clock).tolist(), strict=True))
    errors = {problem.label: problem.errors(predicted)}
    return BaselineResult(descriptor.name, descriptor.what, errors, chosen.to_dict(), seconds, int(features.shape[1]))


def _need_scalar(problem: Problem) -> None:
    if not problem.scalar:
        raise InputError(f"predicts one number per structure, and {problem.label} are others")


def _need_kind(descriptor: Descriptor, data: Dataset) -> None:
    served = {
        "molecules": "open structures",
        "crystals": "structures that are periodic in three directions",
        "trajectory": "frames of one molecule with its atoms in one order",
    }
    if not kinds_of(data) & set(descriptor.serves):
        raise InputError(f"serves {' or '.join(served[kind] for kind in descriptor.serves)}; these are others")


def _gradient_domain(problem: Problem, title: str, *, name: str, symmetric: bool) -> BaselineResult:
    return gradient_domain(problem, name, BASELINES[name].what, symmetric=symmetric, title=title)


_ROWS = (
    Baseline("mean", "the training mean", _mean),
    Baseline("composition", "ridge regression on counts or shares of the elements", _composition),
    *(Baseline(row.name, row.what, partial(_kernel_ridge, row)) for row in DESCRIPTORS.values()),
    Baseline(
        "gdml",
        "gradient-domain kernel on energies and forces (sgdml)",
        partial(_gradient_domain, name="gdml", symmetric=False),
    ),
    Baseline(
        "sgdml",
        "the same with permutations of alike atoms (sgdml)",
        partial(_gradient_domain, name="sgdml", symmetric=True),
    ),
)
BASELINES: dict[str, Baseline] = {row.name: row for row in _ROWS}


def check_names(names: Sequence[str]) -> None:
    """Refuse names that are not in the registry.

    Raises:
        InputError: the nearest known one is named.
    """
    for name in names:
        if name not in BASELINES:
            raise InputError(f"there is no baseline '{name}'; {nearest(name, list(BASELINES))}")


def serving(data: Dataset, label: str) -> list[str]:
    """The baselines that these structures and this label allow, in the order of the registry."""
    kinds = kinds_of(data)
    kind = quantity(label)
    if kind.per != "system" or kind.shape:
        return ["mean"]
    names = ["mean", "composition", *(row.name for row in DESCRIPTORS.values() if kinds & set(row.serves))]
    learnable = label == "energy" and "trajectory" in kinds and "forces" in data.labels
    return names + (["gdml", "sgdml"] if learnable else [])


def run_baselines(
    data: Dataset, split: Split, label: str, names: Sequence[str] | None = None, *, title: bool = True
) -> list[BaselineResult]:
    """Judge simple methods on the test structures of a split; what cannot be done says why.

    Args:
        data: labelled structures.
        split: which train, which choose hyper-parameters, and which judge.
        label: a quantity of `atomlens.data.quantities`.
        names: of `BASELINES`; None: all that serve such structures.
        title: show progress bars.

    Raises:
        InputError: a name or the label is unknown, or the split is not of these data.
    """
    names = serving(data, label) if names is None else names
    check_names(names)
    problem = Problem.of(data, split, label)
    return [run_baseline(problem, name, name if title else "") for name in names]


def run_baseline(problem: Problem, name: str, title: str = "") -> BaselineResult:
    """One baseline; what a user can mend comes back as the result's ``failure``."""
    try:
        return BASELINES[name].run(problem, title)
    except InputError as error:
        if title:
            say(f"{name}: {error}")
        return BaselineResult(name, BASELINES[name].what, failure=str(error))


__all__ = ["BASELINES", "Baseline", "check_names", "run_baseline", "run_baselines", "serving"]
