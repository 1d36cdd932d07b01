"""Symmetry functions as their definition reads; every faster kernel is judged against it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from atomlens.ops.radial import CUTOFF_FUNCTIONS
from atomlens.ops.segment import segment_sum
from atomlens.ops.symmetry_functions.functions import FunctionSet, Gaussian
from atomlens.ops.symmetry_functions.kernels import SymmetryKernels
from atomlens.ops.symmetry_functions.neighbourhoods import Neighbourhoods

_NUMBERS_AT_ONCE = 1 << 22  # triples × angular functions that a chunk of the reference kernels holds


def symmetry_functions_by_definition(vectors: Tensor, near: Neighbourhoods, functions: FunctionSet) -> Tensor:
    """G_i of every atom (SPEC section 1; insights paper 2.1), through arrays of triples × functions.

    Radial, per channel e: Σ_j w_je exp(-η (d_ij - μ)²) fc(d_ij).
    Angular, per unordered pair of channels: 2^{1-ζ} Σ_{j<k} w_j w_k (1 + λ cos θ_jik)^ζ S(d_ij) S(d_ik) S(d_jk) with
    S(d) = exp(-η (d - μ)²) fc(d).

    Args:
        vectors: (pairs, 3) r_j - r_i in Å.
        near: the neighbours within the cutoff.
        functions: parameters.

    Returns:
        (atoms, F), differentiable in ``vectors`` and ``near.weight`` as often as wanted.
    """
    radial = radial_part(vectors, near, functions)
    return torch.cat([radial, angular_part(vectors, near, functions, 0, near.pair.shape[0])], dim=1)


def radial_part(vectors: Tensor, near: Neighbourhoods, functions: FunctionSet) -> Tensor:
    """The radial features alone, (atoms, channels * radial)."""
    distances = torch.linalg.vector_norm(vectors[near.pair], dim=1)
    terms = near.weight.to(vectors)[:, None] * faded_gaussians(distances, functions.radial, functions)
    cell = near.centre * near.n_channels + near.channel
    return segment_sum(terms, cell, near.n_atoms * near.n_channels).reshape(near.n_atoms, functions.n_radial)


def angular_part(vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, first: int, last: int) -> Tensor:
    """What triples whose first neighbour is among entries ``first`` … ``last`` - 1 add to the angular features."""
    j, k = near.triples(first, last)
    one, other = vectors[near.pair[j]], vectors[near.pair[k]]
    d_ij, d_ik, d_jk = (torch.linalg.vector_norm(way, dim=1) for way in (one, other, one - other))
    cosine = (one * other).sum(dim=1) / (d_ij * d_ik)
    zeta, lambda_ = torch.tensor(functions.angles, dtype=vectors.dtype, device=vectors.device).reshape(-1, 2).T
    angles = torch.exp2(1.0 - zeta) * torch.pow(1.0 + lambda_ * cosine[:, None], zeta)
    weight = (near.weight[j] * near.weight[k]).to(vectors)
    distant = weight[:, None]
    for distances in (d_ij, d_ik, d_jk):
        distant = distant * faded_gaussians(distances, functions.gaussians, functions)
    terms = distant[:, :, None] * angles[:, None, :]
    pairs = torch.from_numpy(functions.pair_of_channels).to(j.device)[near.channel[j], near.channel[k]]
    cell = near.centre[j] * functions.n_pairs_of_channels + pairs
    return segment_sum(terms.flatten(1), cell, near.n_atoms * functions.n_pairs_of_channels).reshape(
        near.n_atoms, functions.n_angular
    )


def faded_gaussians(distances: Tensor, gaussians: tuple[Gaussian, ...], functions: FunctionSet) -> Tensor:
    """exp(-η (d - μ)²) fc(d), (distances, gaussians)."""
    eta, mu = torch.tensor(gaussians, dtype=distances.dtype, device=distances.device).reshape(-1, 2).T
    fade = CUTOFF_FUNCTIONS[functions.fade](distances, functions.cutoff)
    return torch.exp(-eta * (distances[:, None] - mu).square()) * fade[:, None]


def parts(near: Neighbourhoods, functions: FunctionSet) -> Iterator[Callable[[Tensor], Tensor]]:
    """Functions of the vectors whose sum is G, each with few enough triples to be worked on at once."""

    def radial(vectors: Tensor) -> Tensor:
        angular = vectors.new_zeros(near.n_atoms, functions.n_angular)
        return torch.cat([radial_part(vectors, near, functions), angular], dim=1)

    def angular(vectors: Tensor, first: int, last: int) -> Tensor:
        radial = vectors.new_zeros(near.n_atoms, functions.n_radial)
        return torch.cat([radial, angular_part(vectors, near, functions, first, last)], dim=1)

    yield radial
    for first, last in _chunks(near, functions):
        yield partial(angular, first=first, last=last)


def _chunks(near: Neighbourhoods, functions: FunctionSet) -> Iterator[tuple[int, int]]:
    entries = near.pair.shape[0]
    if not entries or not functions.n_angular:
        return
    size = len(functions.gaussians) * len(functions.angles)
    later = near.ends - torch.arange(entries, device=near.pair.device) - 1
    place = torch.div(later.cumsum(0) * size, _NUMBERS_AT_ONCE, rounding_mode="floor")
    yield from pairwise([0, *(place.diff().nonzero()[:, 0] + 1).tolist(), entries])


class ReferenceSymmetryKernels(SymmetryKernels):
    """The primitives by autograd through the definition, in chunks of bounded memory; on any device."""

    name = "reference"

    def features(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet) -> Tensor:
        """See `SymmetryKernels.features`."""
        found = vectors.new_zeros(near.n_atoms, functions.n_features)
        for part in parts(near, functions):
            found += part(vectors)
        return found

    def slopes(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, g: Tensor) -> Tensor:
        """See `SymmetryKernels.slopes`."""
        found = torch.zeros_like(vectors)
        for _, _, slopes in _pieces(vectors, near, functions, g, again=False):
            found += slopes
        return found

    def tangent(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, u: Tensor) -> Tensor:
        """See `SymmetryKernels.tangent`."""
        found = vectors.new_zeros(near.n_atoms, functions.n_features)
        for _, g, slopes in _pieces(vectors, near, functions, torch.zeros_like(found)):
            with torch.enable_grad():  # slopes are linear in g, so their derivative by it is the same for every g
                along = (slopes * u).sum()
            found += torch.autograd.grad(along, g, materialize_grads=True)[0]
        return found

    def curvature(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, g: Tensor, u: Tensor) -> Tensor:
        """See `SymmetryKernels.curvature`."""
        found = torch.zeros_like(vectors)
        for leaf, _, slopes in _pieces(vectors, near, functions, g):
            with torch.enable_grad():
                along = (slopes * u).sum()
            found += torch.autograd.grad(along, leaf, materialize_grads=True)[0]
        return found


def _pieces(
    vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, g: Tensor, *, again: bool = True
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Leaves for the vectors and for g, and slopes of each part, to be differentiated ``again``."""
    for part in parts(near, functions):
        with torch.enable_grad():
            leaf, g_leaf = vectors.detach().requires_grad_(), g.detach().requires_grad_()
            (slopes,) = torch.autograd.grad(
                (part(leaf) * g_leaf).sum(), leaf, create_graph=again, materialize_grads=True
            )
            if again:
                slopes = slopes + 0.0 * (leaf.sum() + g_leaf.sum())  # parts without pairs have no graph
        yield leaf, g_leaf, slopes
