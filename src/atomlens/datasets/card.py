"""What is known about a data set that has a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from atomlens.data.dataset import Dataset


@dataclass(frozen=True)
class RemoteFile:
    """A file at its official place."""

    name: str  # under which it is kept
    url: str
    size: int | None = None  # bytes, where published
    md5: str | None = None  # as published; None: none is known
    sha256: str | None = None


@dataclass(frozen=True)
class Card:
    """What a user has to know before training on a data set."""

    name: str  # in commands, such as "rmd17-ethanol"
    title: str
    citation: str  # authors, journal, year, DOI
    licence: str
    level: str  # of theory, for each group of labels
    labels: Mapping[str, str]  # key in the official files to its unit and meaning
    structures: int | None  # as official; None: it depends on when it was fetched
    free_atoms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # label to symbol to value
    free_atom_unit: str | None = None
    errata: tuple[str, ...] = ()  # what is wrong in the official files, and what is done about it
    advice: tuple[str, ...] = ()  # for use: training-set sizes, better versions


@dataclass(frozen=True)
class Variant:
    """Another way to read the same files, on the user's wish."""

    meaning: str  # one sentence, for help
    read: Callable[[tuple[Path, ...]], Iterator[Dataset]]
    structures: int | None  # as official


@dataclass(frozen=True)
class NamedDataset:
    """A data set with a name: its card, its official files, and how these are read.

    ``read`` gets the files that the user has or that were downloaded: one path (a file or a folder) or several. It
    takes the official files, unpacked or as they are distributed, and plain numpy archives of the same set; yields
    pieces of bounded size that laid end to end are the data set; and raises `InputError` where a file is not what it
    should be.
    """

    card: Card
    files: tuple[RemoteFile, ...]  # empty: it cannot be downloaded without more ado; ``why_no_files`` says why
    read: Callable[[tuple[Path, ...]], Iterator[Dataset]]
    why_no_files: str = ""
    variants: Mapping[str, Variant] = field(default_factory=dict)  # by name, such as "keep-uncharacterised"
