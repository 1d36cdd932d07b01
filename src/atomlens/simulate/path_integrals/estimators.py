"""Energies of quantum nuclei from the positions of their ring polymers.

M. Ceriotti, J. More and D. E. Manolopoulos, Comput. Phys. Commun. 185, 1019 (2014), equations 7 to 12; the
centroid-virial estimator is that of M. F. Herman, E. J. Bruskin and B. J. Berne, J. Chem. Phys. 76, 5150 (1982).
"""

from __future__ import annotations

import numpy as np
from ase import units

from atomlens.errors import InputError

HBAR: float = units._hbar * units.J * units.s  # eV times ASE's unit of time
_CM = units.invcm  # eV per cm⁻¹
_MOST_BEADS = 4096


def kinetic_virial(positions: np.ndarray, forces: np.ndarray, temperature: float) -> float:
    """Centroid-virial estimator of the kinetic energy; its scatter does not grow with the number of beads.

    3N k_B T / 2 - Σ_j (q_j - q̄) · f_j / (2 P). Translation of the whole counts with 3 k_B T / 2, whether or not the
    centre of mass is kept at rest: positions relative to it are the same.

    Args:
        positions: (beads, atoms, 3) Å.
        forces: (beads, atoms, 3) eV/Å.
        temperature: K.

    Returns:
        eV.
    """
    beads, atoms = positions.shape[:2]
    spread = positions - positions.mean(axis=0)
    return float(1.5 * atoms * units.kB * temperature - 0.5 * (spread * forces).sum() / beads)


def kinetic_primitive(positions: np.ndarray, masses: np.ndarray, temperature: float) -> float:
    """Thermodynamic (primitive) estimator of the kinetic energy, of the same mean as `kinetic_virial`.

    3N P k_B T / 2 - Σ_j m ω_P² (q_j - q_{j+1})² / (2 P) with ω_P = P k_B T / ħ.

    Args:
        positions: (beads, atoms, 3) Å.
        masses: (atoms,) amu.
        temperature: K.

    Returns:
        eV.
    """
    beads, atoms = positions.shape[:2]
    frequency = beads * units.kB * temperature / HBAR
    links = np.square(positions - np.roll(positions, -1, axis=0)).sum(axis=(0, 2))
    return float(1.5 * atoms * beads * units.kB * temperature - 0.5 * frequency**2 * (masses @ links) / beads)


def gyration_radius(positions: np.ndarray) -> float:
    """Root mean square distance of beads (beads, atoms, 3) from the centroids of their atoms: how far nuclei spread."""
    return float(np.sqrt(np.square(positions - positions.mean(axis=0)).sum(axis=2).mean()))


def temperature(momenta: np.ndarray, masses: np.ndarray, *, fixed: int) -> float:
    """Temperature of the ring polymer by its momenta, in K.

    Args:
        momenta: (beads, atoms, 3) in ASE's units.
        masses: (atoms,) amu.
        fixed: degrees of freedom that are held, of all beads together (3 for the centre of mass).
    """
    beads, atoms = momenta.shape[:2]
    twice = float((np.square(momenta) / masses[:, None]).sum())
    return twice / max(1, 3 * beads * atoms - fixed) / (units.kB * beads)


def pressure(kinetic: float, stresses: np.ndarray, volume: float) -> float:
    """Pressure in eV/Å³ by the virial theorem, from the centroid-virial kinetic energy and the beads' stresses."""
    return 2.0 * kinetic / (3.0 * volume) - float(np.trace(stresses, axis1=1, axis2=2).mean()) / 3.0


def harmonic_energy(frequency: float, temperature: float, beads: int | None = None) -> float:
    """Mean energy of a harmonic vibration, exact (ħω/2 coth(ħω/2k_BT)) or as a path of so many beads has it.

    With P beads k_B T Σ_k ω² / (ω² + ω_k²), with ω_k = 2 P k_B T / ħ sin(kπ/P): half of it potential, half kinetic.

    Args:
        frequency: cm⁻¹.
        temperature: K.
        beads: None for the exact energy.

    Returns:
        eV.
    """
    quantum, thermal = frequency * _CM, units.kB * temperature
    if beads is None:
        return float(0.5 * quantum / np.tanh(0.5 * quantum / thermal))
    springs = 2.0 * beads * thermal * np.sin(np.arange(beads) * np.pi / beads)
    return float(thermal * (quantum**2 / (quantum**2 + springs**2)).sum())


def missing_energy(frequency: float, temperature: float, beads: int) -> float:
    """The share of its exact energy that a harmonic vibration (cm⁻¹) lacks at this number of beads."""
    return 1.0 - harmonic_energy(frequency, temperature, beads) / harmonic_energy(frequency, temperature)


def beads_needed(frequency: float, temperature: float, lacking: float = 0.02) -> int:
    """The fewest beads at which the fastest vibration lacks no more than a share of its energy.

    Args:
        frequency: of the fastest vibration, cm⁻¹.
        temperature: K.
        lacking: the share.

    Raises:
        InputError: more than 4096 would be needed.
    """
    if missing_energy(frequency, temperature, 1) <= lacking:
        return 1
    if missing_energy(frequency, temperature, _MOST_BEADS) > lacking:
        raise InputError(f"{frequency:g} cm⁻¹ at {temperature:g} K would need more than {_MOST_BEADS} beads")
    low, high = 1, _MOST_BEADS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if missing_energy(frequency, temperature, middle) <= lacking else (middle, high)
    return high
