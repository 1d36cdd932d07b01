"""Tabulated functions against the exact ones that they stand for."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import ase
import torch
from torch import Tensor

from atomlens.data.quantities import quantity
from atomlens.model import Model
from atomlens.testing.result import Measurement, NotApplicable
from atomlens.testing.subject import Subject, blended, evaluate, largest

# Shares of the largest learned value; a spline loses a power of its spacing with every derivative.
LIMITS = {"value": 1e-6, "slope": 1e-4, "curvature": 1e-2}
UNITS = {"value": "", "slope": "/Ang", "curvature": "/Ang^2"}


def tables(subject: Subject) -> list[Measurement]:
    """Properties, slopes (forces among them) and curvatures through tables are those of the exact functions."""
    tabulated = deepcopy(subject.bare)
    if not tabulated.refine_tables():
        raise NotApplicable("the model has no tables")
    exact = deepcopy(tabulated).set_exact_filters()
    worst = []
    for atoms in subject.everything:
        for name in subject.readouts:
            found, wanted = _derivatives(tabulated, atoms, name), _derivatives(exact, atoms, name)
            for kind, limit in LIMITS.items():
                off = largest(found[kind] - wanted[kind])
                # Errors of atoms add up in a sum as their terms do, and do not cancel where these do.
                atoms_heard = len(atoms) if quantity(name).extensive else 1
                share = atoms_heard if kind == "value" else 0.1
                size = max(largest(wanted[kind]), subject.sizes[name] * share)
                unit = quantity(name).unit + UNITS[kind]
                worst.append(Measurement(f"{kind} of the {name} of {atoms.symbols}", off, limit * size, unit))
    return worst


def _derivatives(model: Model, atoms: ase.Atoms, name: str) -> dict[str, Tensor]:
    """A property, its slopes by positions (those of energies as the model gives them), and their change along a way."""
    batch = model.collate([atoms])
    positions = batch.positions.clone().requires_grad_()
    outputs = model(replace(batch, positions=positions))
    (slope,) = torch.autograd.grad(blended(outputs, name).sum(), positions, create_graph=True, materialize_grads=True)
    way = torch.linspace(-1.0, 1.0, positions.numel(), dtype=positions.dtype, device=positions.device)
    curvature = torch.zeros_like(positions)
    if slope.requires_grad:
        (curvature,) = torch.autograd.grad(slope.reshape(-1) @ way, positions, materialize_grads=True)
    given = evaluate(model, [atoms])["forces"] if name == "energy" else slope.detach()
    return {"value": outputs[name].detach(), "slope": given, "curvature": curvature}
