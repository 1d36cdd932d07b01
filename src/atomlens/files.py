"""Writing that never leaves half a file behind, and folders that are never overwritten by accident."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atomlens.errors import InputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and vanishes when it does not."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: many writers choose their format by it.
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}-", suffix=target.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in one step."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, values: Any) -> None:
    """Write JSON in one step; NaN and infinity are refused, for no strict reader takes them."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON.

    Raises:
        InputError: the file is missing or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror}); check the path", file=str(path)) from None
    except ValueError:
        raise InputError("is not valid JSON; write it again or restore it", file=str(path)) from None


def check_folder(path: str | Path, *, resuming: bool = False, resumable: bool = True) -> Path:
    """Refuse an output folder that cannot be used; it is made when the first file is written.

    Raises:
        InputError: it holds files already and this is no resumption, or a file of that name is in the way.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file, not a folder; choose another output folder", file=str(folder))
    # Names with a leading dot are what a killed process left of a file that it was still writing.
    if not resuming and folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise InputError(
            f"is not empty; choose another output folder{' (a run in it goes on with --resume)' if resumable else ''}",
            file=str(folder),
        )
    return folder


@contextmanager
def made_at_once(folder: Path) -> Iterator[Path]:
    """A folder beside the wanted one that takes its place when the block ends well, and vanishes when it does not."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        yield temporary
        temporary.chmod(0o755)
        if folder.is_dir():  # empty, or with what a killed process left
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def disk_is_full(error: OSError) -> bool:
    """Whether the disk, a quota or a limit on the size of files is what kept something from being written."""
    return error.errno in _FULL


def of_disk(error: OSError, folder: str | Path, kept: str) -> Exception:
    """What to raise for an error of the disk under a run: of a full one how to go on, any other as it is.

    Args:
        error: as it came.
        folder: of the run.
        kept: a clause on how much is safe.
    """
    if not disk_is_full(error):
        return error
    return InputError(f"the disk is full; {kept}; free space, and go on with --resume", file=str(folder))


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
