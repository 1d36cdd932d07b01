"""Convolutions of atoms that hear each other: a pair and its reverse share a filter, which is looked up once.

Rows are gone through in rising order, and each with the atoms before it: what it hears of them is summed in registers,
and what they hear of it added to their rows. So a piece of atoms that hear nobody else belongs to one thread.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from atomlens.ops.numba_tools import KEEP
from atomlens.ops.product_kernels import LANES

PLAIN, SCALED, SCALED_BY_REVERSE, BOTH = 0, 1, 2, 3  # what `convolve_row` sums


@numba.njit(cache=KEEP)
def halve(hears, heard, hears_starts, heard_starts, centre, neighbour, distances, starts):  # type: ignore[no-untyped-def]
    """Of each pair its reverse (pairs,), and of each atom the pairs with those before it; ``starts`` is filled in.

    Both are empty where a pair has no reverse at the same distance, or is its own. The first four arguments are the
    pairs grouped by the atom that hears and by the one that is heard.
    """
    pairs, atoms = hears.shape[0], starts.shape[0] - 1
    reverse, half = np.empty(pairs, np.int32), np.empty(pairs // 2, np.int32)
    # By centre and then neighbour, and by neighbour and then centre: the q-th of both are each other's reverse.
    forward, following = np.empty(pairs, np.int32), hears_starts.copy()
    in_order = True
    for q in range(pairs):
        p = heard[q]
        forward[following[centre[p]]] = p
        following[centre[p]] += 1
        in_order &= hears[q] == q
    backward = heard
    if not in_order:
        backward, following = np.empty(pairs, np.int32), heard_starts.copy()
        for q in range(pairs):
            p = hears[q]
            backward[following[neighbour[p]]] = p
            following[neighbour[p]] += 1
    found = 0
    starts[:] = 0
    for q in range(pairs):
        p, r = forward[q], backward[q]
        if centre[p] != neighbour[r] or neighbour[p] != centre[r] or p == r or distances[p] != distances[r]:
            return reverse[:0].copy(), half[:0].copy()
        reverse[p] = r
        if centre[p] > neighbour[p]:
            if found == half.shape[0]:
                return reverse[:0].copy(), half[:0].copy()
            half[found] = p
            found += 1
            starts[centre[p] + 1] += 1
    if 2 * found != pairs:  # an atom hears itself in a neighbouring cell
        return reverse[:0].copy(), half[:0].copy()
    for i in range(atoms):
        starts[i + 1] += starts[i]
    return reverse, half


@numba.njit(cache=KEEP)
def group_half(place, half, starts, order):  # type: ignore[no-untyped-def]
    """Counting sort by place of the pairs in ``half``."""
    starts[:] = 0
    for p in half:
        starts[place[p] + 1] += 1
    for k in range(1, starts.shape[0]):
        starts[k] += starts[k - 1]
    following = starts[:-1].copy()
    for p in half:
        order[following[place[p]]] = p
        following[place[p]] += 1


class Emitter:
    """What the kernels' instructions are made of: vectors at addresses, and numbers spread over vectors."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.whole, self.half, self.single = ir.IntType(64), ir.IntType(32), ir.FloatType()
        self.vector = ir.VectorType(self.single, LANES)
        self.zero = ir.Constant(self.vector, [0.0] * LANES)

    def integers(self, address: Any) -> Any:
        """A pointer to 32-bit integers."""
        return self.builder.inttoptr(address, self.half.as_pointer())

    def numbers(self, address: Any) -> Any:
        """A pointer to single-precision numbers."""
        return self.builder.inttoptr(address, self.single.as_pointer())

    def doubles(self, address: Any) -> Any:
        """A pointer to double-precision numbers."""
        return self.builder.inttoptr(address, ir.DoubleType().as_pointer())

    def at(self, base: Any, place: Any) -> Any:
        """Where an entry lies."""
        return self.builder.gep(base, [place])

    def index(self, base: Any, place: Any) -> Any:
        """A 32-bit integer as an index."""
        return self.builder.sext(self.builder.load(self.at(base, place)), self.whole)

    def row(self, base: Any, place: Any, stride: int) -> Any:
        """Where a row lies."""
        return self.at(base, self.builder.mul(place, self.whole(stride)))

    def spread(self, base: Any, place: Any) -> Any:
        """A number in all lanes."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        number = self.builder.insert_element(undefined, self.builder.load(self.at(base, place)), self.half(0))
        everywhere = ir.Constant(ir.VectorType(self.half, LANES), [0] * LANES)
        return self.builder.shuffle_vector(number, undefined, everywhere)

    def four(self, base: Any, place: Any) -> list[Any]:
        """The four weights of a pair, each in all lanes."""
        first = self.builder.mul(place, self.whole(4))
        return [self.spread(base, self.builder.add(first, self.whole(m))) for m in range(4)]

    def place(self, base: Any, v: int) -> Any:
        """Where the v-th vector of a row lies."""
        return self.builder.bitcast(self.at(base, self.whole(v * LANES)), self.vector.as_pointer())

    def load(self, base: Any, v: int) -> Any:
        """The v-th vector of a row."""
        found = self.builder.load(self.place(base, v))
        found.align = 4
        return found

    def store(self, value: Any, base: Any, v: int) -> None:
        """Write the v-th vector of a row."""
        self.builder.store(value, self.place(base, v)).align = 4

    def times(self, a: Any, b: Any) -> Any:
        """A b."""
        return self.builder.fmul(a, b, flags=("contract",))

    def plus(self, a: Any, b: Any) -> Any:
        """A + b; with a product for one, in one instruction."""
        return self.builder.fadd(a, b, flags=("contract",))

    def weighted(self, weights: list[Any], rows: list[Any]) -> Any:
        """Σ_m w_m C_m."""
        total = self.times(weights[0], rows[0])
        for weight, row in zip(weights[1:], rows[1:], strict=True):
            total = self.plus(self.times(weight, row), total)
        return total

    def sum_of_lanes(self, value: Any) -> Any:
        """The sum of a vector's numbers."""
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        kind = ir.FunctionType(self.single, [self.single, self.vector])
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        return self.builder.call(function, [ir.Constant(self.single, -0.0), value], fastmath=("reassoc", "contract"))


@intrinsic(prefer_literal=True)
def convolve_row(  # type: ignore[no-untyped-def]
    typingctx, vectors, width, kind, row, first, last, half, neighbour, reverse, place,
    weights, slopes, scale, x, y, table, out
):  # fmt: skip
    """What atom ``row`` hears of those before it, into its row of ``out``, and they of it, added to theirs.

    PLAIN: Σ x_j ∘ W_p with ``weights``; SCALED: Σ s_p x_j ∘ W_p; SCALED_BY_REVERSE: with s of the pair's reverse; BOTH:
    Σ x_j ∘ W_p + s_p y_j ∘ W'_p with ``slopes`` for W'. The first three arguments are literal, pairs are half[first]
    to half[last - 1], and the rest addresses.
    """
    n, stride, what = vectors.literal_value, width.literal_value, kind.literal_value

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row, first, last, *addresses = args[3:]
        emit = Emitter(builder)
        half, neighbour, reverse, place = (emit.integers(address) for address in addresses[:4])
        weights, slopes, scale, x, y, table, out = (emit.numbers(address) for address in addresses[4:])
        own, own_y, own_out = (emit.row(base, row, stride) for base in (x, y, out))
        mine = [emit.load(own, v) for v in range(n)]
        mine_y = [emit.load(own_y, v) for v in range(n)] if what == BOTH else []
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed("<", first, last), loop, after)
        builder.position_at_end(loop)
        q = builder.phi(emit.whole)
        sums = [builder.phi(emit.vector) for _ in range(n)]
        pair = emit.index(half, q)
        j = emit.index(neighbour, pair)
        other, other_y, other_out = (emit.row(base, j, stride) for base in (x, y, out))
        knots = emit.row(table, emit.index(place, pair), stride)
        rows = [emit.at(knots, emit.whole(m * stride)) for m in range(4)]
        a = emit.four(weights, pair)
        b = emit.four(slopes, pair) if what == BOTH else []
        here, there = None, None
        if what != PLAIN:
            here, there = emit.spread(scale, pair), emit.spread(scale, emit.index(reverse, pair))
            here, there = (there, here) if what == SCALED_BY_REVERSE else (here, there)
        added = []
        for v in range(n):
            knot = [emit.load(base, v) for base in rows]
            value = emit.weighted(a, knot)
            theirs = emit.load(other, v)
            if what == BOTH:
                slope = emit.weighted(b, knot)
                heard = emit.plus(emit.times(theirs, value), sums[v])
                heard = emit.plus(emit.times(emit.times(here, slope), emit.load(other_y, v)), heard)
                told = emit.plus(emit.times(mine[v], value), emit.load(other_out, v))
                told = emit.plus(emit.times(emit.times(there, slope), mine_y[v]), told)
            elif what == PLAIN:
                heard = emit.plus(emit.times(theirs, value), sums[v])
                told = emit.plus(emit.times(mine[v], value), emit.load(other_out, v))
            else:
                heard = emit.plus(emit.times(theirs, emit.times(here, value)), sums[v])
                told = emit.plus(emit.times(mine[v], emit.times(there, value)), emit.load(other_out, v))
            emit.store(told, other_out, v)
            added.append(heard)
        following = builder.add(q, emit.whole(1))
        builder.cbranch(builder.icmp_signed("<", following, last), loop, after)
        for phi, start, later in [
            (q, first, following),
            *((s, emit.zero, t) for s, t in zip(sums, added, strict=True)),
        ]:
            phi.add_incoming(start, before)
            phi.add_incoming(later, loop)
        builder.position_at_end(after)
        for v in range(n):
            total = builder.phi(emit.vector)
            total.add_incoming(emit.zero, before)
            total.add_incoming(added[v], loop)
            added[v] = total
        for v in range(n):
            emit.store(added[v], own_out, v)
        return context.get_dummy_value()

    return types.void(vectors, width, kind, *[types.int64] * 14), build


@intrinsic(prefer_literal=True)
def dot_row(  # type: ignore[no-untyped-def]
    typingctx, width, row, first, last, half, neighbour, reverse, place, slopes, g, x, table, out
):
    """Adds g_i · (x_j ∘ W'_p) to ``out`` (pairs,), in double precision, and g_j · (x_i ∘ W'_p) for the pair's reverse.

    Arguments as for `convolve_row`; all columns are gone through.
    """
    stride = width.literal_value

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        row, first, last, *addresses = args[1:]
        emit = Emitter(builder)
        half, neighbour, reverse, place = (emit.integers(address) for address in addresses[:4])
        slopes, g, x, table = (emit.numbers(address) for address in addresses[4:8])
        out = emit.doubles(addresses[8])
        own_g, own_x = emit.row(g, row, stride), emit.row(x, row, stride)
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed("<", first, last), loop, after)
        builder.position_at_end(loop)
        q = builder.phi(emit.whole)
        pair = emit.index(half, q)
        j = emit.index(neighbour, pair)
        other_g, other_x = emit.row(g, j, stride), emit.row(x, j, stride)
        knots = emit.row(table, emit.index(place, pair), stride)
        rows = [emit.at(knots, emit.whole(m * stride)) for m in range(4)]
        b = emit.four(slopes, pair)
        here, there = emit.zero, emit.zero
        for v in range(stride // LANES):
            slope = emit.weighted(b, [emit.load(base, v) for base in rows])
            here = emit.plus(emit.times(emit.times(emit.load(own_g, v), emit.load(other_x, v)), slope), here)
            there = emit.plus(emit.times(emit.times(emit.load(other_g, v), emit.load(own_x, v)), slope), there)
        for place_out, total in ((pair, here), (emit.index(reverse, pair), there)):
            target = emit.at(out, place_out)
            more = builder.fpext(emit.sum_of_lanes(total), ir.DoubleType())
            builder.store(builder.fadd(builder.load(target), more), target)
        following = builder.add(q, emit.whole(1))
        builder.cbranch(builder.icmp_signed("<", following, last), loop, after)
        q.add_incoming(first, before)
        q.add_incoming(following, loop)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(width, *[types.int64] * 12), build
