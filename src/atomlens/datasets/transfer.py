"""One conversation with a server: ask for a file, or for the rest of it, and append what comes."""

from __future__ import annotations

import errno
import http.client
import shutil
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPMessage
from pathlib import Path
from typing import IO, Any, NoReturn, Protocol
from urllib.parse import urlsplit

from atomlens.datasets.card import RemoteFile
from atomlens.errors import InputError
from atomlens.files import read_json, write_json
from atomlens.progress import say

_CHUNK = 1 << 17
_LONGEST_WAIT = 120.0  # s; a server that asks for more is left for another day
# The name or network is not there: waiting seconds does not help.
_OFFLINE = {errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}
_REFUSALS = {
    401: "wants a password",
    403: "is refused by its server",
    404: "is not there (any more)",
    410: "is gone for good",
    451: "is withheld for legal reasons",
}


class Broken(Exception):  # noqa: N818  it is taken up again
    """The connection broke, or the server asks to come again."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.wait = reason, wait


class StartAnew(Exception):  # noqa: N818  it is taken up again
    """What has arrived is of another version of the file."""


class Meter(Protocol):
    """Counts bytes."""

    def expect(self, total: int) -> None:
        """Say how many there are in all."""

    def at(self, done: int) -> None:
        """Say how many are there."""


@dataclass(frozen=True)
class Source:
    """A file at its place, and how far it has come."""

    file: RemoteFile
    part: Path
    record: Path  # what the server said of the version that is in the part file
    timeout: float  # s


def elsewhere(file: RemoteFile) -> str:
    """The clause that ends every message about a download."""
    return f"or download {file.url} by other means and give the file with --from"


def megabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e6:,.1f} MB" if size >= 1_000_000 else f"{size / 1e3:,.0f} kB"


def transfer(source: Source, meter: Meter, *, first: bool) -> None:
    """Bring the part file to its end, in one conversation.

    Args:
        source: what, and how far it is.
        meter: told of every piece.
        first: nothing was tried before, so that a server that is out of reach is so for good.

    Raises:
        Broken: not all came; another conversation may go on.
        StartAnew: what is there cannot be gone on with.
        InputError: the server refuses, or what it has is not what was published.
    """
    have = source.part.stat().st_size if source.part.is_file() else 0
    validator = _validator(source) if have else None
    if have and validator is None:
        have = 0
    if have and have == source.file.size:
        return  # it broke between the last byte and the new name
    try:
        with _open(source, have, validator or "", first=first) as response:
            have = _begin(source, response, have)
            total = _total(response, have)
            _check_announced(source, total, have)
            if total is not None:
                meter.expect(total)
            meter.at(have)
            arrived = _append(source, response, have, meter)
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise Broken(f"the connection broke ({_reason(error)})") from None
    if total is not None and arrived < total:
        raise Broken(f"the connection broke after {megabytes(arrived)} of {megabytes(total)}")


def _validator(source: Source) -> str | None:
    """What the rest is asked for by (RFC 9110, 13.1.5); empty: the checksum will have to do; None: start anew."""
    if not source.record.is_file():
        return None
    try:
        record = read_json(source.record)
    except InputError:
        return None
    if not isinstance(record, dict) or record.get("url") != source.file.url:
        return None
    etag = str(record.get("etag") or "")
    if etag and not etag.startswith("W/"):
        return etag
    modified = str(record.get("last_modified") or "")
    checked = source.file.sha256 is not None or source.file.md5 is not None
    return modified or ("" if checked else None)


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections within http and https, never from https back to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        """The request to the new address; raises `InputError` where it is not safe."""
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if new not in ("http", "https") or (old == "https" and new == "http"):
            raise InputError(
                f"leads on to {newurl}, which is no safe address; download it yourself and give the file with --from",
                file=req.full_url,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    """One for http and https alone: the usual one would also open files and ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        Redirects(),
    ):
        opener.add_handler(handler)
    return opener


def _open(source: Source, have: int, validator: str, *, first: bool) -> Any:
    headers = {"User-Agent": "atomlens (data sets by name)", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    request = urllib.request.Request(source.file.url, headers=headers)
    try:
        return _opener().open(request, timeout=source.timeout)
    except urllib.error.HTTPError as error:
        with error:
            _refused(source.file, error)
    except urllib.error.URLError as error:
        reason = error.reason if isinstance(error.reason, Exception) else error
        _unreachable(source.file, reason, first=first)


def _refused(file: RemoteFile, error: urllib.error.HTTPError) -> NoReturn:
    """What an answer that is an error means."""
    if error.code == 416:  # the range lies outside: the file is shorter than what is there
        raise StartAnew
    if error.code in _REFUSALS:
        raise InputError(
            f"{_REFUSALS[error.code]} (HTTP {error.code}); look at the page of the data set, {elsewhere(file)}",
            file=file.url,
        )
    if error.code in (408, 425, 429) or error.code >= 500:
        asked = _seconds(error.headers.get("Retry-After"))
        if asked > _LONGEST_WAIT:
            raise InputError(
                f"asks to come again in {asked / 60:.0f} min (HTTP {error.code}); run the same command then, "
                f"{elsewhere(file)}",
                file=file.url,
            )
        busy = "too many requests" if error.code == 429 else "trouble of the server"
        raise Broken(f"the server answers {error.code}, {busy}", asked)
    raise InputError(
        f"is answered with HTTP {error.code} ({error.reason}); try again, {elsewhere(file)}", file=file.url
    )


def _unreachable(file: RemoteFile, reason: Exception, *, first: bool) -> NoReturn:
    host = urlsplit(file.url).hostname
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise InputError(
            f"the certificate of {host} cannot be verified ({reason.verify_message}); check the clock and the "
            f"certificates of this computer, {elsewhere(file)}",
            file=file.url,
        )
    offline = isinstance(reason, socket.gaierror) or getattr(reason, "errno", None) in _OFFLINE
    if first and offline:
        raise InputError(
            f"{host} cannot be reached ({_reason(reason)}); go online and run the same command again, "
            f"{elsewhere(file)}",
            file=file.url,
        )
    raise Broken(f"{host} cannot be reached ({_reason(reason)})")


def _begin(source: Source, response: Any, have: int) -> int:
    """Look at the answer's head; returns how many bytes of the part file hold."""
    if response.status == 206:
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        start = rest.partition("-")[0]
        total = _whole(rest.rpartition("/")[2])
        known = read_json(source.record).get("size")
        if not have or unit != "bytes" or start != str(have) or (None not in (total, known) and total != known):
            raise StartAnew
        return have
    if response.status != 200:
        raise InputError(
            f"is answered with HTTP {response.status} and no file; open it in a browser, {elsewhere(source.file)}",
            file=source.file.url,
        )
    if have:
        say(f"{source.file.name}: the server sends the whole again, not the rest")
    if "text/html" in response.headers.get("Content-Type", "") and not source.file.name.endswith((".html", ".htm")):
        raise InputError(
            f"is a web page, not {source.file.name}; the file may have moved: look there, {elsewhere(source.file)}",
            file=source.file.url,
        )
    source.part.write_bytes(b"")
    facts = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
    write_json(source.record, {"url": source.file.url, "size": _total(response, 0), **facts})
    return 0


def _total(response: Any, have: int) -> int | None:
    """The size of the whole file, as announced."""
    rest = _whole(response.headers.get("Content-Length"))
    return None if rest is None else have + rest


def _check_announced(source: Source, total: int | None, have: int) -> None:
    """Refuse what cannot be right or has no place, before it is fetched."""
    file = source.file
    if total is not None and file.size is not None and total != file.size:
        raise InputError(
            f"has {total:,} bytes where {file.size:,} are published, so it was changed; look at the page of the data "
            f"set, {elsewhere(file)}",
            file=file.url,
        )
    needed = (total or file.size or 0) - have
    free = shutil.disk_usage(source.part.parent).free
    if needed > free:
        raise InputError(
            f"needs {megabytes(needed)} and {megabytes(free)} are free; free space, or name another folder in "
            "ATOMLENS_DATA",
            file=str(source.part.parent),
        )


def _append(source: Source, response: Any, have: int, meter: Meter) -> int:
    with open(source.part, "ab") as part:
        while True:
            chunk, broken = _read(response)
            part.write(chunk)
            have += len(chunk)
            meter.at(have)
            if broken is not None:
                raise broken
            if not chunk:
                return have


def _read(response: Any) -> tuple[bytes, Broken | None]:
    """The next bytes, and whether the connection broke behind them; errors of the disk are raised elsewhere."""
    try:
        return response.read(_CHUNK), None
    except http.client.IncompleteRead as error:
        return error.partial, Broken("the connection broke")
    except (OSError, http.client.HTTPException) as error:
        return b"", Broken(f"the connection broke ({_reason(error)})")


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None


def _seconds(text: str | None) -> float:
    return float(_whole(text) or 0)


def _reason(error: Exception) -> str:
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:80] or type(error).__name__
