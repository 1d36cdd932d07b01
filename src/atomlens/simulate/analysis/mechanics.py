"""Motions of the whole and motions within: what velocities are made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ase import units

from atomlens.errors import InputError
from atomlens.simulate.analysis.blocks import per_run
from atomlens.simulate.frames import Frames

_AT_REST = 1e-6  # share of its canonical energy below which motion of the whole is taken as removed


def centroid_motion(frames: Frames) -> Frames:
    """Positions, velocities and dipoles averaged over the beads of each path: one copy per replica, no energies."""
    if frames.beads == 1:
        return frames
    velocities, dipoles = (
        None if values is None else per_run(np.asarray(values, dtype=float), frames.beads)
        for values in (frames.velocities, frames.dipoles)
    )
    return replace(
        frames, beads=1, positions=per_run(np.asarray(frames.positions, dtype=float), frames.beads),
        cells=per_run(frames.cells, frames.beads), velocities=velocities, dipoles=dipoles, potential=None, marked=None,
    )  # fmt: skip


def kinetic_energies(frames: Frames) -> np.ndarray:
    """Kinetic energy of every atom, (frames, copies, atoms) eV.

    Raises:
        InputError: the run holds no velocities.
    """
    if frames.velocities is None:
        raise InputError("the run holds no velocities, so it has no temperature; record them")
    speeds = np.square(np.asarray(frames.velocities, dtype=float)).sum(axis=-1)
    return np.asarray(0.5 * frames.masses * speeds / units.fs**2)


def degrees_of_freedom(frames: Frames) -> float:
    """Momenta of one copy that are free: 3N, less those of the whole that are at rest all along the run.

    A path of P beads has one centre, so what rests there counts for each of its beads by 1/P.

    Raises:
        InputError: the run holds no velocities.
    """
    return 3.0 * len(frames.numbers) - sum(_shares_at_rest(centroid_motion(frames))) / frames.beads


def _shares_at_rest(frames: Frames) -> tuple[int, int]:
    """How many translations and rotations of the whole do not move."""
    if frames.velocities is None:
        raise InputError("the run holds no velocities, so it has no temperature; record them")
    rows = np.unique(np.linspace(0, len(frames.times) - 1, 50).astype(int))
    velocities = np.asarray(frames.velocities[rows], dtype=float).reshape(-1, len(frames.numbers), 3)
    positions = np.asarray(frames.positions[rows], dtype=float).reshape(velocities.shape)
    typical = float((frames.masses * np.square(velocities).sum(axis=-1)).sum(axis=-1).mean()) / (3 * len(frames.masses))
    rigid = rigid_motions(positions[0], frames.masses, open_=not frames.pbc.any())
    found = [0, 0]
    for kind, motions in enumerate((rigid[:3], rigid[3:])):
        if kind == 1 and len(motions):
            each = [rigid_motions(points, frames.masses, open_=True)[3:] for points in positions]
            count = min(len(part) for part in each)
            along = np.stack([np.einsum("kac,ac->k", part[:count], velocity * np.sqrt(frames.masses)[:, None])
                              for part, velocity in zip(each, velocities, strict=True)])  # fmt: skip
        else:
            count = len(motions)
            along = np.einsum("kac,sac->sk", motions, velocities * np.sqrt(frames.masses)[:, None])
        if count and float(np.square(along).mean()) < _AT_REST * typical:
            found[kind] = count
    return found[0], found[1]


def rigid_motions(positions: np.ndarray, masses: np.ndarray, *, open_: bool) -> np.ndarray:
    """Orthonormal mass-weighted translations and, of open structures, rotations, (3, 5 or 6; atoms, 3)."""
    root = np.sqrt(masses)[:, None]
    translations = np.stack([root * axis / np.sqrt(masses.sum()) for axis in np.eye(3)])
    if not open_ or len(masses) < 2:
        return translations
    centred = positions - (masses[:, None] * positions).sum(axis=0) / masses.sum()
    raw = np.stack([(root * np.cross(axis, centred)).ravel() for axis in np.eye(3)])
    _, sizes, rows = np.linalg.svd(raw, full_matrices=False)
    kept = rows[sizes > 1e-4 * sizes.max()]
    return np.concatenate([translations, kept.reshape(len(kept), -1, 3)])


def freedom_of_atoms(frames: Frames, degrees: float) -> np.ndarray:
    """Degrees of freedom by atom, (atoms,): 3, less the diagonal of the projector on motions of the whole that rest."""
    atoms = len(frames.numbers)
    missing = round((3 * atoms - degrees) * frames.beads)
    rigid = rigid_motions(np.asarray(frames.positions[0, 0], dtype=float), frames.masses, open_=not frames.pbc.any())
    known = {0: rigid[:0], 3: rigid[:3], len(rigid): rigid}
    if missing not in known:
        return np.full(atoms, degrees / atoms)
    return np.asarray(3.0 - np.square(known[missing]).sum(axis=(0, 2)) / frames.beads)


def internal_velocities(
    positions: np.ndarray, velocities: np.ndarray, masses: np.ndarray, *, open_: bool
) -> np.ndarray:
    """Velocities less those of the centre of mass and, of open structures, less rigid rotation at each moment.

    Args:
        positions: (..., atoms, 3) Å.
        velocities: (..., atoms, 3).
        masses: (atoms,).
        open_: whether there is a rotation to leave out.
    """
    weights = masses / masses.sum()
    moving = velocities - np.einsum("a,...ac->...c", weights, velocities)[..., None, :]
    if not open_:
        return np.asarray(moving)
    centred = positions - np.einsum("a,...ac->...c", weights, positions)[..., None, :]
    momentum = np.einsum("a,...ac->...c", masses, np.cross(centred, moving))
    products = np.einsum("a,...ac,...ad->...cd", masses, centred, centred)
    inertia = np.trace(products, axis1=-2, axis2=-1)[..., None, None] * np.eye(3) - products
    # The pseudo-inverse leaves out rotation about the axis of a linear molecule, which does not exist.
    rotation = np.einsum("...cd,...d->...c", np.linalg.pinv(inertia, rcond=1e-7, hermitian=True), momentum)
    return np.asarray(moving - np.cross(rotation[..., None, :], centred))
