"""``atomlens data split``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atomlens.cli.options import Json, Labels, PositionUnit, print_json, split_labels
from atomlens.errors import InputError

if TYPE_CHECKING:
    from atomlens.data.splits import Split

Data = Annotated[Path, typer.Argument(metavar="DATA", help="What is to be shared out, in any format that train reads.")]


def split(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="SPLIT.json", help="Where; a file that is there is not replaced.")],
    method: Annotated[
        str,
        typer.Option(help="random, formula, isomers, trajectories, blocks, size or column (docs/splits.md)."),
    ] = "random",
    train: Annotated[int, typer.Option(min=1, help="Structures to learn from.")] = 1000,
    validation: Annotated[int, typer.Option(min=1, help="Structures that choose the best model.")] = 200,
    test: Annotated[
        int | None, typer.Option(min=1, help="Structures to judge it (all that are left, or held out).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
    held_out: Annotated[float | None, typer.Option(help="Share of the structures that is held out (0.2).")] = None,
    block_length: Annotated[float | None, typer.Option(help="Of blocks, in frames (20 autocorrelation times).")] = None,
    gap: Annotated[float | None, typer.Option(help="Between blocks, in frames (5 autocorrelation times).")] = None,
    max_atoms: Annotated[int | None, typer.Option(help="Of structures that `size` learns from.")] = None,
    column: Annotated[str | None, typer.Option(help="Of a published split: 1 for train, 2 for test.")] = None,
    sizes: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="Also smaller training sets, each within the next: SPLIT-N.json beside."),
    ] = None,
    label: Labels = None,
    position_unit: PositionUnit = None,
    as_json: Json = False,
) -> None:
    """Share structures out for training, validation and test, and tell where the test is too close to the training.

    The file can be given to `atomlens train --split` and to `atomlens baselines --split`; it holds a hash of the
    structures, and is refused with any others.
    """
    from atomlens.data.leaks import find_leaks
    from atomlens.data.readers import label_sources, read_dataset
    from atomlens.data.splits import learning_curve, make_split
    from atomlens.data.splits.registry import check_options

    target = out.expanduser()
    wanted = _sizes(sizes)
    options: dict[str, Any] = {
        "held_out": held_out,
        "block_length": block_length,
        "gap": gap,
        "max_atoms": max_atoms,
        "column": column,
    }
    targets = [target, *(target.with_name(f"{target.stem}-{size}{target.suffix}") for size in wanted)]
    for path in targets:  # before any work
        if path.exists():
            raise InputError("exists already; choose another name or remove it", file=str(path))
    with _flags_named():
        check_options(method, options)
    opened = read_dataset(data.expanduser(), label_sources(split_labels(label)), position_unit)
    among = opened.known(list(opened.labels)) if opened.labels else None
    with _flags_named(data):
        made = make_split(opened, method, train, validation, test, seed, among, **options)
        curve = learning_curve(made, wanted, seed) if wanted else []
    leaks = find_leaks(opened, made)
    for path, entry in zip(targets, [made, *curve], strict=True):
        entry.save(path)
    if as_json:
        splits = [{"file": str(path), **_facts(entry)} for path, entry in zip(targets, [made, *curve], strict=True)]
        print_json({"splits": splits, "leaks": leaks.to_dict()})
        return
    for path, entry in zip(targets, [made, *curve], strict=True):
        counts = ", ".join(f"{len(getattr(entry, name)):,} {name}" for name in ("train", "validation", "test"))
        print(f"{path}: {counts}; hash {entry.hash[:12]}")
    print(made.method)
    for sentence in leaks.sentences:
        print(f"note: {_with_flags(sentence)}")


@contextmanager
def _flags_named(data: Path | None = None) -> Iterator[None]:
    """Options called as this command calls them, and the data named, in what the library refuses."""
    try:
        yield
    except InputError as error:
        named = InputError(_with_flags(error.problem), file=error.file, structure=error.structure, atom=error.atom)
        raise named.at(file=None if data is None else str(data)) from None


def _with_flags(text: str) -> str:
    """``split.max_atoms`` of run files as ``--max-atoms``."""
    return re.sub(r"\bsplit\.([a-z_]+)", lambda found: "--" + found[1].replace("_", "-"), text)


def _facts(made: Split) -> dict[str, Any]:
    counts = {name: len(getattr(made, name)) for name in ("train", "validation", "test")}
    return {"hash": made.hash, "method": made.method, **counts}


def _sizes(text: str | None) -> list[int]:
    """Sizes of training sets from a list with commas, in rising order.

    Raises:
        InputError: it is none.
    """
    if text is None:
        return []
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() and int(word) for word in words):
        raise InputError(f"--sizes takes numbers of structures, not '{text}'; for example --sizes 100,300,1000")
    return sorted({int(word) for word in words})
