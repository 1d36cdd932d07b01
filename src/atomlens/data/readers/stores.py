"""A store under the names that its reader gives to labels and columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from atomlens.data.dataset import Column, Dataset, Origin
from atomlens.data.quantities import Quantity, quantity
from atomlens.data.readers.labels import LabelSource, absent
from atomlens.data.units import same_unit, to_internal
from atomlens.errors import InputError


def from_store(data: Dataset, labels: Mapping[str, LabelSource] | None, position_unit: str | None) -> Dataset:
    """The labels that are wanted, under the names they shall have, from the labels and columns of a store.

    What is not wanted stays as columns. Arrays stay mapped where no unit has to be converted.

    Args:
        data: as `read_store` opened it.
        labels: by quantity its key, the name of a label or column, and the unit where a column has none; None for the
            store's labels.
        position_unit: Å or None, for a store knows no other.

    Raises:
        InputError: there is no such key, or its unit or shape is not that of the quantity.
    """
    if position_unit is not None and not same_unit(position_unit, "Ang"):
        raise InputError(f"is a store, with positions in Ang, not in {position_unit}; leave the unit to the store")
    if labels is None:
        return data
    chosen = {name: _label(data, name, source) for name, source in labels.items()}
    taken = {source.key for source in labels.values()}
    left = {
        name: Column(values, quantity(name).per, quantity(name).unit, quantity(name).meaning)
        for name, values in data.labels.items()
        if name not in taken
    }
    left |= {key: column for key, column in data.columns.items() if key not in taken or key in data.labels}
    unread = tuple(key for key in (*data.labels, *data.columns) if key not in taken)
    return replace(data, labels=chosen, columns=left, origin=Origin(data.origin.file, unread=unread))


def _label(data: Dataset, name: str, source: LabelSource) -> np.ndarray:
    kind, key = quantity(name), source.key
    if key in data.labels:
        unit: str | None = quantity(key).unit
        values, per = data.labels[key], quantity(key).per
    elif key in data.columns:
        unit, values, per = data.columns[key].unit, data.columns[key].values, data.columns[key].per
    else:
        raise absent(f"has no label or column '{key}'", key, [*data.labels, *data.columns])
    if unit is None and source.unit is None:
        raise InputError(
            f"does not state the unit of the label '{name}'; name it, as in --label {name}={key}:{kind.unit}"
        )
    if unit and source.unit and not same_unit(unit, source.unit):
        raise InputError(f"states '{key}' in {unit}, not in {source.unit}; leave the unit to the store")
    factor = to_internal(str(unit or source.unit), kind.dimension, name)
    shaped = _shaped(values, per, key, kind)
    return shaped if factor == 1.0 and shaped.dtype == np.float64 else shaped * factor


def _shaped(values: np.ndarray, per: str, key: str, kind: Quantity) -> np.ndarray:
    """The rows of a column as those of a quantity; tensors may stand in rows of nine."""
    needed = (len(values), *kind.shape)
    if per == kind.per and values.shape in (
        needed,
        (*needed, 1),
        (*needed[:-2], 9) if kind.shape == (3, 3) else needed,
    ):
        return values.reshape(needed)
    order = "; six numbers have no stated order" if kind.name == "stress" and values.shape[1:] == (6,) else ""
    raise InputError(
        f"the label '{kind.name}' (key '{key}') has shape {values.shape}, one row per "
        f"{'atom' if per == 'atom' else 'structure'}, where {kind.shape} per "
        f"{'atom' if kind.per == 'atom' else 'structure'} is needed{order}; name another key"
    )
