"""The primitives in C++, compiled by g++ at run time; for the comparison of code generators only."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atomlens.ops.cfconv.graph import Groups, PairGraph
from benchmarks.generators.primitives import PrimitiveKernels

FOLDER = "ATOMLENS_GENERATORS_CPP"  # names a folder that keeps the library between processes; else a temporary one
# What vectorises is '#pragma omp simd' in the source: without it gcc 12 is up to ten times slower, with it -O3 brings
# nothing over -O2. Sums may be regrouped, as numba may; NaN stays NaN, and the processor's mode is left alone, both of
# which -ffast-math would change.
FLAGS = (
    *("-O2", "-ftree-vectorize", "-march=native", "-fno-math-errno", "-fassociative-math", "-fno-signed-zeros"),
    *("-fno-trapping-math", "-freciprocal-math", "-fopenmp", "-shared", "-fPIC", "-std=c++17"),
)
_SOURCE = Path(__file__).with_name("kernels.cpp")
# As numba's, so that only the code differs.
_WORK_PER_THREAD = 1 << 18
_PIECES_PER_THREAD = 8


class CppKernels(PrimitiveKernels):
    """The five functions over pairs in C++; grouping, places, weights and coefficients remain numba's."""

    name = "cpp"

    def convolve(
        self, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor, scale: Tensor | None
    ) -> Tensor:
        """See `Kernels.convolve`."""
        group = graph.by_centre
        return _run("convolve", x, graph.n_atoms, 1, group.starts, group.order, graph.neighbour, place, weights, scale,
                    x, table)  # fmt: skip

    def dot(self, g: Tensor, x: Tensor, table: Tensor, graph: PairGraph, place: Tensor, weights: Tensor) -> Tensor:
        """See `Kernels.dot`."""
        return _run("dot", x, place.shape[0], 1, graph.centre, graph.neighbour, place, weights, g, x, table)

    def table_gradient(
        self,
        g: Tensor,
        x: Tensor,
        graph: PairGraph,
        place: Tensor,  # noqa: ARG002
        by_place: Groups,
        weights: Tensor,
        scale: Tensor | None,
    ) -> Tensor:
        """See `Kernels.table_gradient`."""
        return _run("table_gradient", x, by_place.starts.shape[0] + 2, 1, by_place.starts, by_place.order, graph.centre,
                    graph.neighbour, weights, scale, g, x)  # fmt: skip

    def convolve_both(
        self,
        x: Tensor,
        y: Tensor,
        table: Tensor,
        graph: PairGraph,
        place: Tensor,
        weights: Tensor,
        slopes: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """See `Kernels.convolve_both`."""
        group = graph.by_centre
        return _run("convolve_both", x, graph.n_atoms, 2, group.starts, group.order, graph.neighbour, place, weights,
                    slopes, scale, x, y, table)  # fmt: skip

    def table_gradient_both(
        self,
        g: Tensor,
        x: Tensor,
        y: Tensor,
        graph: PairGraph,
        place: Tensor,  # noqa: ARG002
        by_place: Groups,
        weights: Tensor,
        slopes: Tensor,
        scale: Tensor,
    ) -> Tensor:
        """See `Kernels.table_gradient_both`."""
        return _run("table_gradient_both", x, by_place.starts.shape[0] + 2, 2, by_place.starts, by_place.order,
                    graph.centre, graph.neighbour, weights, slopes, scale, g, x, y)  # fmt: skip


def runtimes() -> list[str]:
    """The OpenMP runtimes mapped into this process: two would fight for the cores."""
    paths = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line}
    return sorted(path for path in paths if Path(path).name.startswith(("libgomp", "libiomp", "libomp")))


def _run(name: str, x: Tensor, rows: int, terms: int, *arrays: Tensor | None) -> Tensor:
    """Run one kernel; ``terms`` products for each pair and feature. The fourth array or the third has the pairs."""
    kept = [None if array is None else array.contiguous() for array in arrays]
    features, pairs = x.shape[1], kept[3 if name != "dot" else 2].shape[0]  # type: ignore[union-attr]
    out = x.new_empty(rows) if name == "dot" else x.new_empty(rows, features)
    threads = min(torch.get_num_threads(), terms * pairs * features // _WORK_PER_THREAD + 1)
    step = max(rows if threads == 1 else -(-rows // (threads * _PIECES_PER_THREAD)), 1)
    addresses = [0 if array is None else array.data_ptr() for array in (*kept, out)]
    _function(name, x.dtype)((ctypes.c_int64 * (4 + len(addresses)))(rows, step, threads, features, *addresses))
    return out


@cache
def _function(name: str, dtype: torch.dtype) -> Any:
    function = getattr(_library(), f"{name}_{'float32' if dtype == torch.float32 else 'float64'}")
    function.restype = None
    return function


@cache
def _library() -> ctypes.CDLL:
    kept = os.environ.get(FOLDER)
    with tempfile.TemporaryDirectory(prefix="generators-") as name:
        path = Path(kept or name) / "kernels.so"
        if not path.is_file():
            subprocess.run(["g++", *FLAGS, str(_SOURCE), "-o", str(path)], check=True)
        # torch has loaded its libgomp by now, and a name that is loaded already is not looked up again. What is mapped
        # outlives its file.
        return ctypes.CDLL(str(path))
