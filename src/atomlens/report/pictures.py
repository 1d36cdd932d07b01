"""Figures as pictures inside a page: in the smallest format, and smaller still where the page would grow too large."""

from __future__ import annotations

import base64
import io
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from atomlens.errors import InputError

_DPI = 200  # of PNG files, see figures/style.py


@dataclass(frozen=True)
class Picture:
    """A figure as a page shows it."""

    address: str  # data:
    width: int  # CSS pixels
    height: int


@dataclass(frozen=True)
class _Rung:
    """How a picture is made smaller: quality of WebP, and length of a side against that of the PNG file."""

    quality: int
    scale: float


_LADDER = (_Rung(82, 1.0), _Rung(80, 0.67), _Rung(72, 0.5))


def pictures(paths: Iterable[Path], budget: int) -> dict[Path, Picture]:
    """Every figure once, by its path: SVG or PNG, whichever is smaller.

    Where all of them together would take more than ``budget`` bytes of a page, they are written as WebP, the largest
    first and no more of them than it takes, then with fewer pixels; the end of that ladder is kept even if it does not
    suffice.

    Raises:
        InputError: a file cannot be read.
    """
    sources = {path: _files(path) for path in dict.fromkeys(paths)}
    found = {path: _picture(files) for path, files in sources.items()}
    size = sum(len(picture.address) for picture in found.values())
    for rung in _LADDER:
        for path in sorted(found, key=lambda path: -len(found[path].address)):
            if size <= budget:
                return found
            smaller = _picture(sources[path], rung)
            saved = len(found[path].address) - len(smaller.address)
            if saved > 0:
                found[path], size = smaller, size - saved
    return found


def _files(path: Path) -> Mapping[str, bytes]:
    """The contents of the figure's files by kind."""
    kinds = {"svg+xml": path.with_suffix(".svg"), "png": path.with_suffix(".png")}
    present = {kind: file for kind, file in kinds.items() if file.is_file()}
    try:
        return {kind: file.read_bytes() for kind, file in (present or {"png": path}).items()}
    except OSError as error:
        reason = f"the figure cannot be read ({error.strerror}); draw it again"
        raise InputError(reason, file=str(path)) from None


def _picture(files: Mapping[str, bytes], rung: _Rung | None = None) -> Picture:
    choices = dict(files)
    if rung is not None and "png" in files:
        choices["webp"] = _webp(files["png"], rung)
    kind, data = min(choices.items(), key=lambda choice: len(choice[1]))
    width, height = dimensions(*next(iter(files.items())))
    return Picture(f"data:image/{kind};base64,{base64.b64encode(data).decode()}", width, height)


def _webp(data: bytes, rung: _Rung) -> bytes:
    from PIL import Image  # comes with matplotlib

    image = Image.open(io.BytesIO(data)).convert("RGB")
    if rung.scale != 1.0:
        size = (round(image.width * rung.scale), round(image.height * rung.scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "WEBP", quality=rung.quality, method=2)  # twice as fast as the default, a little larger
    return written.getvalue()


def dimensions(kind: str, data: bytes) -> tuple[int, int]:
    """Width and height in CSS pixels, so that the page does not move while images are decoded."""
    if kind == "png" and data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        across, down = struct.unpack(">II", data[16:24])
        return round(across * 96 / _DPI), round(down * 96 / _DPI)
    width, height = (re.search(rb'<svg[^>]*?\s%b="([\d.]+)pt"' % side, data) for side in (b"width", b"height"))
    if width is None or height is None:
        return 440, 400
    return round(float(width[1]) * 4 / 3), round(float(height[1]) * 4 / 3)
