"""Checks of automatic differentiation: first and second derivatives of every property by positions and strain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace

import ase
import numpy as np
import torch
from torch import Tensor

from atomlens.data.quantities import quantity
from atomlens.model import Model
from atomlens.testing.result import Measurement
from atomlens.testing.subject import Subject, blended

STEP = 1e-4  # Å, of five-point differences; they err by the fourth power of it, (1e-4 Å / 0.2 Å)⁴
ERROR_LIMIT = 1e-6
TORCH_STEP = 1e-6  # Å, the default of torch's own test
DIRECTIONS = 4
INVERSE_WIDTH = 5.0  # Å⁻¹, of radial bases; makes forces of energies

Function = Callable[[Tensor, Tensor], Tensor]  # of positions and strain


def gradcheck(subject: Subject) -> list[Measurement]:
    """Autograd's first derivatives equal numerical ones, under torch's own test as well."""
    return _checked(subject, torch.autograd.gradcheck, 1)


def gradgradcheck(subject: Subject) -> list[Measurement]:
    """Autograd's second derivatives equal differences of its first, under torch's own test as well.

    Exact functions take the place of tables, whose third derivatives jump from knot to knot: differences see that.
    """
    return _checked(subject, torch.autograd.gradgradcheck, 2)


def _checked(subject: Subject, test: Callable[..., bool], order: int) -> list[Measurement]:
    smallest = [min(kind, key=len) for kind in (subject.molecules, subject.crystals) if kind]
    model = deepcopy(subject.bare).set_exact_filters() if order == 2 else subject.bare
    return [
        found
        for name in subject.readouts
        for atoms in smallest
        for found in _errors(model, name, atoms, subject.sizes[name], test, order)
    ]


def _errors(
    model: Model, name: str, atoms: ase.Atoms, term: float, test: Callable[..., bool], order: int
) -> Iterator[Measurement]:
    batch = model.collate([atoms])
    inputs = (batch.positions.clone().requires_grad_(), torch.zeros_like(batch.cell).requires_grad_())

    def property_(positions: Tensor, strain: Tensor) -> Tensor:
        return blended(model(replace(batch, positions=positions).strained(strain)), name).sum()

    error, size = _against_differences(_slopes(property_) if order == 2 else property_, inputs)
    noise = 100.0 * torch.finfo(torch.float64).eps * term * INVERSE_WIDTH ** (order - 1)
    unit = f"{quantity(name).unit}/Ang" if order == 1 else f"{quantity(name).unit}/Ang^2"
    found = Measurement(f"{name} of {atoms.symbols}", error, ERROR_LIMIT * size + noise / STEP, unit)
    yield found
    if found.kept:
        # Raises where it fails. The fast mode projects on random directions, so that larger structures take no minutes.
        # On a GPU sums are not repeatable to the last bit, which torch's test otherwise takes for an error.
        loose = 0.0 if batch.positions.device.type == "cpu" else noise / TORCH_STEP
        atol = 1e-5 * size + noise / TORCH_STEP
        test(property_, inputs, eps=TORCH_STEP, atol=atol, rtol=1e-3, nondet_tol=loose, fast_mode=True)


def _slopes(function: Function) -> Function:
    """The gradient by all inputs, laid end to end."""

    def slopes(positions: Tensor, strain: Tensor) -> Tensor:
        found = torch.autograd.grad(
            function(positions, strain), (positions, strain), create_graph=True, materialize_grads=True
        )
        return torch.cat([part.reshape(-1) for part in found])

    return slopes


def _against_differences(function: Function, inputs: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Largest deviation of autograd from five-point differences along random directions, and the largest derivative.

    The function is a property, or the gradient of one: then its derivative along u is the gradient of its product
    with u, for second derivatives are symmetric.
    """
    random = np.random.default_rng(7)
    worst = size = 0.0
    for count in range(DIRECTIONS):
        # Positions and strain in turn, for strain moves atoms much farther.
        chosen = count % 2
        along = [torch.zeros_like(value) for value in inputs]
        along[chosen] = torch.from_numpy(random.uniform(-1.0, 1.0, tuple(inputs[chosen].shape))).to(inputs[chosen])
        numerical = _difference(function, inputs, along)
        exact = _derivative(function, inputs, along)
        worst = max(worst, float((numerical - exact).abs().max()))
        size = max(size, float(numerical.abs().max()))
    return worst, size


def _difference(function: Function, inputs: tuple[Tensor, Tensor], along: list[Tensor]) -> Tensor:
    ends = [
        function(
            *(
                value.detach().add(way, alpha=k * STEP).requires_grad_()
                for value, way in zip(inputs, along, strict=True)
            )
        )
        for k in (1, -1, 2, -2)
    ]
    return ((8.0 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12.0 * STEP)).detach()


def _derivative(function: Function, inputs: tuple[Tensor, Tensor], along: list[Tensor]) -> Tensor:
    value, way = function(*inputs), torch.cat([part.reshape(-1) for part in along])
    if value.dim() == 0:
        slopes = torch.autograd.grad(value, inputs, materialize_grads=True)
        return torch.cat([part.reshape(-1) for part in slopes]) @ way
    curvatures = torch.autograd.grad(value @ way, inputs, materialize_grads=True)
    return torch.cat([part.reshape(-1) for part in curvatures])
