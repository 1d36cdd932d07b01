"""What is known of a property before a network learns: offsets per element, and the scale of what they leave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.errors import InputError


def fit_offsets(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Per-element offsets c that minimise |y - N c|².

    Compositions often do not fix every offset (a single molecule fixes only their sum). Of all best fits the one
    nearest to the mean per atom is taken, so that a single composition gives E_μ for each element (thesis 3.4).

    Args:
        counts: (structures, elements) what each element adds to a structure: numbers of its atoms, N.
        values: (structures,) the property.

    Returns:
        (elements,) in the property's unit
    """
    sizes = counts.sum(axis=1)
    mean = float(sizes @ values / (sizes @ sizes))
    deviation = np.linalg.lstsq(counts, values - mean * sizes, rcond=None)[0]
    return mean + np.asarray(deviation)


# What is below this share of the values that it is left of has no digits but rounding: as a scale it would be noise.
_ROUNDING = 1e-10


def spread(left: np.ndarray, values: np.ndarray) -> float:
    """The standard deviation of what offsets leave of values, or one where that is nothing but rounding."""
    found = float(np.std(left))
    return found if found > _ROUNDING * float(np.abs(values).max(initial=0.0)) else 1.0


def rms_norm(left: np.ndarray, values: np.ndarray) -> float:
    """The root mean square length of what offsets leave of vectors, matrices or numbers, one per row.

    One where that is nothing but rounding.
    """
    found = float(np.sqrt(np.square(left.reshape(len(left), -1)).sum(axis=1).mean()))
    return found if found > _ROUNDING * float(np.abs(values).max(initial=0.0)) else 1.0


def known_label(data: Dataset, names: Sequence[str]) -> tuple[str, np.ndarray]:
    """The first of the quantities that has labels, and in which structures they are known, (structures,) bool.

    Raises:
        InputError: none has.
    """
    for name in names:
        if name in data.labels:
            known = data.known([name])
            if known.any():
                return name, known
    raise InputError(
        f"no label of {' or '.join(names)} is known in the training structures; name its key and unit",
        file=data.origin.file,
    )
