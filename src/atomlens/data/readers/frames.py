"""Files that store structures one by one, laid end to end in pieces of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from atomlens.data.dataset import Column
from atomlens.data.pieces import ATOMS, PIECE
from atomlens.data.quantities import Quantity
from atomlens.data.readers.contents import (
    CHARGE_KEYS,
    Contents,
    Frame,
    column_type,
    fit,
    fit_tensors,
    full_stress,
    numeric,
)
from atomlens.data.readers.labels import quantity_of
from atomlens.data.system import total_charge
from atomlens.data.units import same_unit
from atomlens.errors import InputError

Kind = tuple[Literal["system", "atom"], tuple[int, ...]]  # what a column belongs to, and the shape of one row


def laid_out(
    frames: Iterable[Frame],
    pieces_of: int | None,
    stated: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Iterator[Contents]:
    """Lay structures end to end, so many at a time.

    Args:
        frames: in the order of the file.
        pieces_of: structures of a piece; None for `PIECE`.
        stated: units that hold for the whole file.
        metadata: of the whole file.

    Raises:
        InputError: there are none, one has a charge that is no number, or two state different units for one key.
    """
    # What the structures so far say holds for those to come.
    units: dict[str, str | None] = {}
    kinds: dict[str, Kind] = {}
    first = 0
    for batch in _batches(frames, pieces_of or PIECE):
        _note_units(batch, first, units)
        # A key that was a number once is one that should be: its label's reader has to see the text that it is now.
        keys = sorted({key for frame in batch for key, value in frame.values.items() if key in kinds or numeric(value)})
        for key in keys:
            if key not in kinds:
                kinds[key] = _kind(key, batch)
        found = {key: unit for key, unit in units.items() if unit is not None}
        yield _piece(batch, first, keys, kinds, {**found, **(stated or {})}, metadata or {})
        first += len(batch)
    if not first:
        raise InputError("holds no structures; give at least one")


def _batches(frames: Iterable[Frame], pieces_of: int) -> Iterator[list[Frame]]:
    batch: list[Frame] = []
    atoms = 0
    for frame in frames:
        if batch and (len(batch) >= pieces_of or atoms + len(frame.numbers) > ATOMS):
            yield batch
            batch, atoms = [], 0
        batch.append(frame)
        atoms += len(frame.numbers)
    if batch:
        yield batch


def _piece(
    frames: Sequence[Frame],
    first: int,
    keys: Sequence[str],
    kinds: Mapping[str, Kind],
    units: Mapping[str, str],
    metadata: Mapping[str, Any],
) -> Contents:
    def load(key: str, kind: Quantity) -> np.ndarray:
        rows = [_row(key, kind, frame, place) for place, frame in enumerate(frames, first)]
        return np.concatenate(rows) if kind.per == "atom" else np.stack(rows)

    def column(key: str) -> Column | None:
        per, shape = kinds[key]
        if 0 in shape:
            return None
        rows = [_column_rows(key, per, shape, frame) for frame in frames]
        values = np.concatenate(rows) if per == "atom" else np.stack(rows)
        return Column(column_type(values), per, units.get(key))

    return Contents(
        numbers=np.concatenate([frame.numbers for frame in frames]),
        positions=np.concatenate([frame.positions for frame in frames]),
        n_atoms=np.array([len(frame.numbers) for frame in frames]),
        cell=np.stack([frame.cell for frame in frames]),
        pbc=np.stack([frame.pbc for frame in frames]),
        charge=np.array([_charge(frame, place) for place, frame in enumerate(frames, first)]),
        keys=tuple(key for key in keys if key not in CHARGE_KEYS),
        units=units,
        load=load,
        column=column,
        metadata=metadata,
        first=first,
    )


def _charge(frame: Frame, place: int) -> float:
    value = next((frame.values[key] for key in CHARGE_KEYS if key in frame.values), 0.0)
    try:
        return total_charge(np.squeeze(value).item() if isinstance(value, np.ndarray) and value.size == 1 else value)
    except InputError as error:
        raise error.at(structure=place) from None


def _note_units(frames: Sequence[Frame], first: int, found: dict[str, str | None]) -> None:
    """Take down the unit of each key, which must be stated alike by every structure that has the key."""
    for place, frame in enumerate(frames, first):
        for key in (*frame.values, "positions"):
            unit = frame.units.get(key)
            before = found.setdefault(key, unit)
            if before != unit and not (before and unit and same_unit(before, unit)):
                raise InputError(
                    f"states '{key}' in {unit or 'no unit'}, the structures before it in {before or 'no unit'}; "
                    "write them in one unit",
                    structure=place,
                )


def _kind(key: str, frames: Sequence[Frame]) -> Kind:
    """What a key's numbers belong to, from the first piece that has any."""
    having = [frame for frame in frames if key in frame.values and numeric(frame.values[key])]
    shape = np.shape(having[0].values[key])
    if key in having[0].per_atom:
        return "atom", shape[1:]
    if key in having[0].unclear:
        known = quantity_of(key)
        rows = all(np.shape(frame.values[key])[:1] == (len(frame.numbers),) for frame in having)
        if known.per == "atom" if known else rows:
            return "atom", shape[1:]
    return "system", () if shape == (1,) else shape


def _column_rows(key: str, per: str, shape: tuple[int, ...], frame: Frame) -> np.ndarray:
    """The numbers of one structure; NaN where it has none, or has them in another shape than those before it."""
    needed = (len(frame.numbers), *shape) if per == "atom" else shape
    value = frame.values.get(key)
    if value is None or not numeric(value):
        return np.full(needed, np.nan)
    values = np.asarray(value)
    return values.reshape(needed) if values.size == np.prod(needed) else np.full(needed, np.nan)


def _row(key: str, kind: Quantity, frame: Frame, place: int) -> np.ndarray:
    """The values of one structure, NaN where it has none."""
    atoms = len(frame.numbers)
    needed = kind.shape if kind.per == "system" else (atoms, *kind.shape)
    value = frame.values.get(key)
    if value is None:
        return np.full(needed, np.nan)
    shaped = None
    if numeric(value):
        shaped = fit(np.asarray(value), needed)
        if shaped is None:
            shaped = fit_tensors(np.asarray(value), needed)
    if shaped is None and kind.name == "stress":
        shaped = full_stress(np.asarray(value))
    if shaped is None:
        raise InputError(
            f"the label '{kind.name}' (key '{key}') is {_described(value)} where numbers of shape {needed} are needed; "
            "repair or remove the structure",
            structure=place,
        )
    return shaped


def _described(value: Any) -> str:
    return f"of shape {np.shape(value)}" if numeric(value) else f"{value!r}"[:60]
