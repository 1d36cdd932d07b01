"""Arrays small enough for a page: rounded to whole steps, stored as differences, deflated and written as base64."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

# Differences along a smooth array are small whole numbers, which deflate to one or two bytes each even as digits; that
# is less than float32 or int16 take, and the page needs one decoder for all.
_MISSING = -(2**31)  # stands for a value that is not finite


def packed(value: Any) -> str:
    """Anything that JSON can hold, deflated and in base64; NaN and infinity are refused, for no browser reads them."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return deflated(text)


def deflated(text: str) -> str:
    """A text, deflated (zlib) and in base64."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def unpacked(text: str) -> Any:
    """What `packed` was given."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


def quantised(values: ArrayLike, step: float) -> dict[str, Any]:
    """An array, flattened, in whole multiples of ``step``; each as the difference from the one before.

    Values that are not finite come back as NaN. The error is at most half a step.
    """
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    known = np.isfinite(flat)
    # Repeating the last known value costs nothing; which ones are missing is told by runs, for they lie together.
    filled = np.round(np.where(known, flat, 0.0) / step)
    filled = filled[np.maximum.accumulate(np.where(known, np.arange(len(flat)), 0))] if len(flat) else filled
    whole = np.clip(filled, _MISSING + 1, -_MISSING - 1).astype(np.int64)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], known]))).tolist()
    return {"step": step, "deltas": np.diff(whole, prepend=0).tolist(), "edges": edges}


def restored(stored: dict[str, Any]) -> np.ndarray:
    """The array (values,) of `quantised`: what the page's script computes."""
    values = stored["step"] * np.cumsum(stored["deltas"])
    crossed = np.searchsorted(stored["edges"], np.arange(len(values)), side="right")
    return np.where(crossed % 2 == 0, values, np.nan)


def rounded(values: ArrayLike, digits: int = 5) -> list[float | None]:
    """Numbers with so many significant digits, as JSON writes them; None where they are not finite."""
    return [
        float(f"{value:.{digits}g}") if np.isfinite(value) else None
        for value in np.asarray(values, dtype=np.float64).reshape(-1).tolist()
    ]
