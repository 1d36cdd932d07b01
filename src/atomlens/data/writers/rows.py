"""What the writers of single structures share: what is known about one of them, and the names it goes by."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.table import free_name

Advance = Callable[[int], None]  # called with the number of structures that were written since


def units_of(data: Dataset, names: Mapping[str, str]) -> dict[str, str]:
    """The unit of everything that has one, by its name in the file; ``names`` are those of the columns."""
    columns = {names[key]: column.unit for key, column in data.columns.items() if column.unit}
    return {"positions": "Ang", **{name: quantity(name).unit for name in data.labels}, **columns}


def column_names(data: Dataset, reserved: Iterable[str], plain: bool = False) -> dict[str, str]:
    """A name for each column that no label and nothing of the format has.

    Args:
        data: whose columns.
        reserved: names that mean something else in the format.
        plain: whether names may have no characters but letters, digits and ``_ . + -``.
    """
    taken = {*reserved, *data.labels}
    names = {}
    for key in data.columns:
        names[key] = free_name(re.sub(r"[^\w.+-]", "_", key) if plain else key, taken)
        taken.add(names[key])
    return names


def per_atom(data: Dataset, names: Mapping[str, str]) -> list[str]:
    """Names of all that has one row per atom."""
    labels = [name for name in data.labels if quantity(name).per == "atom"]
    return [*labels, *(names[key] for key, column in data.columns.items() if column.per == "atom")]


def labels_of(data: Dataset, index: int) -> dict[str, np.ndarray]:
    """The labels of one structure, without those that are not known."""
    atoms = slice(data.offsets[index], data.offsets[index + 1])
    found = {name: v[atoms if quantity(name).per == "atom" else index] for name, v in data.labels.items()}
    return {name: np.asarray(values) for name, values in found.items() if not np.isnan(values).all()}


def columns_of(data: Dataset, index: int, names: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The columns of one structure by their names in the file, without those that are not known."""
    atoms = slice(data.offsets[index], data.offsets[index + 1])
    found = {
        names[key]: column.values[atoms if column.per == "atom" else index] for key, column in data.columns.items()
    }
    return {name: np.asarray(values) for name, values in found.items() if not np.isnan(values).all()}
