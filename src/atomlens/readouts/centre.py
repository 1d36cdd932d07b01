"""Positions about the centre of mass, the reference point of multipoles (insights paper eq. 3)."""

from __future__ import annotations

import torch
from ase.data import atomic_masses
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.data.dataset import Dataset
from atomlens.errors import InputError
from atomlens.ops.segment import segment_sum

_MASSES = torch.from_numpy(atomic_masses.copy())  # atomic mass units, by atomic number


def centred(numbers: Tensor, positions: Tensor, system: Tensor, systems: int, weight: Tensor | None) -> Tensor:
    """r_i - r_0 with r_0 the centre of mass of the atom's structure; a faded atom weighs less.

    Args:
        numbers: (atoms,) atomic numbers.
        positions: (atoms, 3) Å.
        system: (atoms,) structure of each atom.
        systems: their number.
        weight: (atoms,) or None for one.

    Returns:
        (atoms, 3) Å
    """
    masses = _MASSES.to(positions)[numbers]
    masses = masses if weight is None else masses * weight.to(masses)
    sums = segment_sum(torch.cat([masses[:, None] * positions, masses[:, None]], dim=1), system, systems)
    centres = sums[:, :3] / sums[:, 3:].clamp(min=1e-12)
    return positions - centres.index_select(0, system)


def centred_batch(batch: Batch, what: str) -> Tensor:
    """The same for a batch of open structures.

    Raises:
        InputError: a structure is periodic; a crystal has no centre.
    """
    if not torch.compiler.is_compiling() and bool(batch.pbc.any()):
        place = int(torch.nonzero(batch.pbc.any(dim=1))[0])
        raise InputError(f"is periodic, where {what} has no meaning; use a model without it", structure=place)
    return centred(batch.numbers, batch.positions, batch.system, batch.cell.shape[0], batch.weight)


def centred_data(data: Dataset) -> Tensor:
    """The same for a data set, (atoms, 3) Å."""
    system = torch.repeat_interleave(torch.from_numpy(data.n_atoms.copy()))
    numbers, positions = torch.from_numpy(data.numbers.copy()), torch.from_numpy(data.positions.copy())
    return centred(numbers, positions, system, len(data), None)
