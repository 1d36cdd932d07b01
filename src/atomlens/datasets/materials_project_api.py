"""Fetching documents of the Materials Project through its own client, with the user's key."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atomlens.errors import InputError
from atomlens.progress import track

FORMAT = "materials-project-documents"
FIELDS = ("material_id", "structure", "formation_energy_per_atom", "energy_above_hull", "band_gap", "deprecated")
CHUNK = 1_000  # documents asked for at once
KEY = "MP_API_KEY"


def fetch_materials_project(
    path: str | Path, *, key: str | None = None, title: str = "", query: Mapping[str, Any] | None = None
) -> Path:
    """Fetch crystals that are not deprecated into a file of one JSON object a line, for `read_materials_project`.

    What has arrived is kept beside as ``NAME.part``; an interrupted call goes on there, if the database is still of
    the same version.

    Args:
        path: of the file; nothing is fetched if it is there.
        key: of the user; None takes the environment variable ``MP_API_KEY``.
        title: of a progress bar; none without it.
        query: arguments of the client's ``materials.summary.search`` that choose crystals, such as
            ``{"elements": ["Si"]}``; None: all.

    Raises:
        InputError: the client is not installed, there is no key, or the database cannot be reached or refuses.
    """
    target = Path(path)
    if target.exists():
        return target
    client = _client()
    key = key or os.environ.get(KEY, "").strip()
    if not key:
        raise InputError(f"needs your key of the Materials Project; set {KEY} (next-gen.materialsproject.org/api)")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    with _translated(), client(key, use_document_model=False, mute_progress_bars=True) as rester:
        version = str(rester.db_version or "")
        search = rester.materials.summary.search
        wanted = [str(entry["material_id"]) for entry in search(**_chosen(query), fields=["material_id"])]
        _append(part, version, sorted(set(wanted)), search, title)
    os.replace(part, target)
    return target


def _chosen(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"deprecated": False, **(query or {})}


def _append(part: Path, version: str, wanted: list[str], search: Callable[..., Any], title: str) -> None:
    """Ask for what is not in the file yet, chunk by chunk; each is on disk before the next is asked for."""
    if not wanted:
        raise InputError("the Materials Project has no crystals that fit; ask for others")
    have = _kept(part, version)
    with open(part, "a" if have is not None else "w", encoding="utf-8") as file:
        if have is None:
            file.write(json.dumps({"format": FORMAT, "database_version": version, "fields": FIELDS}) + "\n")
        left = [entry for entry in wanted if entry not in (have or set())]
        with track(title, len(wanted), "crystals", done=len(wanted) - len(left)) as bar:
            for start in range(0, len(left), CHUNK):
                names = left[start : start + CHUNK]
                for document in search(material_ids=names, deprecated=False, fields=list(FIELDS)):
                    file.write(json.dumps(_plain(document), allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
                bar.advance(len(names))


def _kept(part: Path, version: str) -> set[str] | None:
    """Materials that an interrupted call left, after a half-written last line is cut off; None: begin anew."""
    if not part.is_file():
        return None
    kept: set[str] = set()
    whole = 0
    with open(part, "rb") as file:
        for number, line in enumerate(file):
            try:
                entry = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                entry = None
            if not isinstance(entry, dict):
                break
            if number == 0 and (entry.get("format") != FORMAT or entry.get("database_version") != version):
                return None
            whole += len(line)
            kept |= {str(entry["material_id"])} if number else set()
    if not whole:
        return None
    os.truncate(part, whole)
    return kept


def _plain(document: Any) -> dict[str, Any]:
    """A document as JSON, whichever form the client hands it over in."""
    values = document if isinstance(document, dict) else document.model_dump()
    plain = {name: values[name] for name in FIELDS if name in values}
    if hasattr(plain.get("structure"), "as_dict"):
        plain["structure"] = plain["structure"].as_dict()
    return plain | {"material_id": str(plain["material_id"])}


def _client() -> Callable[..., Any]:
    try:
        from mp_api.client import MPRester
    except ImportError:
        raise InputError(
            "fetching from the Materials Project needs its client; pip install 'atomlens[materials-project]'"
        ) from None
    return MPRester


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the client raises into one sentence, and keep its advice on its own use to itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, KeyboardInterrupt):
        raise
    # The client raises errors of its own, of requests and of what it is built on, none of which we may import here.
    except Exception as error:
        text = " ".join(str(error).split())[:160] or type(error).__name__
        offline = isinstance(error, OSError) or any(word in text for word in ("Connection", "resolve", "timed out"))
        remedy = (
            "check the network, and try again: what has arrived is kept"
            if offline
            else f"check the key in {KEY}, and try again: what has arrived is kept"
        )
        raise InputError(f"the Materials Project cannot be asked ({text}); {remedy}") from None
