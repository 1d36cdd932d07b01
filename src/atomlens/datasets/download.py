"""Files from their official places: resumed where they broke off, checked, and not fetched twice."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from atomlens.datasets.card import RemoteFile
from atomlens.datasets.checksums import Checksums, checksums
from atomlens.datasets.transfer import Broken, Meter, Source, StartAnew, elsewhere, megabytes, transfer
from atomlens.errors import InputError, Interrupted
from atomlens.files import read_json, write_json
from atomlens.progress import Reporter, say, track

_ENOUGH = 1 << 20  # bytes that an attempt has to bring so that the patience begins anew


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for."""

    waits: tuple[float, ...] = (1.0, 3.0, 10.0, 30.0)  # s before each new attempt after a break
    timeout: float = 30.0  # s without any data, after which the connection counts as broken


def cache_folder() -> Path:
    """Where downloads are kept: ``$ATOMLENS_DATA``, or a folder of the user's caches as the platform has them."""
    chosen = os.environ.get("ATOMLENS_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "atomlens"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "atomlens" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "atomlens"


def kept_in(file: RemoteFile, folder: Path | None = None) -> Path:
    """The folder in which a download is kept: one per server, so that data sets may share a file."""
    return (folder or cache_folder()) / (urlsplit(file.url).hostname or "files")


def download(file: RemoteFile, folder: str | Path, title: str = "", patience: Patience | None = None) -> Path:
    """Fetch a file, or find it where an earlier call left it.

    What has arrived is kept beside as ``NAME.part``. A broken connection is taken up again where it broke, by HTTP
    ranges (RFC 9110, 14) with ``If-Range``, so that two versions of a file are never mixed; a server without ranges is
    asked for the whole again. The file gets its name when size and checksum are right. ``NAME.origin.json`` says where
    it came from.

    Args:
        file: what, from where, with its checksum where one is published.
        folder: for it; made where needed.
        title: of a progress bar; nothing is shown without one.
        patience: with a server that breaks off or answers that it is busy.

    Returns:
        The path of the file.

    Raises:
        InputError: the address is not of http or https, the server cannot be reached or refuses, what comes is not what
            was published, the disk is full, or another process is fetching the file.
        Interrupted: the user stopped it; the same call goes on.
    """
    if urlsplit(file.url).scheme not in ("http", "https"):
        raise InputError("is no address of http or https; download it yourself, and use --from", file=file.url)
    target = Path(folder) / file.name
    part = target.with_name(f"{file.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not _is_there(file, target):
            with _alone(part):
                _bring(file, target, part, title, patience or Patience())
    except KeyboardInterrupt:
        raise Interrupted(
            f"stopped; {megabytes(_size(part))} of {file.name} are kept, and the same command goes on from there"
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot be written ({error.strerror or error}); free space or name another folder in ATOMLENS_DATA, and "
            "run the same command again: what has arrived is kept",
            file=str(part),
        ) from None
    return target


def _bring(file: RemoteFile, target: Path, part: Path, title: str, patience: Patience) -> None:
    if _is_there(file, target):  # another process was quicker
        return
    found = _fetched(file, part, title, patience)
    os.replace(part, target)
    _record(target, file, found)


def published(file: RemoteFile) -> bool:
    """Whether a checksum of the file is known, from its place or from those who use it."""
    return file.sha256 is not None or file.md5 is not None


def origin_of(path: Path) -> Path:
    """The file in which `download` says where another came from."""
    return path.with_name(f"{path.name}.origin.json")


def _is_there(file: RemoteFile, target: Path) -> bool:
    if not target.is_file():
        return False
    if published(file) or file.size is not None:
        whole = not checksums(target).problem(file)
    else:
        record = origin_of(target)
        whole = record.is_file() and read_json(record).get("size") == _size(target)
    if not whole:
        say(f"{target} is not what {file.url} should be; it is fetched again")
        target.unlink()
    return whole


def _fetched(file: RemoteFile, part: Path, title: str, patience: Patience) -> Checksums:
    """Bring the part file to its end; a mix of two versions gives itself away, and is fetched once more."""
    resumed = part.is_file()
    problem = ""
    for _ in range(2):
        with _progress(file, part, title) as meter:
            resumed |= _arrive(file, part, meter, patience)
        found = checksums(part)
        problem = found.problem(file)
        if not problem:
            return found
        part.unlink()
        origin_of(part).unlink(missing_ok=True)
        if not resumed:
            break
        resumed = False
    raise InputError(f"{problem}; what arrived was removed: try once more, {elsewhere(file)}", file=file.url)


def _arrive(file: RemoteFile, part: Path, meter: Meter, patience: Patience) -> bool:
    """Fetch until all is there; returns whether it took more than one attempt."""
    source = Source(file, part, origin_of(part), patience.timeout)
    failures, attempts = 0, 0
    while True:
        before, attempts = _size(part), attempts + 1
        try:
            transfer(source, meter, first=attempts == 1)
            return attempts > 1
        except StartAnew:
            part.unlink(missing_ok=True)
            broken = Broken("the file at its place is another one than before")
        except Broken as error:
            broken = error
            failures = 0 if _size(part) - before >= _ENOUGH else failures
        if failures >= len(patience.waits):
            raise InputError(
                f"{broken.reason}, {failures + 1} times; {megabytes(_size(part))} are kept: run the same command again "
                f"later, {elsewhere(file)}",
                file=file.url,
            )
        wait = max(patience.waits[failures], broken.wait)
        say(f"{file.name}: {broken.reason}; next attempt in {wait:.0f} s")
        time.sleep(wait)
        failures += 1


class _BarMeter:
    """Counts bytes on a bar that shows kB or MB."""

    def __init__(self, bar: Reporter, unit: int, done: int) -> None:
        self._bar, self._unit, self._done = bar, unit, done

    def expect(self, total: int) -> None:
        """Say how many bytes there are in all."""
        self._bar.expect(round(total / self._unit))

    def at(self, done: int) -> None:
        """Say how many bytes are there."""
        self._bar.advance(done // self._unit - self._done // self._unit)
        self._done = done


@contextmanager
def _progress(file: RemoteFile, part: Path, title: str) -> Iterator[Meter]:
    unit, name = (1_000_000, "MB") if (file.size or 0) >= 10_000_000 else (1000, "kB")
    with track(title, (file.size or 0) // unit, name, done=_size(part) // unit) as bar:
        yield _BarMeter(bar, unit, _size(part))


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Keep other processes from writing the same part, where the platform has locks of files."""
    try:
        import fcntl
    except ImportError:  # Windows: there the last one wins, and the checksum says whether all went well
        yield
        return
    lock = part.with_name(f".{part.name}.lock")
    with open(lock, "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its owner may have removed it between opening and locking; somebody else may then hold a new one.
            mine = lock.exists() and os.path.samestat(lock.stat(), os.fstat(file.fileno()))
        except (BlockingIOError, FileNotFoundError):
            mine = False
        if not mine:
            raise InputError(
                "is being fetched by another process; wait for it, and run the same command again", file=str(part)
            )
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _record(target: Path, file: RemoteFile, found: Checksums) -> None:
    origin_of(target.with_name(f"{target.name}.part")).unlink(missing_ok=True)
    write_json(
        origin_of(target),
        {
            "url": file.url,
            "size": found.size,
            "sha256": found.sha256,
            "checksum": "as published" if published(file) else "none is published; this is what arrived",
        },
    )
    if not published(file):
        say(
            f"{file.name}: no checksum is published; what arrived has sha256 {found.sha256}, written down with the data"
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
