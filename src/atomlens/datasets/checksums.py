"""What a file should be, and what it is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from atomlens.datasets.card import RemoteFile

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Checksums:
    """Size in bytes and digests of a file, in hexadecimal digits."""

    size: int
    sha256: str
    md5: str

    def problem(self, file: RemoteFile) -> str:
        """How it differs from what is published, as the beginning of a sentence; empty where it does not."""
        if file.size is not None and self.size != file.size:
            return f"has {self.size:,} bytes where {file.size:,} are published"
        for name in ("sha256", "md5"):
            wanted = getattr(file, name)
            if wanted is not None and getattr(self, name) != wanted.lower():
                return f"has the {name} {getattr(self, name)} where {wanted} is published"
        return ""


def checksums(path: Path) -> Checksums:
    """Read a file once and compute its digests."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
    return Checksums(size, sha256.hexdigest(), md5.hexdigest())
