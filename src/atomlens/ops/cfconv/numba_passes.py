"""The passes through all blocks by the kernels of `block_kernels`."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from atomlens.ops.cfconv.block_kernels import (
    N_SLOTS,
    compile_add_groups,
    compile_again,
    compile_back,
    compile_forward,
)
from atomlens.ops.cfconv.graph import Groups
from atomlens.ops.cfconv.mutual_kernels import group_half, halve
from atomlens.ops.cfconv.passes import Again, Back, Forward, Kept, Layers, Passes
from atomlens.ops.cfconv.row_kernels import closed_pieces
from atomlens.ops.cfconv.table import Lookup
from atomlens.ops.cfconv.table_kernels import compile_table_gradients
from atomlens.ops.compiling import uncompiled
from atomlens.ops.numba_tools import launch

WIDTHS = (32, 64, 128, 256)  # numbers of features that there are kernels for
_PIECE, _LARGEST = 64, 192  # atoms that go through all blocks together, at least and at most
_Slots = ctypes.c_int64 * N_SLOTS


class NumbaPasses(Passes):
    """In float32, for as many filters as features."""

    def __init__(self, tables: Tensor, layers: Layers, lookup: Lookup) -> None:
        contiguous = all(layer.is_contiguous() for layer in layers)
        layers = layers if contiguous else Layers(*(layer.contiguous() for layer in layers))
        super().__init__(tables.contiguous(), layers, lookup)
        self._width = tables.shape[2]
        self._zeros = tables.new_zeros(self._width)

    @staticmethod
    def suit(tables: Tensor, layers: Layers, lookup: Lookup) -> bool:
        """Whether there are kernels for such tables and layers."""
        width, atoms = tables.shape[2], lookup.graph.n_atoms
        single = tables.dtype == lookup.dtype == torch.float32
        return single and width in WIDTHS and layers.w_in.shape[1:] == (width, width) and atoms > 0

    @uncompiled
    def forward(self, x: Tensor, *, keep: bool) -> Forward:
        """See `Passes.forward`."""
        x = x.contiguous()
        self._check(x)
        out = torch.empty_like(x)
        h, s = (x.new_empty(self.blocks, *x.shape) for _ in range(2))
        before, c, a = (x.new_empty(self.blocks if keep else 1, *x.shape) for _ in range(3))
        lookup, layers, graph = self.lookup, self.layers, self.lookup.graph
        fixed = [
            *_addresses(graph.by_centre.starts, graph.by_centre.order, graph.neighbour, lookup.place),
            *_addresses(lookup.weights(0), self.tables),
            self._table_stride,
            *_addresses(*self.layers.inputs_first, layers.b_mid, layers.b_out, self._zeros),
            *_addresses(x, before, out, h, c, a, s),
            int(keep),
        ]
        self._run("forward", fixed, self.blocks + 1, 1)
        return Forward(out, h, s, before, c, a) if keep else Forward(out, h, s, None, None, None)

    @uncompiled
    def slopes(self, forward: Forward, g: Tensor) -> Tensor:
        """See `Passes.slopes`."""
        by_distance = torch.zeros(self.lookup.distances.shape[0], dtype=torch.float64)
        g, forward = g.contiguous(), _ready(forward)
        self._check(g, forward.h, forward.s)
        below = g.new_empty(min(2, self.blocks), *g.shape)
        scratch = [g.new_empty(g.shape) for _ in range(4)]
        # Without ∂E/∂x below the first block the last phase has nothing to do.
        self._run_back(g, forward, None, None, None, [*scratch, below], by_distance, (0, 0), None, self.blocks)
        return by_distance

    @uncompiled
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
        """See `Passes.back`."""
        g, forward, by_h, by_s = g.contiguous(), _ready(forward), _contiguous(by_h), _contiguous(by_s)
        self._check(g, forward.h, forward.s, by_h, by_s, forward.x, forward.c, forward.a)
        by_distance = torch.zeros(self.lookup.distances.shape[0], dtype=torch.float64) if distances else None
        by_x = torch.empty_like(g) if to_x or weights else None
        kept = [g.new_empty(1 if weights else self.blocks, *g.shape) for _ in range(4)]
        kept.append(g.new_empty(self.blocks, *g.shape))
        sums = self._sums() if weights else None
        keep, phases = (int(not weights), 1), self.blocks + (by_x is not None)
        self._run_back(g, forward, by_h, by_s, by_x, kept, by_distance, keep, sums, phases)
        above, by_a, by_m, returned, below = kept
        return Back(
            by_x if to_x else None,
            by_distance,
            below,
            None if sums is None else self._gradients(sums),
            None if weights else Kept(above, by_a, by_m, below, returned),
        )

    def _run_back(
        self,
        g: Tensor,
        forward: Forward,
        by_h: Tensor | None,
        by_s: Tensor | None,
        by_x: Tensor | None,
        kept: list[Tensor],
        by_distance: Tensor | None,
        keep: tuple[int, int],
        sums: Tensor | None,
        phases: int,
    ) -> None:
        above, by_a, by_m, returned, below = kept
        lookup = self.lookup
        fixed = [
            *self._pairs_both_ways,
            *_addresses(lookup.weights(0), None if by_distance is None else lookup.weights(1), self.tables),
            self._table_stride,
            *_addresses(self.layers.w_in, self.layers.w_mid, self.layers.w_out, self._zeros),
            *_addresses(g, forward.h, forward.s, by_h, by_s, by_x, above, by_a, by_m, below, returned),
            keep[0],
            *_addresses(by_distance),
            keep[1],
        ]
        self._run("back", fixed, phases, 2, sums, (forward.x, forward.c, forward.a))

    @uncompiled
    def again(self, kept: Kept, h: Tensor, s: Tensor, of_x: Tensor | None, scale: Tensor | None) -> Again:
        """See `Passes.again`."""
        if scale is None:
            return super().again(kept, h, s, of_x, scale)
        of_x, scale, h, s = _contiguous(of_x), scale.contiguous(), h.contiguous(), s.contiguous()
        self._check(kept.g[0], h, s, kept.g, kept.by_a, kept.by_m, kept.below, kept.back, of_x, scale=scale)
        of_back, of_h, of_s = (h.new_empty(h.shape) for _ in range(3))
        of_g, of_xs, of_below, of_by_a = (h.new_empty(h.shape[1:]) for _ in range(4))
        sums, lookup = self._sums(), self.lookup
        fixed = [
            *self._pairs_both_ways,
            *_addresses(lookup.weights(0), lookup.weights(1), self.tables),
            self._table_stride,
            *_addresses(*self.layers.inputs_first, self._zeros, of_x, h, s, kept.by_a, kept.below, scale),
            *_addresses(of_g, of_xs, of_back, of_below, of_by_a, of_h, of_s),
            0,
        ]
        self._run("again", fixed, self.blocks + 1, 3, sums, (kept.g, kept.by_m, kept.back))
        return Again(of_g, of_back, of_h, of_s, self._gradients(sums, biases=False))

    def _sums(self) -> Tensor:
        """Room for the gradients by weights of groups of pieces, (groups, numbers).

        As many groups as there is work for, whatever the number of threads: sums in them come in a fixed order.
        """
        atoms, width = self.lookup.graph.n_atoms, self._width
        numbers = self.blocks * width * (3 * width + 2)
        groups = max(atoms // 256, 2**18 // numbers, 1)
        return self._zeros.new_empty(min(groups, len(self._cut_now[0]) - 1, 64), numbers)

    def _gradients(self, sums: Tensor, *, biases: bool = True) -> Layers:
        """What the groups' sums add up to."""
        blocks, width = self.blocks, self._width
        total = add_up(sums)
        weights, rest = total[: 3 * blocks * width * width], total[3 * blocks * width * width :]
        w_in, w_mid, w_out = weights.view(3, blocks, width, width)
        b_mid, b_out = rest.view(2, blocks, width) if biases else torch.zeros_like(rest).view(2, blocks, width)
        return Layers(w_in, w_mid, b_mid, w_out, b_out)

    def table_gradients(self, g: Tensor, x: Tensor) -> Tensor:
        """See `Passes.table_gradients`."""
        return self._table_gradients(g, x, None, None)

    def table_gradients_both(self, g: Tensor, x: Tensor, y: Tensor, scale: Tensor | None) -> Tensor:
        """See `Passes.table_gradients_both`."""
        return self._table_gradients(g, x, None if scale is None else y, scale)

    @uncompiled
    def _table_gradients(self, g: Tensor, x: Tensor, y: Tensor | None, scale: Tensor | None) -> Tensor:
        g, x, y, scale = g.contiguous(), x.contiguous(), _contiguous(y), _contiguous(scale)
        self._check(g[0], g, x, y, scale=scale)
        lookup, graph, width = self.lookup, self.lookup.graph, self._width
        rows, pairs = self.tables.shape[1], lookup.distances.shape[0]
        halves = halves_of(lookup)
        out = g.new_empty(self.blocks, rows, width)
        groups = lookup.by_place if halves is None else halves.by_place
        slopes = None if y is None else lookup.weights(1)
        slots = _Slots(
            *(0, 0, self.blocks, graph.n_atoms, rows),
            *_addresses(groups.starts, groups.order, graph.centre, graph.neighbour),
            *_addresses(None if halves is None else halves.reverse, lookup.weights(0), slopes, scale, g, x, y, out),
        )
        work = self.blocks * pairs * width * (1 if y is None else 2)
        kernel = _table_kernel(width, y is not None, halves is not None)
        launch(kernel, slots, rows, work, pieces=self.blocks)
        return out if self.tables.shape[0] == self.blocks else out.sum(dim=0, keepdim=True)

    @property
    def _pieces(self) -> np.ndarray:
        """Where atoms can be cut into pieces that hear nobody else; found once for a graph."""
        graph = self.lookup.graph
        kept: dict[str, np.ndarray] = graph.__dict__
        if "_pieces" not in kept:
            kept["_pieces"] = closed_pieces(graph.centre.numpy(), graph.neighbour.numpy(), graph.n_atoms, _PIECE)
        return kept["_pieces"]

    @property
    def _table_stride(self) -> int:
        return self.tables[0].numel() * 4 if self.tables.shape[0] > 1 else 0

    @property
    def _pairs_both_ways(self) -> list[int]:
        graph = self.lookup.graph
        hears, heard = graph.by_centre, graph.by_neighbour
        return _addresses(
            hears.starts, hears.order, graph.neighbour, heard.starts, heard.order, graph.centre, self.lookup.place
        )

    @cached_property
    def _cut_now(self) -> tuple[np.ndarray, bool]:
        """Where atoms are cut into pieces, and whether those go through all blocks at once."""
        # Not by the number of threads: sums come in another order in pieces.
        cut, atoms = self._pieces, self.lookup.graph.n_atoms
        if int(np.diff(cut).max()) <= _LARGEST:
            return cut, True
        return np.append(np.arange(0, atoms, _PIECE, dtype=np.int64), np.int64(atoms)), False

    def _run(
        self,
        name: str,
        fixed: list[int],
        phases: int,
        convolutions: int,
        sums: Tensor | None = None,
        others: tuple[Tensor | None, ...] = (),
    ) -> None:
        """Run a pass: pieces that hear nobody else through all phases, or all atoms phase by phase."""
        graph, width = self.lookup.graph, self._width
        atoms, pairs = graph.n_atoms, self.lookup.distances.shape[0]
        cut, together = self._cut_now
        halves = halves_of(self.lookup) if together else None
        kernel, n_pieces = _kernel(name, width), len(cut) - 1
        groups = n_pieces if sums is None else len(sums)
        work = self.blocks * width * ((3 if sums is None else 6) * width * atoms + 5 * convolutions * pairs)
        sizes = (self.blocks, atoms, pairs, self.tables.shape[1], cut.ctypes.data)
        for begin, end in [(0, phases)] if together else [(phase, phase + 1) for phase in range(phases)]:
            slots = _Slots(0, 0, n_pieces, begin, end, *sizes, *fixed)
            more = {39: groups, 40: sums} | dict(enumerate(others, 41)) if name != "forward" else {}
            if halves is not None:
                more |= {48: halves.starts, 49: halves.order, 50: halves.reverse}
            for place, value in more.items():
                slots[place] = value if isinstance(value, int) else 0 if value is None else value.data_ptr()
            launch(kernel, slots, groups, work if together else work // phases)

    def _check(self, first: Tensor, *stacks: Tensor | None, scale: Tensor | None = None) -> None:
        """Kernels compute with addresses, so what does not fit must not reach them."""
        graph, width, lookup = self.lookup.graph, self._width, self.lookup
        atoms, pairs, rows = graph.n_atoms, lookup.distances.shape[0], lookup.grid.n_samples + 2
        blocks = self.blocks
        expected = [(self.tables, (blocks if self.tables.shape[0] > 1 else 1, rows, width)), (first, (atoms, width))]
        expected += [
            (stack, (atoms, width) if stack.ndim == 2 else (blocks, atoms, width))
            for stack in stacks
            if stack is not None
        ]
        expected += [] if scale is None else [(scale, (pairs,))]
        expected += [(layer, (blocks, width) if layer.ndim == 2 else (blocks, width, width)) for layer in self.layers]
        for tensor, shape in expected:
            if tensor.shape != shape or tensor.dtype != torch.float32 or tensor.device.type != "cpu":
                raise ValueError(
                    f"got {tuple(tensor.shape)} of {tensor.dtype} where {shape} of torch.float32 fits {atoms} atoms, "
                    f"{pairs} pairs, {blocks} blocks and {rows} rows of the table"
                )
        if graph.by_neighbour.starts.shape[0] != atoms + 1:
            raise ValueError("the pairs of interaction blocks join one set of atoms")


@dataclass(frozen=True)
class Halves:
    """Pairs of which each has its reverse: which that is, and one of the two by atom and in the table's order."""

    reverse: Tensor  # (pairs,) int32
    starts: Tensor  # (atoms + 1,) int32
    order: Tensor  # (pairs / 2,) int32, by the later of the two atoms
    by_place: Groups


def halves_of(lookup: Lookup) -> Halves | None:
    """What a lookup's pairs are halved by, found once; None where one has no reverse at the same distance."""
    kept = lookup.__dict__
    if "_halves" not in kept:
        graph = lookup.graph
        starts = np.empty(graph.n_atoms + 1, np.int32)
        hears, heard = graph.by_centre, graph.by_neighbour
        orders, begins = (hears.order.numpy(), heard.order.numpy()), (hears.starts.numpy(), heard.starts.numpy())
        ends = graph.centre.numpy(), graph.neighbour.numpy()
        reverse, half = halve(*orders, *begins, *ends, lookup.distances.numpy(), starts)
        kept["_halves"] = None
        if len(half):
            place_starts, order = np.empty(lookup.grid.n_samples, np.int32), np.empty_like(half)
            group_half(lookup.place.numpy(), half, place_starts, order)
            by_place = Groups(torch.from_numpy(place_starts), torch.from_numpy(order))
            kept["_halves"] = Halves(
                torch.from_numpy(reverse), torch.from_numpy(starts), torch.from_numpy(half), by_place
            )
    halves: Halves | None = kept["_halves"]
    return halves


def add_up(sums: Tensor) -> Tensor:
    """The sum of groups (groups, numbers) in float32 in their order, (numbers,)."""
    if len(sums) == 1:
        return sums[0]
    total = sums.new_empty(sums.shape[1])
    slots = _Slots(0, 0, *sums.shape, *_addresses(sums, total))
    launch(_add_groups(), slots, sums.shape[1], sums.numel())
    return total


def _ready(forward: Forward) -> Forward:
    """With the strides that kernels take for granted, which whoever saves tensors in between may have changed."""
    return Forward(*(_contiguous(getattr(forward, field.name)) for field in fields(Forward)))  # type: ignore[arg-type]


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


def _addresses(*tensors: Tensor | None) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


@cache
def _table_kernel(width: int, both: bool, mutual: bool) -> Any:
    return compile_table_gradients(width, both=both, mutual=mutual)


_COMPILERS = {"forward": compile_forward, "back": compile_back, "again": compile_again}


@cache
def _kernel(name: str, width: int) -> Any:
    return _COMPILERS[name](width)


@cache
def _add_groups() -> Any:
    return compile_add_groups()
