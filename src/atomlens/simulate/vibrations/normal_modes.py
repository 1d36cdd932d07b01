"""Normal modes of a Hessian: frequencies, displacements, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from ase.thermochemistry import HarmonicThermo

from atomlens.errors import InputError

# √(eV/Å²/amu) as an angular frequency times ħ, in eV; and an energy as a wavenumber.
QUANTUM = units._hbar * 1e10 / np.sqrt(units._e * units._amu)  # eV
WAVENUMBER = QUANTUM / units.invcm  # cm⁻¹
ROUNDING = 0.1  # cm⁻¹; less is zero: eigenvalues are rounded at some 1e-9 eV/Å²/amu
_LINEAR = 1e-6  # moment of inertia, as a share of the largest, about the axis of what counts as linear


@dataclass(frozen=True)
class NormalModes:
    """Harmonic vibrations in rising order of frequency, without translations and rotations of the whole."""

    frequencies: np.ndarray  # (modes,) cm⁻¹; imaginary ones, of falling energy, as negative numbers
    displacements: np.ndarray  # (modes, atoms, 3) Cartesian, of Euclidean length 1 for each mode
    reduced_masses: np.ndarray  # (modes,) atomic mass units: 1 / |M^-1/2 l|² of the mass-weighted unit vector l
    force_constants: np.ndarray  # (modes,) eV/Å², μ ω²
    masses: np.ndarray  # (atoms,) atomic mass units
    free: np.ndarray  # (3 to 6,) cm⁻¹, frequencies along the translations and rotations that were projected out
    leak: float  # cm⁻¹, √|D t| of the worst of these, of the mass-weighted Hessian D: zero at a minimum

    @property
    def imaginary(self) -> int:
        """How many frequencies are imaginary by more than rounding: zero at a minimum, one at a transition state."""
        return int((self.frequencies < -ROUNDING).sum())

    @property
    def energies(self) -> np.ndarray:
        """ħω of each mode in eV, (modes,), negative for imaginary ones."""
        return self.frequencies * units.invcm

    @property
    def zero_point_energy(self) -> float:
        """½ Σ ħω over the real frequencies, in eV."""
        return 0.5 * float(self.energies[self.frequencies > 0].sum())


def normal_modes(
    hessian: np.ndarray,
    masses: np.ndarray,
    positions: np.ndarray,
    *,
    cell: np.ndarray | None = None,
    pbc: tuple[bool, bool, bool] | np.ndarray = (False, False, False),
) -> NormalModes:
    """Eigenvectors of M^-1/2 H M^-1/2 (thesis 5.3) orthogonal to translations and to the rotations that are free.

    An open structure rotates about three axes (a linear one about two, an atom about none), a structure that repeats
    in one direction about that one, and others not at all. Linear is what has less than a millionth of its largest
    moment of inertia about its axis.

    Args:
        hessian: (3 atoms, 3 atoms) eV/Å²; its symmetric part is taken.
        masses: (atoms,) atomic mass units.
        positions: (atoms, 3) Å.
        cell: (3, 3) Å, rows are lattice vectors; needed for one periodic direction only.
        pbc: which lattice directions repeat.

    Raises:
        InputError: shapes that do not fit, numbers that are not finite, or a mass that is not positive.
    """
    _check(hessian, masses, positions)
    roots = np.repeat(np.sqrt(masses), 3)
    weighted = 0.5 * (hessian + hessian.T) / np.outer(roots, roots)
    free = _free_motions(masses, positions, _rotation_axes(masses, positions, cell, np.asarray(pbc)))
    rest = np.linalg.qr(free, mode="complete")[0][:, free.shape[1] :]
    squares, vectors = np.linalg.eigh(rest.T @ weighted @ rest)
    cartesian = (rest @ vectors).T / roots
    lengths = np.linalg.norm(cartesian, axis=1)
    cartesian /= lengths[:, None]
    largest = np.take_along_axis(cartesian, np.abs(cartesian).argmax(axis=1)[:, None], axis=1)
    leak = float(np.linalg.norm(weighted @ free, ord=2))
    return NormalModes(
        frequencies=_wavenumbers(squares),
        displacements=(np.sign(largest) * cartesian).reshape(-1, len(masses), 3),
        reduced_masses=lengths**-2,
        force_constants=squares * lengths**-2,
        masses=np.array(masses, dtype=np.float64),
        free=_wavenumbers(np.linalg.eigvalsh(free.T @ weighted @ free)),
        leak=WAVENUMBER * float(np.sqrt(leak)),
    )


def thermochemistry(modes: NormalModes, temperature: float = 298.15) -> dict[str, float]:
    """Internal energy, entropy and free energy of harmonic vibrations, zero-point energy included, by ASE.

    Translations and rotations of the whole are not counted.

    Args:
        modes: of a minimum.
        temperature: in K.

    Returns:
        ``temperature`` (K), ``internal_energy`` and ``free_energy`` (eV), ``entropy`` (eV/K)

    Raises:
        InputError: a frequency is imaginary or zero, or the temperature is not positive.
    """
    if not temperature > 0.0:
        raise InputError(f"a temperature must be above 0 K, not {temperature:g} K; choose one such as 298.15")
    soft = int((modes.frequencies <= ROUNDING).sum())
    if soft:
        raise InputError(
            f"{soft} of the frequencies are imaginary or zero, and motions without a restoring force have no harmonic "
            "free energy; relax the structure to a minimum first"
        )
    oscillators = HarmonicThermo(list(modes.energies))
    energy = float(oscillators.get_internal_energy(temperature, verbose=False))
    entropy = float(oscillators.get_entropy(temperature, verbose=False))
    return {
        "temperature": float(temperature),
        "internal_energy": energy,
        "entropy": entropy,
        "free_energy": energy - temperature * entropy,
    }


def _check(hessian: np.ndarray, masses: np.ndarray, positions: np.ndarray) -> None:
    atoms = len(masses)
    if hessian.shape != (3 * atoms, 3 * atoms) or positions.shape != (atoms, 3):
        raise InputError(
            f"{atoms} masses need a Hessian of shape {(3 * atoms, 3 * atoms)} and positions of shape {(atoms, 3)}, not "
            f"{hessian.shape} and {positions.shape}; give those of one structure"
        )
    if not np.isfinite(hessian).all():
        raise InputError("the Hessian holds a number that is not finite; check the model and the structure")
    if not (np.isfinite(masses).all() and (np.asarray(masses) > 0).all()):
        raise InputError("every atom needs a mass above zero; correct the masses")


def _wavenumbers(squares: np.ndarray) -> np.ndarray:
    """cm⁻¹ from squared angular frequencies in eV/Å²/amu, with the sign of the square."""
    return WAVENUMBER * np.sign(squares) * np.sqrt(np.abs(squares))


def _rotation_axes(
    masses: np.ndarray, positions: np.ndarray, cell: np.ndarray | None, pbc: np.ndarray
) -> list[np.ndarray]:
    """Directions about which the whole can turn, each with a moment of inertia."""
    if pbc.sum() > 1:
        return []
    arms = positions - masses @ positions / masses.sum()
    inertia = np.einsum("i,iab->ab", masses, (arms**2).sum(axis=1)[:, None, None] * np.eye(3) - _outer(arms))
    if pbc.any():
        if cell is None:
            raise InputError("a structure that repeats in one direction needs its cell; give it")
        along = cell[int(np.flatnonzero(pbc)[0])]
        axes = (along / np.linalg.norm(along))[None]
    else:
        axes = np.linalg.eigh(inertia)[1].T
    moments = np.einsum("xa,ab,xb->x", axes, inertia, axes)
    return [axis for axis, moment in zip(axes, moments, strict=True) if moment > _LINEAR * np.trace(inertia) / 2.0]


def _outer(arms: np.ndarray) -> np.ndarray:
    return np.einsum("ia,ib->iab", arms, arms)


def _free_motions(masses: np.ndarray, positions: np.ndarray, axes: list[np.ndarray]) -> np.ndarray:
    """Translations and rotations of the whole in mass-weighted coordinates, (3 atoms, 3 to 6), orthonormal."""
    arms = positions - masses @ positions / masses.sum()
    steps = [np.broadcast_to(direction, arms.shape) for direction in np.eye(3)]
    steps += [np.cross(axis, arms) for axis in axes]
    columns = np.stack([(np.sqrt(masses)[:, None] * step).ravel() for step in steps], axis=1)
    return np.asarray(np.linalg.qr(columns / np.linalg.norm(columns, axis=0))[0])
