"""``atomlens data``: list, info, get, import, export, check, split."""

from __future__ import annotations

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

    from atomlens.datasets.catalogue import card_text, card_to_dict, named

    if not Path(data).expanduser().exists():
        found = named(data)
        if as_json:
            print_json(card_to_dict(found.card, found))
        else:
            print(card_text(found.card, found))
        return
    facts = _facts(_open(Path(data), None, None))
    if as_json:
        print_json(facts)
    else:
        typer.echo(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=120).rstrip())


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

    store = out.expanduser()
    path = data.expanduser()
    import_dataset(path, store, label_sources(split_labels(label)), position_unit, title=f"import {path.name}")
    _finish(store, cutoff, no_check=no_check, as_json=as_json)


def _finish(store: Path, cutoffs: list[float] | None, *, no_check: bool, as_json: bool) -> None:
    """Search neighbours, check, and tell what was made."""
    from atomlens.checking.checking import check_data
    from atomlens.data.neighbour_cache import stored_neighbours

    data = _open(store, None, None)
    for cutoff in cutoffs or []:
        stored_neighbours(data, cutoff, title=f"neighbours, {cutoff:g} Å")
    report = None if no_check else check_data(data, title="check")
    if as_json:
        print_json({"store": str(store), **_facts(data), **({"check": report.to_dict()} if report else {})})
        return
    print(f"{len(data):,} structures, {len(data.numbers):,} atoms: {store}")
    if report is not None:
        _print_report(report, everything=False)


@app.command()
def export(
    data: Data,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="By its suffix .extxyz, .db, .npz, .json or .csv.")],
    label: Labels = None,
    position_unit: PositionUnit = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="Numpy archive of one molecule: positions (frames, atoms, 3).")
    ] = False,
) -> None:
    """Write a data set for other programs; `.csv` is the table of scalars, one row per structure."""
    from atomlens.data.writers import write_dataset

    target = out.expanduser()
    found = _open(data, label, position_unit)
    write_dataset(found, target, layout="frames" if frames else "flat", title=f"export {target.name}")
    print(f"{len(found):,} structures: {target}")


@app.command()
def check(
    data: Data,
    label: Labels = None,
    position_unit: PositionUnit = None,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this check. May be repeated.")] = None,
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
