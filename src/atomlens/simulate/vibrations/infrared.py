"""Infrared intensities: how the dipole moment follows each normal mode."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import units
from ase.data import atomic_masses

from atomlens.errors import InputError
from atomlens.model import Model, Structure
from atomlens.simulate.vibrations.hessian import in_float64
from atomlens.simulate.vibrations.normal_modes import NormalModes

# N_A / (12 ε₀ c²) in SI units: m/mol for each C²/kg. One (e·Å)²/(Å² amu) is one e²/amu.
KM_PER_MOL = units._Nav * units._e**2 / (12.0 * units._eps0 * units._c**2 * units._amu) * 1e-3


@dataclass(frozen=True)
class Infrared:
    """Absorption by the fundamental of each mode, in the double-harmonic approximation."""

    intensities: np.ndarray  # (modes,) km/mol, integrated over the natural logarithm
    dipole: np.ndarray  # (3,) e·Å, about the centre of mass
    polar_tensors: np.ndarray  # (atoms, 3, 3) e, ∂μ_b/∂r_ia about a fixed origin
    sum_rule: float  # e, the largest |Σ_i ∂μ_b/∂r_ia - Q δ_ab|, which is zero: what moves as a whole moves its charge


def infrared(model: Model, structure: Structure, modes: NormalModes) -> Infrared:
    """A = N_A / (12 ε₀ c²) |∂μ/∂Q|², with derivatives of the dipole by automatic differentiation in float64.

    Args:
        model: with a dipole readout; need not be the one that the modes are of.
        structure: where the modes were taken; open.
        modes: from `normal_modes`.

    Raises:
        InputError: the model has no dipole readout, or refuses the structure, such as a periodic one.
    """
    if "dipole" not in model.predicted:
        raise InputError(
            f"the model predicts no dipoles, but {', '.join(model.predicted)}, and infrared intensities are "
            "derivatives of the dipole; name a second model that has a dipole readout"
        )
    dipole, slopes, charge = _dipole_slopes(in_float64(model), structure)
    if slopes.shape != (*modes.displacements.shape[1:], 3):
        raise InputError(
            f"the modes are of {modes.displacements.shape[1]} atoms, the structure has {len(slopes)}; give its own"
        )
    along = np.einsum("kia,iab->kb", modes.displacements, slopes) / np.sqrt(modes.reduced_masses)[:, None]
    return Infrared(
        intensities=KM_PER_MOL * (along**2).sum(axis=1),
        dipole=dipole,
        polar_tensors=slopes,
        sum_rule=float(np.abs(slopes.sum(axis=0) - charge * np.eye(3)).max()),
    )


def _dipole_slopes(model: Model, structure: Structure) -> tuple[np.ndarray, np.ndarray, float]:
    """The dipole (3,), its derivatives (atoms, 3, 3) about a fixed origin, and the charge."""
    batch = model.collate([structure])
    with torch.enable_grad():
        positions = batch.positions.clone().requires_grad_()
        dipole = model(replace(batch, positions=positions))["dipole"][0]
        rows = [torch.autograd.grad(part, positions, retain_graph=True)[0] for part in dipole]
    slopes = torch.stack(rows, dim=-1).cpu().numpy()
    # The readout's origin, the centre of (standard) mass, moves with the atoms and takes the charge of an ion along.
    masses = atomic_masses[batch.numbers.cpu().numpy()]
    charge = float(batch.charge[0])
    slopes += charge * (masses / masses.sum())[:, None, None] * np.eye(3)
    return dipole.detach().cpu().numpy(), slopes, charge
