"""Data sets by name: what there is, what is known about it, and how it becomes a store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from atomlens.config import nearest
from atomlens.data.dataset import Dataset
from atomlens.data.store import StoreWriter, read_store
from atomlens.datasets import (
    c20,
    ccsd_t,
    iso17,
    materials_project,
    md17,
    mlearn,
    qm7,
    qm7b,
    qm9,
    qm9_mp2,
    rmd17,
    water,
)
from atomlens.datasets.card import Card, NamedDataset, RemoteFile
from atomlens.datasets.checksums import checksums
from atomlens.datasets.describe import (
    card_text,
    card_to_dict,
    free_atoms,
    known_names,
    store_metadata,
    without_download,
)
from atomlens.datasets.download import Patience, cache_folder, download, kept_in
from atomlens.datasets.materials_project_api import KEY, fetch_materials_project
from atomlens.errors import InputError
from atomlens.progress import say, track

__all__ = ["DATASETS", "Card", "NamedDataset", "card_text", "card_to_dict", "free_atoms", "get", "named"]

DATASETS: dict[str, NamedDataset] = known_names(
    [
        *qm7.DATASETS,
        *qm7b.DATASETS,
        *qm9.DATASETS,
        *qm9_mp2.DATASETS,
        *md17.DATASETS,
        *rmd17.DATASETS,
        *ccsd_t.DATASETS,
        *iso17.DATASETS,
        *c20.DATASETS,
        *water.DATASETS,
        *mlearn.DATASETS,
        *materials_project.DATASETS,
    ]
)


def named(name: str) -> NamedDataset:
    """Look a data set up by name.

    Raises:
        InputError: there is none of that name; those that may be meant are named.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set '{name}'; {_meant(name)}")
    return DATASETS[name]


def _meant(name: str) -> str:
    """The clause that ends an error message about an unknown name; the names of all sets would fill a screen."""
    plain = name.lower().replace("_", "-")
    family = [known for known in DATASETS if known.startswith(f"{plain}-")]
    if family:
        return f"it stands for several: {', '.join(family)}; name one of these"
    if plain in DATASETS or get_close_matches(plain, DATASETS, n=1, cutoff=0.5):
        return nearest(plain, list(DATASETS))
    return "`atomlens data list` names those that are known"


def get(
    name: str,
    out: str | Path,
    files: Sequence[str | Path] | None = None,
    *,
    folder: str | Path | None = None,
    variant: str = "",
    title: str = "",
    patience: Patience | None = None,
) -> Dataset:
    """Make a store of a data set of a name, from its official place or from files that the user has.

    Metadata of the store: ``name``, ``citation``, ``licence``, ``level``, energies of free atoms, and under ``files``
    where each file came from and its SHA-256.

    Args:
        name: of the data set.
        out: folder of the store; nothing may be there.
        files: official files, folders that hold them, or a numpy archive of the set; None to download.
        folder: for downloads; None for the user's cache (`atomlens.datasets.download.cache_folder`).
        variant: another way to read the same files (`NamedDataset.variants`); none: the usual one.
        title: of progress bars; nothing is shown without one.
        patience: with servers.

    Returns:
        The data, mapped from the store.

    Raises:
        InputError: name or variant is unknown, something is at ``out``, the files cannot be had, or they are not this
            data set's.
        Interrupted: a download was stopped; the same call goes on.
    """
    dataset = named(name)
    read, count = _way(dataset, variant)
    target = Path(out)
    if target.exists():
        raise InputError("exists already; choose another name or remove it", file=str(target))
    if files is None:
        paths = _downloaded(dataset, None if folder is None else Path(folder), title, patience)
    else:
        paths = tuple(Path(file) for file in files)
    records = _records(dataset, paths, downloaded=files is None)
    metadata: dict[str, Any] = {**store_metadata(dataset.card), "source": str(paths[0]), "files": records}
    if variant:
        metadata["variant"] = variant
    with StoreWriter(target, metadata=metadata, provenance={"files": records}) as writer:
        _read_into(writer, read(paths), count, title and f"read {title}")
        written = len(writer)
        if count is not None and written != count:
            writer.note(part=f"{written:,} of {count:,} structures")
    if count is not None and written != count:
        say(
            f"{name}: {written:,} structures were read, the published set has {count:,}; "
            + ("these files hold a part of it" if written < count else "these files hold more")
        )
    return read_store(target)


def _way(dataset: NamedDataset, variant: str) -> tuple[Any, int | None]:
    if not variant:
        return dataset.read, dataset.card.structures
    if variant not in dataset.variants:
        known = list(dataset.variants)
        hint = nearest(variant, known) if known else "it has no variants"
        raise InputError(f"'{dataset.card.name}' has no variant '{variant}'; {hint}")
    chosen = dataset.variants[variant]
    return chosen.read, chosen.structures


def _downloaded(dataset: NamedDataset, folder: Path | None, title: str, patience: Patience | None) -> tuple[Path, ...]:
    if dataset.card.name == "materials-project" and os.environ.get(KEY, "").strip():
        place = (folder or cache_folder()) / "materialsproject.org" / "summary.jsonl"
        return (fetch_materials_project(place, title=title and f"fetch {place.name}"),)
    if not dataset.files:
        raise InputError(f"'{dataset.card.name}' cannot be downloaded: {without_download(dataset)}")
    return tuple(
        download(file, kept_in(file, folder), title and f"fetch {file.name}", patience) for file in dataset.files
    )


def _records(dataset: NamedDataset, paths: tuple[Path, ...], *, downloaded: bool) -> list[dict[str, Any]]:
    """Where each file came from, and what it is."""
    records: list[dict[str, Any]] = []
    for place, path in enumerate(paths):
        if not path.exists():
            raise InputError("does not exist; check the path", file=str(path))
        if path.is_dir():
            records.append({"name": path.name})
            continue
        found = checksums(path)
        if downloaded and dataset.files:
            known = [dataset.files[place]]
        else:
            known = [file for file in dataset.files if file.name == path.name]
        official = any(_checked(file) and not found.problem(file) for file in known)
        records.append(
            {
                "name": path.name,
                **({"url": known[0].url} if downloaded and known else {}),
                "size": found.size,
                "sha256": found.sha256,
                "as_published": official,
            }
        )
    return records


def _checked(file: RemoteFile) -> bool:
    return file.sha256 is not None or file.md5 is not None


def _read_into(writer: StoreWriter, pieces: Iterator[Dataset], count: int | None, title: str) -> None:
    with track(title, count or 0, "structures") as bar:
        for piece in pieces:
            writer.append(piece)
            bar.advance(len(piece))
