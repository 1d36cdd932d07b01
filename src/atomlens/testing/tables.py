"""Tabulated functions against the exact ones that they stand for."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import ase
import torch
from torch import Tensor

from atomlens.model import Model
from atomlens.testing.result import Measurement, NotApplicable, require_energy
from atomlens.testing.subject import Subject, evaluate, largest

# Shares of the largest learned value; a spline loses a power of its spacing with every derivative.
LIMITS = {"energy": 1e-6, "forces": 1e-4, "curvature": 1e-2}
UNITS = {"energy": "eV", "forces": "eV/Ang", "curvature": "eV/Ang^2"}


def tables(subject: Subject) -> list[Measurement]:
    """Energies, forces and curvatures through tables are those of the exact functions, in float64."""
    require_energy(subject)
    tabulated = deepcopy(subject.bare)
    if not tabulated.refine_tables():
        raise NotApplicable("the model has no tables")
    exact = deepcopy(tabulated).set_exact_filters()
    worst = []
    for atoms in subject.everything:
        found, wanted = _derivatives(tabulated, atoms), _derivatives(exact, atoms)
        for name, limit in LIMITS.items():
            off = largest(found[name] - wanted[name])
            size = max(largest(wanted[name]), subject.largest_term * (1.0 if name == "energy" else 0.1))
            worst.append(Measurement(f"{name} of {atoms.symbols}", off, limit * size, UNITS[name]))
    return worst


def _derivatives(model: Model, atoms: ase.Atoms) -> dict[str, Tensor]:
    """Energy, forces, and the change of forces along one direction."""
    outputs = evaluate(model, [atoms])
    batch = model.collate([atoms])
    positions = batch.positions.clone().requires_grad_()
    forces = model(replace(batch, positions=positions), forces=True, differentiable=True)["forces"]
    way = torch.linspace(-1.0, 1.0, positions.numel(), dtype=positions.dtype, device=positions.device)
    (curvature,) = torch.autograd.grad(forces.reshape(-1) @ way, positions, materialize_grads=True)
    return {"energy": outputs["energy"], "forces": outputs["forces"], "curvature": curvature}
