"""Matrices of generalised Langevin thermostats: reading, and what they do to a harmonic vibration.

PIGLET: M. Ceriotti and D. E. Manolopoulos, Phys. Rev. Lett. 109, 100604 (2012). The matrices for a temperature and a
number of beads come from gle4md.org; they are fitted numbers, and none are made here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.linalg import solve_continuous_lyapunov

from atomlens.errors import InputError

_BLOCK = r"<{name}\b([^>]*)>(.*?)</{name}>"
_TOLERANCE = 1e-6  # to which noise may be negative, by the digits that files are printed with
_SLOW = 0.05  # k_B T, of a vibration that is classical
_SLOW_ENERGY = 0.1  # by which the energy of that one may be off


@dataclass(frozen=True)
class Matrices:
    """Drift A and covariance C of each normal mode of the path, both (beads, n, n) in atomic units.

    C is that of the ring polymer's simulation, of which the temperature is `beads` times the physical one.
    """

    drift: np.ndarray
    covariance: np.ndarray


def read_matrices(path: str | Path, beads: int, temperature: float) -> Matrices:
    """The blocks <A> and <C> of a file for i-PI.

    Without <C> the noise is that of the temperature (fluctuation and dissipation balance).

    Raises:
        InputError: the file cannot be read, is made for another number of beads or another temperature, or is unstable.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error}); give a file from gle4md.org", file=str(path)) from None
    try:
        drift = _block(text, "A", "frequency")
        if drift is None:
            raise InputError("has no block <A>; choose the output for i-PI at gle4md.org")
        covariance = _block(text, "C", "temperature")
        if covariance is None:
            covariance = np.broadcast_to(beads * _kelvin() * temperature * np.eye(drift.shape[-1]), drift.shape)
        found = Matrices(drift, np.array(covariance))
        _check(found, beads, temperature)
    except InputError as error:
        raise error.at(file=str(path)) from None
    return found


def harmonic_energy(matrices: Matrices, frequency: float, temperature: float) -> tuple[float, float]:
    """Mean potential energy and centroid-virial kinetic energy of a harmonic vibration under these matrices.

    The stationary covariance S of position, momentum and the thermostat's own momenta in the k-th normal mode of the
    path, with frequency sqrt(ω² + ω_k²), solves M S + S Mᵀ = D (Lyapunov), without any sampling.

    Args:
        matrices: of all modes.
        frequency: ω, in atomic units (Ha/ħ).
        temperature: in atomic units (Ha/k_B).

    Returns:
        Both per degree of freedom, in Ha.
    """
    beads, size = matrices.drift.shape[:2]
    springs = 2.0 * beads * temperature * np.sin(np.arange(beads) * np.pi / beads)
    squares = np.empty(beads)
    for k, (drift, covariance) in enumerate(zip(matrices.drift, matrices.covariance, strict=True)):
        motion = np.zeros((size + 1, size + 1))
        motion[1:, 1:] = drift
        motion[0, 1], motion[1, 0] = -1.0, frequency**2 + springs[k] ** 2
        noise = np.zeros_like(motion)
        noise[1:, 1:] = drift @ covariance + covariance @ drift.T
        squares[k] = solve_continuous_lyapunov(motion, noise)[0, 0]
    terms = 0.5 * frequency**2 * squares / beads
    return float(terms.sum()), float(0.5 * temperature + terms[1:].sum())


def _kelvin() -> float:
    """One kelvin in atomic units, as i-PI has it."""
    from ipi.utils.units import unit_to_internal

    return float(unit_to_internal("temperature", "ase", 1.0))


def _block(text: str, name: str, family: str) -> np.ndarray | None:
    from ipi.utils.units import unit_to_internal

    blocks = re.findall(_BLOCK.format(name=name), text, flags=re.DOTALL)
    if not blocks:
        return None
    if len(blocks) > 1:
        raise InputError(f"has {len(blocks)} blocks <{name}>; keep that of the thermostat of the atoms")
    attributes, body = blocks[0]
    given = dict(re.findall(r"(\w+)\s*=\s*['\"]([^'\"]*)['\"]", attributes))
    try:
        shape = tuple(int(part) for part in re.findall(r"\d+", given["shape"]))
        values = np.array([float(part) for part in re.split(r"[\s,\[\]]+", body) if part])
        return np.asarray(values.reshape(shape) * unit_to_internal(family, given.get("units", ""), 1.0))
    except KeyError:
        raise InputError(f"says no shape of <{name}>; choose the output for i-PI at gle4md.org") from None
    except (ValueError, TypeError) as error:
        raise InputError(f"has a block <{name}> that cannot be used ({error}); download it again") from None


def _check(matrices: Matrices, beads: int, temperature: float) -> None:
    drift, covariance = matrices.drift, matrices.covariance
    if drift.ndim != 3 or drift.shape[0] != beads or drift.shape[1] != drift.shape[2]:
        raise InputError(
            f"has <A> of shape {drift.shape}; {beads} beads need ({beads}, n, n), so get the file for {beads} beads"
        )
    if covariance.shape != drift.shape:
        raise InputError(f"has <C> of shape {covariance.shape} beside <A> of {drift.shape}; download it again")
    if not (np.isfinite(drift).all() and np.isfinite(covariance).all()):
        raise InputError("holds numbers that are not finite; download it again")
    noise = drift @ covariance + np.swapaxes(drift @ covariance, 1, 2)
    lowest = np.linalg.eigvalsh(noise)
    stable = np.linalg.eigvals(drift).real.min() > -_TOLERANCE * np.abs(drift).max()
    if not stable or (lowest[:, 0] < -_TOLERANCE * lowest[:, -1]).any():
        raise InputError("holds matrices of an unstable thermostat; download it again")
    kelvin = _kelvin()
    slow = harmonic_energy(matrices, _SLOW * kelvin * temperature, kelvin * temperature)[0] / (0.5 * kelvin)
    if abs(slow / temperature - 1.0) > _SLOW_ENERGY:
        raise InputError(
            f"holds matrices that keep a slow vibration at {slow:.0f} K instead of {temperature:g} K; "
            f"get those for this temperature and {beads} beads"
        )
