"""Data from where they are to where they are used: by name or file, through a store, checked, and their page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from atomlens.checking.checking import CheckReport, check_data
from atomlens.checking.outcome import Status
from atomlens.data.dataset import Dataset
from atomlens.data.quantities import quantity
from atomlens.data.readers import import_dataset, label_sources, read_dataset
from atomlens.data.store import is_store
from atomlens.data.system import symbol
from atomlens.data.units import same_unit
from atomlens.errors import InputError
from atomlens.progress import say
from atomlens.training.config import DataConfig, ReferencesConfig, RunConfig
from atomlens.wording import counted

_ON_PAGE = 8  # structures that a page shows
_ALARMING: tuple[Status, ...] = ("fault", "warning")


def read_labelled(path: str | Path, labels: Mapping[str, str] | None, position_unit: str | None = None) -> Dataset:
    """Read a data set with labels given as in a run file, ``{quantity: "KEY:UNIT"}``.

    Raises:
        InputError: see `atomlens.data.readers.read_dataset`.
    """
    return read_dataset(path, label_sources(labels), position_unit)


def open_data(config: DataConfig) -> Dataset:
    """The data of a run: a file as it is, or a store, which is made the first time.

    A data set of a name is downloaded where ``path`` is left out, and read from its official files otherwise; its store
    is ``store``, or a folder of its name.

    Raises:
        InputError: the data cannot be had or read, or a store there holds others.
    """
    data = _opened(config)
    return data if config.rare_elements is None else without_rare_elements(data, config.rare_elements)


def without_rare_elements(data: Dataset, least: int) -> Dataset:
    """The structures all of whose elements occur in at least ``least`` structures: a network cannot learn the others.

    Raises:
        InputError: there is no such structure.
    """
    has = data.counts()[0] > 0
    rare = has.sum(axis=0) < least
    kept = np.logical_not(has[:, rare].any(axis=1))
    if not kept.any():
        raise InputError(f"no structure has elements that {least} structures have; lower data.rare_elements")
    if rare.any():
        names = ", ".join(symbol(number) for number, gone in zip(data.elements, rare, strict=True) if gone)
        say(f"{int((~kept).sum()):,} structures with rare elements are left out ({names})")
    return data if kept.all() else data.subset(kept)


def _opened(config: DataConfig) -> Dataset:
    if config.name is None and config.store is None:
        return read_labelled(config.place, config.labels, config.position_unit)
    store = Path(config.store or str(config.name))
    if not store.exists() and _make_store_first(config, store):
        pass
    elif not is_store(store):
        raise InputError("is no store; name another folder in data.store", file=str(store))
    else:
        _check_same(config, store)
    # Labels and units of a plain file were settled when it was imported.
    return read_labelled(store, config.labels if config.name else None)


def _make_store_first(config: DataConfig, store: Path) -> bool:
    """Whether this process made the store; of several that begin at once the others take what the first has made."""
    try:
        _make_store(config, store)
    except InputError:
        if not is_store(store):
            raise
        return False
    return True


def _make_store(config: DataConfig, store: Path) -> None:
    if config.name is None:
        import_dataset(
            config.place, store, label_sources(config.labels), config.position_unit, title=f"import {config.place}"
        )
        return
    from atomlens.datasets.catalogue import get

    if config.position_unit is not None:
        raise InputError(f"'{config.name}' has its own unit of positions; leave data.position_unit out")
    files = None if config.path is None else [Path(config.path)]
    get(config.name, store, files=files, variant=config.variant, title=config.name)


def _check_same(config: DataConfig, store: Path) -> None:
    """Refuse a store that was made from something else."""
    made = read_dataset(store).metadata
    name = made.get("name")
    if config.name is not None and name != config.name:
        raise InputError(
            f"is a store of {name or made.get('source')}, not of {config.name}; name another folder in data.store",
            file=str(store),
        )
    source = made.get("source")
    if config.path is not None and source is not None and Path(str(source)).name != Path(config.path).name:
        raise InputError(
            f"was imported from {source}, not from {config.path}; name another folder in data.store", file=str(store)
        )
    if config.name is not None and made.get("variant", "") != config.variant:
        raise InputError(
            f"holds {config.name} {_as_variant(made.get('variant', ''))}, not {_as_variant(config.variant)}; name "
            "another folder in data.store",
            file=str(store),
        )
    if config.name is None:
        _check_labels(config, store, made.get("labels") or {})


def _as_variant(variant: str) -> str:
    return f"as {variant}" if variant else "as it is published"


def _check_labels(config: DataConfig, store: Path, made: Mapping[str, Any]) -> None:
    """Refuse a store whose labels were taken from other keys or in other units than the run file says."""
    for name, source in (label_sources(config.labels) or {}).items():
        there = made.get(name)
        if not isinstance(there, Mapping):
            raise InputError(
                f"was imported without the label '{name}'; name another folder in data.store, or remove it to import "
                "anew",
                file=str(store),
            )
        other_unit = source.unit and there.get("unit") and not same_unit(source.unit, str(there["unit"]))
        if there.get("key") != source.key or other_unit:
            raise InputError(
                f"has '{name}' from {there.get('key')} in {there.get('unit')}, not from {source.key} in {source.unit}; "
                "name another folder in data.store, or remove it to import anew",
                file=str(store),
            )


def with_references(config: RunConfig, data: Dataset) -> RunConfig:
    """The same run with the free-atom energies spelled out that are to come from the data.

    Raises:
        InputError: the data bring none.
    """
    if config.references is None or not config.references.from_data:
        return config
    from atomlens.datasets.describe import free_atoms

    try:
        values = free_atoms(data.metadata)
    except InputError as error:
        raise error.at(file=data.origin.file) from None
    return config.model_copy(update={"references": ReferencesConfig(unit="eV", values=values)})


def check_before_training(data: Dataset, what_to_do: str) -> CheckReport | None:
    """Look at the labels before anything is learned from them, and tell what is doubtful.

    Args:
        data: all structures of the run.
        what_to_do: ``refuse``, ``warn`` or ``off``; see `DataConfig`.

    Returns:
        What was found; None where nobody looked.

    Raises:
        InputError: something is wrong beyond doubt, and is to be refused.
    """
    if what_to_do == "off":
        return None
    report = check_data(data, title="check data")
    # A check that broke down says nothing about the data.
    faults = [found for found in report.of("fault") if not found.facts.get("check_failed")]
    refused = faults[0] if faults and what_to_do == "refuse" else None
    for found in report.of(*_ALARMING):
        if found is not refused:  # the error says that one
            say(f"{found.status}: {found.sentence}")
    if refused is not None:
        raise InputError(
            f"{refused.sentence.rstrip('.')}; look at all with atomlens data check, and train all the same with "
            "--set data.check=warn",
            file=data.origin.file,
        )
    return report


def write_check_page(folder: Path, data: Dataset, report: CheckReport, name: str, command: str) -> dict[str, Any]:
    """Write ``report.html``, ``summary.json`` and the figures of checked data into a folder.

    Args:
        folder: new or empty.
        data: what was checked.
        report: what was found.
        name: of the data, for the title.
        command: by which this was asked for.

    Returns:
        What is in ``summary.json``.
    """
    from atomlens.checking.panel import TOPIC, check_panel
    from atomlens.report.simulation import Tile
    from atomlens.study.simulation.page import Told, write_page

    places = _gravest(report)
    return write_page(
        folder,
        Told(
            kind="data",
            title=name,
            headline=report.summary,
            tiles=[
                Tile("Structures", f"{report.structures:,}", note=counted(report.atoms, "atom")),
                Tile("Faults", f"{report.counts['fault']:,}", note="wrong beyond doubt"),
                Tile("Warnings", f"{report.counts['warning']:,}", note="unusual, and may be right"),
                Tile("Notes", f"{report.counts['note']:,}", note="worth knowing"),
            ],
            facts={"report": report.to_dict()},
            data=_described(data, name),
            warnings=[f"{found.status}: {found.sentence}" for found in report.of(*_ALARMING)],
        ),
        None,
        [(f"structure {_place(data, index)}", data[index]) for index in places],
        [(TOPIC, check_panel(report))],
        command,
    )


def _described(data: Dataset, name: str) -> dict[str, Any]:
    """What a data set holds and where it comes from, for the foot of a page."""
    return {
        "name": name,
        "elements": [symbol(number) for number in data.elements],
        "labels": [f"{label} ({quantity(label).unit.replace('Ang', 'Å')})" for label in data.labels],
        "columns": list(data.columns),
        **{key: data.metadata.get(key) for key in ("title", "level", "citation", "licence", "source")},
        "hash": data.hash,
    }


def _place(data: Dataset, index: int) -> int:
    """The number of a structure in the user's file."""
    return index if data.origin.places is None else int(data.origin.places[index])


def _gravest(report: CheckReport) -> list[int]:
    """Structures that the checks name first; the first structure where they name none."""
    found: dict[int, None] = {}
    for outcome in report.of(*_ALARMING):
        found |= dict.fromkeys(map(int, outcome.structures[:2]))
    return list(found)[:_ON_PAGE] or [0]
