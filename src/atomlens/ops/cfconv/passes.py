"""The passes through all interaction blocks, forward and back, outside of autograd.

    h = x W_inᵀ,  c = conv(h),  m = c W_midᵀ + b_mid,  a = ssp(m),  s = σ(m),  x' = x + a W_outᵀ + b_out

in every block (thesis fig. 4.2, middle). `Passes` is made of torch's matrix products and the backend's primitives; a
backend that does better gives its own (`Kernels.passes`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as functional
from torch import Tensor

if TYPE_CHECKING:
    from atomlens.ops.cfconv.table import Lookup


@dataclass(frozen=True)
class Layers:
    """The dense layers of all T blocks, weights output first: F features, N filters."""

    w_in: Tensor  # (T, N, F)
    w_mid: Tensor  # (T, F, N)
    b_mid: Tensor  # (T, F)
    w_out: Tensor  # (T, F, F)
    b_out: Tensor  # (T, F)

    def __iter__(self) -> Iterator[Tensor]:
        """The five, in order."""
        return iter((self.w_in, self.w_mid, self.b_mid, self.w_out, self.b_out))

    @cached_property
    def inputs_first(self) -> tuple[Tensor, Tensor, Tensor]:
        """The three weights, transposed."""
        w_in, w_mid, w_out = (w.transpose(1, 2).contiguous() for w in (self.w_in, self.w_mid, self.w_out))
        return w_in, w_mid, w_out


@dataclass(frozen=True)
class Forward:
    """What the pass forward makes; x, c and a are None where only `out` and what the pass back needs was asked for."""

    out: Tensor  # (atoms, F) x after the last block
    h: Tensor  # (T, atoms, N)
    s: Tensor  # (T, atoms, F) σ(m)
    x: Tensor | None  # (T, atoms, F) before each block
    c: Tensor | None  # (T, atoms, N)
    a: Tensor | None  # (T, atoms, F)


@dataclass(frozen=True)
class Kept:
    """What the pass back's own derivative needs of it, g = ∂E/∂x."""

    g: Tensor  # (T, atoms, F) above each block
    by_a: Tensor  # (T, atoms, F)
    by_m: Tensor  # (T, atoms, F)
    below: Tensor  # (T, atoms, N) ∂E/∂c
    back: Tensor  # (T, atoms, N) ∂E/∂h; without ∂E/∂x below the first block not made for it


@dataclass(frozen=True)
class Back:
    """What the pass back makes, each where it was asked for."""

    by_x: Tensor | None  # (atoms, F) ∂E/∂x below the first block
    by_distance: Tensor | None  # (pairs,) float64
    below: Tensor  # (T, atoms, N) ∂E/∂c
    layers: Layers | None  # ∂E by weights
    kept: Kept | None


@dataclass(frozen=True)
class Again:
    """What the derivative of the pass back makes."""

    of_g: Tensor  # (atoms, F), by g above the last block
    of_back: Tensor  # (T, atoms, N), by ∂E/∂h
    of_h: Tensor | None  # (T, atoms, N); None without a scale
    of_s: Tensor  # (T, atoms, F)
    layers: Layers  # by weights; biases have no part


class Passes:
    """The passes for one batch.

    Args:
        tables: (T, rows, N) spline coefficients of the blocks' filters, or (1, rows, N) for all blocks.
        layers: the dense layers.
        lookup: where the batch's distances lie in the tables.
    """

    def __init__(self, tables: Tensor, layers: Layers, lookup: Lookup) -> None:
        self.tables, self.layers, self.lookup = tables, layers, lookup
        self.blocks = layers.w_in.shape[0]

    def table(self, block: int) -> Tensor:
        """The table of a block, (rows, N)."""
        return self.tables[block if self.tables.shape[0] > 1 else 0]

    def forward(self, x: Tensor, *, keep: bool) -> Forward:
        """From x (atoms, F) below the first block; ``keep`` all that gradients by weights need."""
        layers, kept = self.layers, []
        for t in range(self.blocks):
            h = x @ layers.w_in[t].T
            c = self.lookup.convolve(h, self.table(t), 0)
            m = torch.addmm(layers.b_mid[t], c, layers.w_mid[t].T)
            a = functional.softplus(m, threshold=30.0).sub_(math.log(2.0))
            s = m.sigmoid_()
            kept.append((h, s, x, c, a) if keep else (h, s))
            x = torch.addmm(x, a, layers.w_out[t].T).add_(layers.b_out[t])
        h, s, *others = (torch.stack(parts) for parts in zip(*kept, strict=True))
        return Forward(x, h, s, *others) if keep else Forward(x, h, s, None, None, None)

    def slopes(self, forward: Forward, g: Tensor) -> Tensor:
        """∂E/∂d (pairs,), float64, from g = ∂E/∂x (atoms, F) above the last block; nothing else is kept."""
        by_distance = torch.zeros(self.lookup.distances.shape[0], dtype=torch.float64, device=g.device)
        for t in range(self.blocks - 1, -1, -1):
            below = (g @ self.layers.w_out[t]).mul_(forward.s[t]) @ self.layers.w_mid[t]
            by_distance += self.lookup.dot(below, forward.h[t], self.table(t), 1)
            if t:
                g = torch.addmm(g, self.lookup.transposed.convolve(below, self.table(t), 0), self.layers.w_in[t])
        return by_distance

    def back(
        self,
        g: Tensor,
        forward: Forward,
        *,
        by_h: Tensor | None = None,
        by_s: Tensor | None = None,
        distances: bool = False,
        to_x: bool = True,
        weights: bool = False,
    ) -> Back:
        """The pass back.

        Args:
            g: (atoms, F) above the last block.
            forward: the pass forward.
            by_h: (T, atoms, N) what comes to h from elsewhere.
            by_s: (T, atoms, F) what comes to s from elsewhere.
            distances: ask for ∂E/∂d.
            to_x: ask for ∂E/∂x below the first block.
            weights: ask for gradients by weights, and keep nothing; else keep what `again` needs.
        """
        layers, parts, lookup, h, s = self.layers, [], self.lookup, forward.h, forward.s
        by_distance = torch.zeros(lookup.distances.shape[0], dtype=torch.float64, device=g.device)
        for t in range(self.blocks - 1, -1, -1):
            by_a = g @ layers.w_out[t]
            by_m = by_a * s[t]
            if by_s is not None:
                by_m += by_s[t] * s[t] * (1.0 - s[t])
            below = by_m @ layers.w_mid[t]
            if distances:
                by_distance += lookup.dot(below, h[t], self.table(t), 1)
            returned = torch.zeros_like(below)
            if to_x or t or weights:
                returned = lookup.transposed.convolve(below, self.table(t), 0)
            if by_h is not None:
                returned += by_h[t]
            parts.append((g, by_a, by_m, below, returned))
            g = torch.addmm(g, returned, layers.w_in[t])
        kept = Kept(*(torch.stack(found[::-1]) for found in zip(*parts, strict=True)))
        gradients = None
        if weights:
            assert forward.x is not None
            assert forward.c is not None
            assert forward.a is not None
            gradients = Layers(
                _products(kept.back, forward.x),
                _products(kept.by_m, forward.c),
                kept.by_m.sum(dim=1),
                _products(kept.g, forward.a),
                kept.g.sum(dim=1),
            )
        return Back(
            g if to_x else None,
            by_distance if distances else None,
            kept.below,
            gradients,
            None if weights else kept,
        )

    def again(self, kept: Kept, h: Tensor, s: Tensor, of_x: Tensor | None, scale: Tensor | None) -> Again:
        """The derivative of the pass back.

        Args:
            kept: of `back`, without by_h and by_s.
            h: of `forward`.
            s: of `forward`.
            of_x: (atoms, F) what comes to ∂E/∂x below the first block.
            scale: (pairs,) what comes to ∂E/∂d.
        """
        layers, parts, lookup = self.layers, [], self.lookup
        skipped = 1 if of_x is None else 0  # ∂E/∂h of the first block may not have been made, and nothing comes to it
        of_x = torch.zeros_like(kept.g[0]) if of_x is None else of_x
        for t in range(self.blocks):
            of_back = of_x @ layers.w_in[t].T
            of_below = lookup.convolve_both(of_back, h[t], self.table(t), scale)
            of_by_m = of_below @ layers.w_mid[t].T
            of_by_a = of_by_m * s[t]
            parts.append((of_x, of_back, of_below, of_by_a, of_by_m * kept.by_a[t]))
            of_x = torch.addmm(of_x, of_by_a, layers.w_out[t].T)
        of_xs, of_back, of_below, of_by_a, of_s = (torch.stack(found) for found in zip(*parts, strict=True))
        of_h = None
        if scale is not None:
            rows = range(self.blocks)
            of_h = torch.stack([lookup.transposed.convolve(kept.below[t], self.table(t), 1, scale) for t in rows])
        by_in = _products(kept.back[skipped:], of_xs[skipped:])
        gradients = Layers(
            torch.cat([torch.zeros_like(layers.w_in[:skipped]), by_in]),
            _products(kept.by_m, of_below),
            torch.zeros_like(layers.b_mid),
            _products(kept.g, of_by_a),
            torch.zeros_like(layers.b_out),
        )
        return Again(of_x, of_back, of_h, of_s, gradients)

    def table_gradients(self, g: Tensor, x: Tensor) -> Tensor:
        """What tables gain from the convolutions of x (T, atoms, N) that g (T, atoms, N) comes to, as the tables."""
        return self._for_tables([self.lookup.table_gradient(g[t], x[t], 0) for t in range(self.blocks)])

    def table_gradients_both(self, g: Tensor, x: Tensor, y: Tensor, scale: Tensor | None) -> Tensor:
        """The same for values by x and slopes, scaled per pair, by y."""
        found = [self.lookup.table_gradient_both(g[t], x[t], y[t], scale) for t in range(self.blocks)]
        return self._for_tables(found)

    def _for_tables(self, gradients: list[Tensor]) -> Tensor:
        stacked = torch.stack(gradients)
        return stacked if self.tables.shape[0] == self.blocks else stacked.sum(dim=0, keepdim=True)

    def curvature(self, below: Tensor, of_back: Tensor, h: Tensor, scale: Tensor | None) -> Tensor:
        """What the slopes' own gradients say of the distances (Hessians), (pairs,)."""
        total = torch.zeros(self.lookup.distances.shape[0], dtype=torch.float64, device=below.device)
        for t in range(self.blocks):
            total += self.lookup.dot(below[t], of_back[t], self.table(t), 1)
            if scale is not None:
                total += scale * self.lookup.dot(below[t], h[t], self.table(t), 2)
        return total


def _products(left: Tensor, right: Tensor) -> Tensor:
    """leftᵀ right of every block, (T, outputs, inputs)."""
    return left.transpose(1, 2) @ right
