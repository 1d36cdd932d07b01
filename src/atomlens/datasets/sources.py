"""Finding the files of a data set wherever the user has them: named one by one, in a folder, or packed."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from atomlens.errors import InputError

_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError)


@dataclass(frozen=True)
class Source:
    """One file that was found."""

    name: str  # where it stands, with "archive: " before it if it was packed; for messages
    inside: PurePosixPath  # its path in the folder or archive, by which patterns judge it
    path: Path  # where it can be read

    def matches(self, patterns: Sequence[str]) -> bool:
        """Whether the end of its path fits one of the patterns, such as ``Si/training.json`` or ``*.npz``."""
        return any(self.inside.match(pattern) for pattern in patterns)


@contextmanager
def found(paths: Sequence[Path], patterns: Sequence[str]) -> Iterator[list[Source]]:
    """The files that fit; packed ones are unpacked for as long as the block lasts, each archive in one pass.

    Args:
        paths: files, folders (searched to their bottom), or tar and zip archives. Archives inside
            of a folder are opened where no other file of it fits.
        patterns: ends of paths. A file that is named by itself needs no more than the suffix of one of them.

    Raises:
        InputError: a path does not exist, an archive is damaged, or nothing fits.
    """
    suffixes = {PurePosixPath(pattern).suffix for pattern in patterns}
    with tempfile.TemporaryDirectory(prefix="atomlens-") as folder:
        sources: list[Source] = []
        for path in paths:
            if not path.exists():
                raise InputError("does not exist; check the path", file=str(path))
            files = [file for file in sorted(path.rglob("*")) if file.is_file()] if path.is_dir() else [path]
            plain = [Source(str(file), PurePosixPath(file.as_posix()), file) for file in files if not _packed(file)]
            fitting = [
                source
                for source in plain
                if source.matches(patterns) or (source.path == path and path.suffix in suffixes)
            ]
            sources += fitting
            # What lies unpacked beside its archive is not read twice, nor a large archive for nothing.
            for archive in [] if fitting else filter(_packed, files):
                sources += _unpacked(archive, patterns, Path(tempfile.mkdtemp(dir=folder)))
        if not sources:
            where = ", ".join(map(str, paths)) or None
            raise InputError(f"holds none of the files {', '.join(patterns)}; check what was given", file=where)
        yield sources


def one(sources: Sequence[Source], patterns: Sequence[str]) -> Source:
    """The only source that fits, or the only one there is.

    Raises:
        InputError: there are several.
    """
    fitting = [source for source in sources if source.matches(patterns)] or list(sources)
    if len(fitting) > 1:
        raise InputError(f"there are several ({', '.join(source.name for source in fitting)}); name one of them")
    return fitting[0]


def _packed(file: Path) -> bool:
    return file.name.lower().endswith((*_TAR, ".zip"))


def _unpacked(archive: Path, patterns: Sequence[str], into: Path) -> list[Source]:
    sources = []
    try:
        for number, (name, stream) in enumerate(_members(archive)):
            source = Source(f"{archive}: {name}", PurePosixPath(name), into / f"{number}-{PurePosixPath(name).name}")
            if source.matches(patterns):
                with open(source.path, "wb") as copy:
                    shutil.copyfileobj(stream, copy, 1 << 20)
                sources.append(source)
    except _DAMAGE as error:
        raise InputError(f"is a damaged archive ({error}); fetch it again", file=str(archive)) from None
    return sources


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Regular files of an archive in its own order; links and devices are passed over."""
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as packed:
            for name in packed.namelist():
                if not name.endswith("/"):
                    with packed.open(name) as stream:
                        yield name, stream
        return
    with tarfile.open(archive, "r|*") as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                yield member.name, file
