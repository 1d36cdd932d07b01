"""What kernels compiled by numba share: pointers, tickets, and torch's own OpenMP threads to run them on.

A kernel is a function of one pointer to 64-bit slots: a ticket, the number of rows per piece, then what it likes. Every
thread that enters takes pieces of the rows by the ticket until none is left. torch's threads run it, for a second
OpenMP runtime would fight torch's for the cores.
"""

from __future__ import annotations

import ctypes
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numba
import torch
from llvmlite import ir
from numba import types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.extending import intrinsic

# Sums may be regrouped, which vectorises them; NaN and infinity stay what they are.
FAST = {"contract", "reassoc", "nsz", "arcp"}
_WORK_PER_THREAD = 1 << 17  # multiply-adds, roughly, below which a second thread costs more than it brings
_PIECES_PER_THREAD = 8


if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")


def _can_keep() -> bool:
    """Whether numba finds a folder for its machine code; without one it compiles anew in every process."""

    def nothing() -> None:
        return None

    try:
        numba.njit(cache=True)(nothing)
    except RuntimeError:
        return False
    return True


KEEP = _can_keep()


def _digest_of_kernels() -> int:
    folder = Path(__file__).parent
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(folder.rglob("*_kernels.py"))))


# numba knows machine code by the file of the outermost function; a kernel that is made of other files' functions names
# this, so that it is compiled anew when one of them is another.
SOURCES = _digest_of_kernels()


class Apart(CompilerBase):  # type: ignore[misc]
    """Compiles functions whose arrays do not overlap where one of them is written.

    Otherwise the compiler must look at every row whether they do, or reload what it has: 10 to 20 % of a kernel.
    """

    def define_pipelines(self) -> list[Any]:
        """See numba's `CompilerBase`."""
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


@intrinsic
def pointer(typingctx: Any, address: Any) -> Any:  # noqa: ARG001
    """An address as a pointer."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        return builder.inttoptr(args[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), build


@intrinsic
def take(typingctx: Any, slots: Any) -> Any:  # noqa: ARG001
    """The next ticket: adds one to the first slot and returns what it was."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
        ticket = builder.bitcast(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", ticket, ir.IntType(64)(1), "monotonic")

    return types.int64(types.voidptr), build


@cache
def _torch_threads() -> Any:
    """OpenMP's entry point in the runtime that torch itself uses; None where that is another one than GNU's."""
    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        parallel = ctypes.CDLL(str(library)).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes, parallel.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return parallel


def launch(kernel: Any, slots: Any, rows: int, work: int, *, pieces: int = 1) -> None:
    """Run a kernel over ``rows`` on as many of torch's threads as the work is worth.

    Args:
        kernel: compiled by `numba.cfunc`.
        slots: an array of `ctypes.c_int64`; the first two are filled in here.
        rows: what the ticket counts, in units of the rows per piece.
        work: multiply-adds, roughly.
        pieces: how often the rows are gone through.
    """
    threads = min(threads_worth(work), rows * pieces)
    slots[0] = 0
    if threads <= 1:
        slots[1] = max(rows, 1)
        kernel.ctypes(ctypes.addressof(slots))
    else:
        slots[1] = max(-(-rows * pieces // (threads * _PIECES_PER_THREAD)), 1)
        _torch_threads()(kernel.address, ctypes.addressof(slots), threads, 0)


def threads_worth(work: int) -> int:
    """How many of torch's threads so many multiply-adds are worth."""
    return min(torch.get_num_threads(), work // _WORK_PER_THREAD + 1) if _torch_threads() else 1
