"""A data set as a table of scalars, one row per structure, for spreadsheets and pandas."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.system import formula


def scalar_table(data: Dataset, start: int = 0) -> dict[str, np.ndarray]:
    """What there is one number of per structure, by headings with units; ``pandas.DataFrame`` takes it as it is.

    Args:
        data: the structures.
        start: number of the first one, for the column ``index``.

    Returns:
        Arrays with one entry per structure: ``index``, ``formula`` (Hill order), ``number of atoms``, ``charge [e]``,
        then the labels in internal units, ``energy [eV]``, then the columns in the units they have.
    """
    table: dict[str, np.ndarray] = {
        "index": np.arange(start, start + len(data)),
        "formula": _formulas(data),
        "number of atoms": data.n_atoms,
        "charge [e]": np.asarray(data.charge),
    }
    for name, values in data.labels.items():
        if values.ndim == 1 and quantity(name).per == "system":
            table[f"{name} [{quantity(name).unit}]"] = np.asarray(values)
    for key, column in data.columns.items():
        if column.values.ndim == 1 and column.per == "system":
            heading = f"{key} [{column.unit}]" if column.unit else key
            table[free_name(heading, table)] = np.asarray(column.values)
    return table


def _formulas(data: Dataset) -> np.ndarray:
    """Hill formulas; each composition is spelt once, for there are few beside the structures."""
    counts, elements = data.counts()
    compositions, which = np.unique(counts.astype(np.int32), axis=0, return_inverse=True)
    names = [formula(np.repeat(elements, row)) for row in compositions]
    return np.array(names)[which.reshape(-1)]


def free_name(name: str, taken: Iterable[str]) -> str:
    """``name``, with underscores after it while it is taken."""
    others = set(taken)
    while name in others:
        name += "_"
    return name
