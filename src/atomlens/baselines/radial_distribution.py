"""Partial radial distribution functions (PRDF; Schütt et al., Phys. Rev. B 89, 205118 (2014))."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import csr_array, vstack

from atomlens.baselines.descriptor import pieces
from atomlens.data.dataset import Dataset
from atomlens.data.neighbours import neighbour_list
from atomlens.errors import InputError

CUTOFF = 8.0  # Å
BINS = 32


def partial_radial_distributions(
    data: Dataset, training: np.ndarray, title: str = "", *, cutoff: float = CUTOFF, bins: int = BINS
) -> Any:
    """How densely atoms of element β lie around those of α, by distance: sparse (structures, elements² · bins).

    g_αβ(r) = 1 / (N_α V_r) Σ_{i of α} Σ_{j of β} [r ≤ d_ij < r + dr] with the volume V_r of the shell, in Å⁻³; of
    crystals over all images. Columns are ordered by α, β and r.

    Raises:
        InputError: two atoms nearly coincide.
    """
    del training
    parts = [_of_piece(data, rows.start, some, cutoff, bins) for rows, some in pieces(data, title)]
    table = vstack(parts, format="csr")
    # What scikit-learn measures distances with takes no longer ones.
    table.indices, table.indptr = table.indices.astype(np.int32), table.indptr.astype(np.int32)
    return table


def _of_piece(whole: Dataset, first: int, data: Dataset, cutoff: float, bins: int) -> Any:
    elements = np.array(whole.elements)
    lists = []
    for index, system in enumerate(data):
        try:
            lists.append(neighbour_list(system, cutoff))
        except InputError as error:
            raise whole.located(error, first + index) from None
    sizes = [len(found[0]) for found in lists]
    structure = np.repeat(np.arange(len(data)), sizes)
    start = data.offsets[structure]
    centre, neighbour = (start + np.concatenate([found[part] for found in lists]) for part in (0, 1))
    shift = np.concatenate([found[2] for found in lists]).astype(np.float64)
    apart = data.positions[neighbour] - data.positions[centre]
    apart += np.einsum("pa,pab->pb", shift, data.cell[structure])
    place = (np.linalg.norm(apart, axis=1) * (bins / cutoff)).astype(np.int64)
    place = np.minimum(place, bins - 1)  # rounding may lift what lies just within the cutoff

    column = np.searchsorted(elements, data.numbers)
    edges = np.linspace(0.0, cutoff, bins + 1)
    volume = 4.0 / 3.0 * np.pi * np.diff(edges**3)
    counts = np.zeros((len(data), len(elements)))
    np.add.at(counts, (np.repeat(np.arange(len(data)), data.n_atoms), column), 1.0)
    value = 1.0 / (counts[structure, column[centre]] * volume[place])
    where = (column[centre] * len(elements) + column[neighbour]) * bins + place
    return csr_array((value, (structure, where)), shape=(len(data), len(elements) ** 2 * bins))
