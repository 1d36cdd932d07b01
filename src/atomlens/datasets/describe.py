"""What is known about a data set, as text, as JSON, and as what its store carries along."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from atomlens.data.units import ENERGY, to_internal
from atomlens.datasets.card import Card, NamedDataset, RemoteFile
from atomlens.datasets.transfer import megabytes
from atomlens.errors import InputError

_WIDTH = 110


def card_text(card: Card, dataset: NamedDataset | None = None) -> str:
    """A card for the terminal; with ``dataset`` also where its files are."""
    parts = [f"{card.name}: {card.title}", ""]
    count = "not a fixed number" if card.structures is None else f"{card.structures:,}"
    for name, text in (
        ("structures", count),
        ("level", card.level),
        ("citation", card.citation),
        ("licence", card.licence),
    ):
        parts.append(_entry(f"{name}:", text))
    parts += ["", "labels and columns:", *(_entry(f"  {key}", text) for key, text in card.labels.items())]
    if card.free_atoms:
        parts += ["", f"free atoms ({card.free_atom_unit}):"]
        parts += [
            _entry(f"  {key}", ", ".join(f"{symbol} {value:.10g}" for symbol, value in values.items()))
            for key, values in card.free_atoms.items()
        ]
    for title, sentences in (("errata, and what is done about them:", card.errata), ("advice:", card.advice)):
        if sentences:
            parts += ["", title, *(_item(sentence) for sentence in sentences)]
    if dataset is not None:
        parts += ["", *_files(dataset)]
    return "\n".join(parts)


def _entry(name: str, text: str) -> str:
    indent = " " * 20
    head = f"{name:<19} " if len(name) < 20 else f"{name}\n{indent}"
    return head + textwrap.fill(text, _WIDTH - 20, break_on_hyphens=False).replace("\n", f"\n{indent}")


def _item(sentence: str) -> str:
    return textwrap.fill(
        sentence,
        _WIDTH,
        initial_indent="  - ",
        subsequent_indent="    ",
        break_on_hyphens=False,
        break_long_words=False,
    )


def _files(dataset: NamedDataset) -> list[str]:
    if not dataset.files:
        return [_entry("files:", f"no download: {without_download(dataset)}")]
    return ["files:", *(_entry(f"  {file.name}", f"{file.url} ({_checked(file)})") for file in dataset.files)]


def without_download(dataset: NamedDataset) -> str:
    """Why a set without official files is not downloaded, and what to do."""
    why = dataset.why_no_files or "no official place is known"
    return why if "--from" in why else f"{why}; give its files with --from"


def _checked(file: RemoteFile) -> str:
    size = "size not published" if file.size is None else megabytes(file.size)
    known = [name for name in ("sha256", "md5") if getattr(file, name)]
    return f"{size}, {'checked by ' + known[0] if known else 'no checksum published'}"


def card_to_dict(card: Card, dataset: NamedDataset | None = None) -> dict[str, Any]:
    """A card as JSON; with ``dataset`` also its files and variants."""
    values: dict[str, Any] = {
        "name": card.name,
        "title": card.title,
        "structures": card.structures,
        "level": card.level,
        "citation": card.citation,
        "licence": card.licence,
        "labels": dict(card.labels),
        "free_atoms": free_atom_table(card),
        "errata": list(card.errata),
        "advice": list(card.advice),
    }
    if dataset is not None:
        values["files"] = [
            {"name": file.name, "url": file.url, "size": file.size, "md5": file.md5, "sha256": file.sha256}
            for file in dataset.files
        ]
        values["variants"] = {name: variant.meaning for name, variant in dataset.variants.items()}
        values["why_no_files"] = dataset.why_no_files or None
    return values


def free_atom_table(card: Card) -> dict[str, Any]:
    """Values of free atoms as a store carries them: by key, with their unit, by symbol."""
    return {key: {"unit": card.free_atom_unit, "values": dict(values)} for key, values in card.free_atoms.items()}


def store_metadata(card: Card) -> dict[str, Any]:
    """What the store of a data set says about it, from where it comes into every model trained on it."""
    table = free_atom_table(card)
    return {
        "name": card.name,
        "title": card.title,
        "level": card.level,
        "licence": card.licence,
        "citation": card.citation,
        **({"free_atoms": table} if table else {}),
    }


def free_atoms(metadata: Mapping[str, Any], label: str = "energy") -> dict[str, float]:
    """Energies of free atoms in eV by symbol that belong to a label of a data set, from its metadata.

    Args:
        metadata: of the data, with ``free_atoms`` as `store_metadata` writes them (or ``free_atom_energies`` in eV, as
            labelling by a program does), and ``labels`` that says which key each label was read from.
        label: the quantity.

    Raises:
        InputError: there are none for this label, or its unit is none of energy.
    """
    if "free_atom_energies" in metadata and "free_atoms" not in metadata:
        return {symbol: float(value) for symbol, value in metadata["free_atom_energies"].items()}
    table = metadata.get("free_atoms") or {}
    key = _key(metadata, label)
    found = table.get(key, table.get(label))
    if found is None:
        have = ", ".join(table) or "none"
        raise InputError(
            f"the data bring no energies of free atoms for '{key or label}' (they have: {have}); give unit and values "
            "in references, or leave references out"
        )
    factor = to_internal(str(found["unit"]), ENERGY, "energies of free atoms")
    return {symbol: factor * float(value) for symbol, value in found["values"].items()}


def _key(metadata: Mapping[str, Any], label: str) -> str:
    source = (metadata.get("labels") or {}).get(label)
    return str(source.get("key", label)) if isinstance(source, Mapping) else label


def known_names(datasets: Sequence[NamedDataset]) -> dict[str, NamedDataset]:
    """Data sets by name, in the order given.

    Raises:
        ValueError: two have one name.
    """
    found: dict[str, NamedDataset] = {}
    for dataset in datasets:
        if dataset.card.name in found:
            raise ValueError(f"two data sets are called {dataset.card.name}")
        found[dataset.card.name] = dataset
    return found
