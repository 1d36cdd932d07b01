"""``atomlens data``: list, info, get, import, export, check, split."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomlens.cli.data_split import split as split_data
from atomlens.cli.options import Json, Labels, PositionUnit, print_json, split_labels

if TYPE_CHECKING:
    from atomlens.checking.checking import CheckReport
    from atomlens.data.dataset import Dataset

EXIT_FAULTS = 1

app = typer.Typer(
    no_args_is_help=True,
    help="Data sets: fetch them by name, import and export files, check labels, share structures out.",
)

Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="A store, extended XYZ, ASE database, numpy archive, or what ASE reads.")
]
Unchecked = Annotated[bool, typer.Option("--no-check", help="Do not look at the labels afterwards.")]
Cutoffs = Annotated[
    list[float] | None,
    typer.Option(
        "--cutoff", help="Also search the neighbours within this distance in Å, and keep them. May be repeated."
    ),
]
# Names of `checking.registry`, which takes a second to import.
CHECK_NAMES = (
    "statistics, coverage, structures, cells, charges, lengths, energies, forces, properties, net_force, force_energy, "
    "stress, label_order, outliers or duplicates"
)


def _open(path: Path, label: list[str] | None, position_unit: str | None) -> Dataset:
    from atomlens.data.readers import label_sources, read_dataset  # `study` would bring all of training along

    return read_dataset(path.expanduser(), label_sources(split_labels(label)), position_unit)


@app.command("list")
def list_datasets(as_json: Json = False) -> None:
    """List the data sets that `atomlens data get` knows by name."""
    from atomlens.datasets.catalogue import DATASETS

    if as_json:
        print_json([{"name": name, "title": entry.card.title} for name, entry in DATASETS.items()])
        return
    width = max(map(len, DATASETS))
    for name, entry in DATASETS.items():
        print(f"{name:<{width}}  {entry.card.title}")


@app.command()
def info(
    data: Annotated[
        str, typer.Argument(metavar="NAME|DATA", help="A name of `atomlens data list`, or a file or store.")
    ],
    as_json: Json = False,
) -> None:
    """Tell what is known about a data set: citation, licence, level of theory, units, errata, advice.

    Of a file or store: structures, elements, labels with their units, columns, where it comes from.
    """
    import yaml

    from atomlens.datasets.catalogue import DATASETS, card_text, card_to_dict, named
    from atomlens.errors import InputError

    path = Path(data).expanduser()
    if data not in DATASETS and not path.exists() and (path.suffix or len(path.parts) > 1):
        raise InputError("does not exist; check the path", file=data)
    found = None if data not in DATASETS and path.exists() else named(data)
    # A set keeps its card where a store of its name lies in this folder.
    facts = _facts(_open(path, None, None)) if path.exists() else None
    if as_json:
        print_json({**(card_to_dict(found.card, found) if found else {}), **_within(facts, "store" if found else "")})
        return
    if found is not None:
        print(card_text(found.card, found))
    if facts is not None:
        shown = _within({**facts, "elements": " ".join(facts["elements"])}, f"store {path}" if found else "")
        text = yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=120).rstrip()
        typer.echo(f"\n{text}" if found else text)


def _within(facts: dict[str, Any] | None, name: str) -> dict[str, Any]:
    return {} if facts is None else {name: facts} if name else facts


def _facts(data: Dataset) -> dict[str, Any]:
    from atomlens.data.quantities import quantity
    from atomlens.data.system import symbol

    return {
        "structures": len(data),
        "atoms": len(data.numbers),
        "elements": [symbol(number) for number in data.elements],
        "labels": {
            name: {"unit": quantity(name).unit, "per": quantity(name).per, "known": int(data.known([name]).sum())}
            for name in data.labels
        },
        "columns": {key: {"unit": column.unit, "per": column.per} for key, column in data.columns.items()},
        "hash": data.hash,
        "metadata": dict(data.metadata),
    }


@app.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `atomlens data list`.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the store; new (a folder of the set's name).")] = None,
    source: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", metavar="FILE", help="Official files that you have, instead of a download. May be repeated."
        ),
    ] = None,
    variant: Annotated[
        str, typer.Option(metavar="NAME", help="Another reading of the same files, see `atomlens data info`.")
    ] = "",
    cutoff: Cutoffs = None,
    no_check: Unchecked = False,
    as_json: Json = False,
) -> None:
    """Fetch a data set from its official place, read it, check it, and keep it as a store.

    An interrupted download goes on where it stopped. What is known about a set, its errata and what is done about
    them: `atomlens data info NAME`.

    `atomlens data get qm9` and `atomlens train --data qm9 --train 10000 --out run`
    """
    from atomlens.datasets.catalogue import get as fetch

    _check_cutoffs(cutoff)
    store = (out or Path(name)).expanduser()
    files = None if source is None else [path.expanduser() for path in source]
    fetch(name, store, files=files, variant=variant, title=name)
    _finish(store, cutoff, no_check=no_check, as_json=as_json)


@app.command("import")
def import_file(
    data: Data,
    out: Annotated[Path, typer.Option(help="Folder for the store; new.")],
    label: Labels = None,
    position_unit: PositionUnit = None,
    cutoff: Cutoffs = None,
    no_check: Unchecked = False,
    as_json: Json = False,
) -> None:
    """Read a file once into a store: memory-mapped arrays that training reads at full speed, with all units stated.

    Memory stays bounded however long the file is.
    """
    from atomlens.data.readers import import_dataset, label_sources

    _check_cutoffs(cutoff)
    store = out.expanduser()
    path = data.expanduser()
    import_dataset(path, store, label_sources(split_labels(label)), position_unit, title=f"import {path.name}")
    _finish(store, cutoff, no_check=no_check, as_json=as_json)


def _check_cutoffs(cutoffs: list[float] | None) -> None:
    """Refuse what is no distance, before any work."""
    from atomlens.errors import InputError

    for cutoff in cutoffs or []:
        if not 0 < cutoff < math.inf:
            raise InputError(f"--cutoff is {cutoff:g}, but must be a distance in Å above 0; for example --cutoff 5")


def _finish(store: Path, cutoffs: list[float] | None, *, no_check: bool, as_json: bool) -> None:
    """Search neighbours, check, and tell what was made."""
    from atomlens.wording import counted

    data = _open(store, None, None)
    if not as_json:  # whoever stops what follows knows that the store is there
        print(f"{counted(len(data), 'structure')}, {counted(len(data.numbers), 'atom')}: {store}", flush=True)
    if cutoffs:
        from atomlens.data.neighbour_cache import stored_neighbours

        for cutoff in cutoffs:
            stored_neighbours(data, cutoff, title=f"neighbours, {cutoff:g} Å")
    report = None if no_check else _checked(data)
    if as_json:
        print_json({"store": str(store), **_facts(data), **({"check": report.to_dict()} if report else {})})
    elif report is not None:
        _print_report(report, everything=False)


def _checked(data: Dataset) -> CheckReport:
    from atomlens.checking.checking import check_data

    return check_data(data, title="check")


@app.command()
def export(
    data: Data,
    out: Annotated[
        Path, typer.Argument(metavar="FILE", help="By its suffix .extxyz, .xyz, .db, .npz, .json, .csv or .store.")
    ],
    label: Labels = None,
    position_unit: PositionUnit = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="Numpy archive of one molecule: positions (frames, atoms, 3).")
    ] = False,
) -> None:
    """Write a data set for other programs; `.csv` is the table of scalars, one row per structure."""
    from atomlens.data.writers import write_dataset
    from atomlens.wording import counted

    target = out.expanduser()
    found = _open(data, label, position_unit)
    write_dataset(found, target, layout="frames" if frames else "flat", title=f"export {target.name}")
    print(f"{counted(len(found), 'structure')}: {target}")


@app.command()
def check(
    data: Data,
    label: Labels = None,
    position_unit: PositionUnit = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help=f"Only this check: {CHECK_NAMES}. May be repeated.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write a page with figures into this new folder.")
    ] = None,
    all_checks: Annotated[bool, typer.Option("--all", help="Also list checks that found nothing to say.")] = False,
    as_json: Json = False,
) -> None:
    """Check whether structures and labels can be believed.

    Looks at shapes, distances, units, duplicates, net forces, forces against energies, stress against strain,
    outliers, and what the set covers. Exit code 1 where something is wrong beyond doubt.
    """
    from atomlens.checking.checking import check_data
    from atomlens.files import check_folder

    if report is not None:
        check_folder(report.expanduser(), resumable=False)  # before any work
    opened = _open(data, label, position_unit)
    found = check_data(opened, only=only, title="check")
    if report is not None:
        from atomlens.study.data import write_check_page

        command = " ".join(["atomlens", *sys.argv[1:]])
        write_check_page(report.expanduser(), opened, found, data.name, command)
    if as_json:
        print_json(found.to_dict())
    else:
        _print_report(found, everything=all_checks)
        if report is not None:
            print(f"page: {report / 'report.html'}")
    if found.worst == "fault":
        raise typer.Exit(EXIT_FAULTS)


def _print_report(report: CheckReport, *, everything: bool) -> None:
    from rich.console import Console

    from atomlens.checking.table import report_table

    Console(highlight=False).print(report_table(report, quiet=not everything))


app.command("split")(split_data)
