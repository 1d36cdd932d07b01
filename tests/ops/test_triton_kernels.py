"""The Triton kernels become machine code for GPUs, also on a machine without one.

The interpreter, under which they compute on the CPU, is more lenient about types than the compiler.
"""

import pytest
from kernel_backends import NO_TRITON, TRITON, load_copy

triton = pytest.importorskip("triton", reason=NO_TRITON)

INDICES = {"starts", "order", "other", "place", "centre", "neighbour"}
SIZES = {"pairs", "intervals", "features", "rows", "columns", "first"}
CONSTANTS = {"PAIRS": 8, "CHUNK": 128, "REACH": 16}


@pytest.mark.parametrize("features", [1, 64])
@pytest.mark.parametrize("real", ["fp32", "fp64"])
@pytest.mark.parametrize("name", ["convolve", "dot", "interval_sums", "row_sums", "banded_product"])
def test_compiles(name, real, features, monkeypatch, tmp_path):
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    kernel = getattr(load_copy(TRITON + "kernels"), name)
    # As at a launch: a size of one and a missing scale are known when the kernel is compiled.
    known = {**CONSTANTS, "FEATURES": features, **({"features": 1, "scale": None} if features == 1 else {})}
    signature = {
        argument: "constexpr"
        if argument in known
        else "i32"
        if argument in SIZES
        else "*i32"
        if argument in INDICES
        else f"*{real}"
        for argument in kernel.arg_names
    }
    constants = {(place,): known[each] for place, each in enumerate(kernel.arg_names) if each in known}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    options = {"num_warps": max(features // 32, 1), "enable_fp_fusion": True}
    made = triton.compile(source, target=GPUTarget("cuda", 80, 32), options=options)
    assert made.asm["cubin"]
