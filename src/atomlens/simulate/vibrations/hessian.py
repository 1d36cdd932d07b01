"""Second derivatives of the energy by automatic differentiation, and how exact they are."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from atomlens.data.batch import Batch, Pairs
from atomlens.errors import InputError
from atomlens.model import CHUNK_BYTES, Model, Structure
from atomlens.ops.threads import threads_for
from atomlens.progress import track

MOST_ATOMS = 4000  # beyond, a Hessian and its eigenvectors take more than 5 GB
STEP = 1e-4  # Å; central differences of float64 forces are then off by 1e-6 of their size, rounding by 1e-9

_ROWS = 8  # at once on a CPU; more than 8 rows or 4 MiB leave its cache, and each row takes longer again
_CACHE_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Curvature:
    """The energy to second order about a structure, as a model has it."""

    hessian: np.ndarray  # (3 atoms, 3 atoms) eV/Å², ∂²E/∂r_ia ∂r_jb, exactly symmetric
    forces: np.ndarray  # (atoms, 3) eV/Å
    asymmetry: float  # eV/Å², the largest |H - Hᵀ| before H was symmetrised
    sum_rule: float  # eV/Å², the largest |Σ_j H_ia,jb|, which is zero as moving all atoms changes no force

    @property
    def max_force(self) -> float:
        """Length of the largest force on an atom, in eV/Å."""
        return float(np.linalg.norm(self.forces, axis=1).max())


def hessian(model: Model, structure: Structure, *, title: str = "") -> np.ndarray:
    """∂²E/∂r_ia ∂r_jb, exact to rounding, from the model evaluated in float64 and symmetrised.

    Of a crystal, images move with their atoms: these are the vibrations at the Γ point of the cell given.

    Args:
        model: with an energy readout, of any precision.
        structure: which structure; it need not be relaxed.
        title: of the progress bar.

    Returns:
        (3 atoms, 3 atoms) eV/Å², in the order x, y, z of the first atom, of the second, ...

    Raises:
        InputError: the model has no energies, refuses the structure (see `Model.collate`), or it has too many atoms.
    """
    return curvature(model, structure, title=title).hessian


def curvature(model: Model, structure: Structure, *, title: str = "") -> Curvature:
    """The Hessian with the forces, and the two identities by which its rounding shows; arguments as of `hessian`.

    A model of float32 is evaluated in float64, as a copy: rounding of single precision would move low frequencies by
    up to a wavenumber (0.6 of 109 cm⁻¹ in C20), for 1.7 times the speed.
    """
    model.energy_readout  # noqa: B018  refuses models without energies
    twin = in_float64(model)
    batch = twin.collate([structure])
    atoms = batch.numbers.shape[0]
    if atoms > MOST_ATOMS:
        raise InputError(
            f"has {atoms} atoms, and its Hessian would take {72e-9 * atoms**2:.0f} GB (at most {MOST_ATOMS} atoms are "
            "done); take the vibrations from velocities of a run instead, or use a smaller cell",
            structure=0,
        )
    rows, forces = _rows(twin, batch, title)
    sums = rows.reshape(3 * atoms, atoms, 3).sum(axis=1)
    return Curvature(
        hessian=0.5 * (rows + rows.T),
        forces=forces,
        asymmetry=float(np.abs(rows - rows.T).max()),
        sum_rule=float(np.abs(sums).max()),
    )


def in_float64(model: Model) -> Model:
    """A copy of a model in double precision, of which no derivatives by parameters are taken."""
    return copy.deepcopy(model).set_precision(torch.float64).requires_grad_(False)


def against_differences(
    model: Model, structure: Structure, found: np.ndarray, *, directions: int = 3, seed: int = 0
) -> float:
    """How far H v is from central differences of forces, relative to |H v|: the worst of random directions v.

    Args:
        model: what the Hessian was taken of; evaluated in float64.
        structure: where it was taken.
        found: the Hessian, (3 atoms, 3 atoms) in eV/Å².
        directions: how many.
        seed: of the directions.
    """
    twin = in_float64(model)
    batch = twin.collate([structure])
    generator, worst = np.random.default_rng(seed), 0.0
    for _ in range(directions):
        direction = generator.standard_normal(len(found))
        direction /= np.linalg.norm(direction)
        forces = [_forces_at(twin, batch, sign * STEP * direction) for sign in (1.0, -1.0)]
        expected, product = (forces[1] - forces[0]) / (2.0 * STEP), found @ direction
        size = max(float(np.linalg.norm(product)), float(np.linalg.norm(expected)))
        worst = max(worst, float(np.linalg.norm(product - expected)) / size if size else 0.0)
    return worst


def _forces_at(model: Model, batch: Batch, step: np.ndarray) -> np.ndarray:
    """Forces (3 atoms,) beside a structure; steps are so short that its pairs stay what they are."""
    positions = batch.positions + torch.from_numpy(step).view(-1, 3).to(batch.positions)
    return model.predict(batch.moved(positions, batch.cell), stress=False)["forces"].cpu().numpy().ravel()


def _rows(model: Model, batch: Batch, title: str) -> tuple[np.ndarray, np.ndarray]:
    """The Hessian as differentiation gives it, and the forces.

    Copies of the structure are laid end to end, and their forces computed once. Each is then differentiated by its own
    positions, for one row of the Hessian, and the next pass through the same graph gives the next rows.
    """
    atoms = batch.numbers.shape[0]
    count = _copies_worthwhile(model, batch)
    result = np.zeros((3 * atoms, 3 * atoms))
    with torch.enable_grad(), threads_for(count * atoms * model.representation.n_features**2):
        several = repeated(batch, count)
        positions = several.positions.clone().requires_grad_()
        forces = model(replace(several, positions=positions), forces=True, differentiable=True)["forces"]
        with track(title, 3 * atoms, "rows of the Hessian") as bar:
            for start in range(0, 3 * atoms if forces.requires_grad else 0, count):
                kept = min(count, 3 * atoms - start)
                result[start : start + kept] = _products(forces, positions, start, kept, count)[:kept]
                bar.advance(kept)
    return result, forces[:atoms].detach().to(torch.float64).cpu().numpy()


def _products(forces: Tensor, positions: Tensor, start: int, kept: int, count: int) -> np.ndarray:
    """Rows ``start``, ``start`` + 1, ... of the Hessian, one from each of ``count`` copies."""
    chosen = torch.zeros(count, forces.numel() // count, dtype=forces.dtype, device=forces.device)
    rows = torch.arange(kept, device=forces.device)
    chosen[rows, start + rows] = -1.0
    (found,) = torch.autograd.grad(forces, positions, chosen.view_as(forces), retain_graph=True, materialize_grads=True)
    return found.view(count, -1).cpu().numpy()


def _copies_worthwhile(model: Model, batch: Batch) -> int:
    """How many rows are computed at once, in passes of equal size."""
    rows, each = 3 * batch.numbers.shape[0], model.bytes_needed(batch.numbers.shape[0], len(batch.pairs.centre))
    on_cpu = batch.numbers.device.type == "cpu"
    fitting = max(1, (_CACHE_BYTES if on_cpu else CHUNK_BYTES) // max(each, 1))
    most = min(rows, fitting, _ROWS if on_cpu else rows)
    return math.ceil(rows / math.ceil(rows / most))


def repeated(batch: Batch, count: int) -> Batch:
    """A batch of one structure, several times."""
    atoms, pairs = batch.numbers.shape[0], batch.pairs
    device = batch.numbers.device
    first = (atoms * torch.arange(count, device=device)).repeat_interleave(len(pairs.centre))
    return Batch(
        numbers=batch.numbers.repeat(count),
        positions=batch.positions.repeat(count, 1),
        system=torch.arange(count, device=device).repeat_interleave(atoms),
        cell=batch.cell.repeat(count, 1, 1),
        pbc=batch.pbc.repeat(count, 1),
        charge=batch.charge.repeat(count),
        pairs=Pairs(
            centre=pairs.centre.repeat(count) + first,
            neighbour=pairs.neighbour.repeat(count) + first,
            shift=None if pairs.shift is None else pairs.shift.repeat(count, 1),
        ),
    )
