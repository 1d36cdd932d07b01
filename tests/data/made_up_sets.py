"""Small data sets of which it is known what a split of them must do."""

import numpy as np
from ase.build import molecule
from scipy.signal import lfilter

from atomlens.data.dataset import Column, Dataset

# Isomers by formula: C2H6O, C3H6, C3H4, C4H10, C2H4O. Which is which is known from their names.
ISOMERS = (
    *("CH3CH2OH", "CH3OCH3"),
    *("C3H6_D3h", "C3H6_Cs"),
    *("C3H4_C2v", "C3H4_C3v", "C3H4_D2d"),
    *("trans-butane", "isobutane"),
    *("CH3CHO", "CH2OCH2"),
)


def rotation(rng):
    """A random rotation matrix."""
    orthogonal = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return orthogonal * np.sign(np.linalg.det(orthogonal))


def moved(numbers, positions, rng):
    """The same structure, turned, shifted and with its atoms in another order."""
    order = rng.permutation(len(numbers))
    return numbers[order], (positions @ rotation(rng).T + rng.normal(size=3))[order]


def joined(structures, columns=None, labels=None, cell=None):
    """A data set of (numbers, positions)."""
    sizes = [len(numbers) for numbers, _ in structures]
    return Dataset.from_arrays(
        np.concatenate([numbers for numbers, _ in structures]),
        np.concatenate([positions for _, positions in structures]),
        np.array(sizes),
        labels or {},
        cell=cell,
        pbc=None if cell is None else np.ones((len(sizes), 3), dtype=bool),
        columns={key: Column(np.asarray(values), "system") for key, values in (columns or {}).items()},
    )


def molecules(frames=20, names=ISOMERS, noise=0.02, seed=0):
    """Frames of every molecule, shuffled, each turned and with its atoms in another order; and (frames,) its name."""
    rng = np.random.default_rng(seed)
    which = rng.permutation(np.repeat(np.arange(len(names)), frames))
    made = [molecule(name) for name in names]
    structures = [
        moved(made[k].numbers, made[k].positions + noise * rng.normal(size=(len(made[k]), 3)), rng) for k in which
    ]
    columns = {
        "frame": rng.permutation(len(which)),
        "trajectory": which * 2 + rng.integers(2, size=len(which)),
        "split_01": rng.integers(3, size=len(which)),
    }
    return joined(structures, columns, {"energy": rng.normal(size=len(which))}), np.array(names)[which]


def remembering(frames, time, seed=0):
    """(frames,) of an Ornstein-Uhlenbeck process of unit variance, with the memory exp(-t / time)."""
    rng = np.random.default_rng(seed)
    keep, kicks = np.exp(-1.0 / time), rng.normal(size=frames)
    kicks[1:] *= np.sqrt(1.0 - keep**2)
    return lfilter([1.0], [1.0, -keep], kicks)


def diatomic_trajectory(frames, time, seed=0, columns=None):
    """Two atoms whose distance remembers, with an energy that follows it; and the series itself."""
    series = remembering(frames, time, seed)
    positions = np.zeros((frames, 2, 3))
    positions[:, 1, 0] = 1.2 + 0.02 * series
    numbers = np.array([7, 7])
    data = joined([(numbers, frame) for frame in positions], columns, {"energy": series})
    return data, series
