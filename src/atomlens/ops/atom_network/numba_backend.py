"""The network's passes by the kernels of `network_kernels`."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor

from atomlens.ops.atom_network.network_kernels import N_SLOTS, compile_again, compile_back, compile_forward
from atomlens.ops.cfconv.numba_passes import add_up
from atomlens.ops.compiling import uncompiled
from atomlens.ops.numba_tools import launch
from atomlens.ops.product_kernels import LANES

_Slots = ctypes.c_int64 * N_SLOTS
_LARGEST = 512  # of features and hidden units; compilation takes a second for each


def suits(x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor) -> bool:
    """Whether there are kernels for such features and weights, see `atom_terms`; torch says what fits nobody."""
    if first.ndim != 2:
        return False
    hidden, features = first.shape
    whole = features % 16 == 0 and hidden % 16 == 0 and features % LANES == 0 and hidden % LANES == 0
    shapes = (x.shape[1:], first_bias.shape, second.shape, second_bias.shape)
    fits = shapes == ((features,), (hidden,), (1, hidden), (1,)) and x.shape[0] > 0
    tensors = (x, first, first_bias, second, second_bias)
    single = all(tensor.dtype == torch.float32 and tensor.device.type == "cpu" for tensor in tensors)
    return whole and fits and single and min(features, hidden) > 0 and max(features, hidden) <= _LARGEST


@uncompiled
def forward(
    x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (atoms, 1), σ(m) and ssp(m), (atoms, H) each."""
    x, second = x.contiguous(), second.contiguous()
    first_bias, second_bias = first_bias.contiguous(), second_bias.contiguous()
    atoms, (hidden, features) = x.shape[0], first.shape
    turned = first.T.contiguous()
    a, s, out = x.new_empty(atoms, hidden), x.new_empty(atoms, hidden), x.new_empty(atoms, 1)
    slots = _Slots(0, 0, atoms, *_addresses(x, turned, first_bias, second, second_bias, a, s, out))
    launch(_kernel("forward", features, hidden), slots, atoms, atoms * features * hidden)
    return out, s, a


@uncompiled
def back(
    g: Tensor,
    x: Tensor | None,
    s: Tensor,
    a: Tensor | None,
    first: Tensor,
    second: Tensor,
    by_s: Tensor | None,
    *,
    to_x: bool,
    weights: bool,
) -> tuple[Tensor | None, tuple[Tensor, Tensor, Tensor] | None]:
    """∂E/∂x from g = ∂E/∂o (atoms, 1), and the gradients by W_1, b_1 and w_2, for which x and a are needed."""
    g, x, first = g.contiguous(), None if x is None else x.contiguous(), first.contiguous()
    by_s, second = None if by_s is None else by_s.contiguous(), second.contiguous()
    s, a = s.contiguous(), None if a is None else a.contiguous()
    atoms, (hidden, features) = len(g), first.shape
    zeros, inner = g.new_zeros(features), torch.empty_like(s)
    out, sums = g.new_empty(atoms, features) if to_x else None, _sums(g, first) if weights else None
    groups = _groups(g, first) if sums is None else len(sums)
    slots = _Slots(0, 0, groups, atoms, *_addresses(x, first, zeros, second, g, a, s, by_s, inner, out, sums))
    launch(_kernel("back", features, hidden), slots, groups, 2 * atoms * features * hidden)
    return out, None if sums is None else _gradients(sums, first)


@uncompiled
def again(
    g: Tensor, of_x: Tensor, s: Tensor, first: Tensor, second: Tensor
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """From what comes to ∂E/∂x, (atoms, F): by g, by s, and by W_1, b_1 and w_2."""
    g, of_x, second, s = g.contiguous(), of_x.contiguous(), second.contiguous(), s.contiguous()
    atoms, (hidden, features) = of_x.shape[0], first.shape
    zeros, inner, turned = of_x.new_zeros(max(features, hidden)), torch.empty_like(s), first.T.contiguous()
    of_g, of_s, sums = torch.empty_like(g), torch.empty_like(s), _sums(of_x, first)
    slots = _Slots(0, 0, len(sums), atoms, *_addresses(of_x, turned, zeros, second, g, s, inner, of_g, of_s, sums))
    launch(_kernel("again", features, hidden), slots, len(sums), 2 * atoms * features * hidden)
    return of_g, of_s, _gradients(sums, first)


def _groups(x: Tensor, first: Tensor) -> int:
    """Into how many groups atoms are shared out, whatever the number of threads."""
    return max(1, min(x.shape[0] // (128 if first.numel() < 2**14 else 512), 64))


def _sums(x: Tensor, first: Tensor) -> Tensor:
    hidden, features = first.shape
    return x.new_empty(_groups(x, first), hidden * (features + 2))


def _gradients(sums: Tensor, first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    total = add_up(sums)
    weight, bias, second = total.split([first.numel(), len(first), len(first)])
    return weight.view(first.shape), bias, second[None]


def _addresses(*tensors: Tensor | None) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


_COMPILERS = {"forward": compile_forward, "back": compile_back, "again": compile_again}


@cache
def _kernel(name: str, features: int, hidden: int) -> Any:
    return _COMPILERS[name](features, hidden)
