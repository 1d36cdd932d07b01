"""The continuous-filter convolution of SchNet, with filters per pair or from a table."""

from atomlens.ops.cfconv.backends import kernels_for, use_kernels
from atomlens.ops.cfconv.filters import filter_networks
from atomlens.ops.cfconv.graph import PairGraph
from atomlens.ops.cfconv.interaction import interactions
from atomlens.ops.cfconv.kernels import Kernels
from atomlens.ops.cfconv.passes import Layers, Passes
from atomlens.ops.cfconv.reference import ReferenceKernels, cfconv
from atomlens.ops.cfconv.spline import SplineGrid
from atomlens.ops.cfconv.table import Lookup, spline_coefficients, table_cfconv

__all__ = [
    "Kernels",
    "Layers",
    "Lookup",
    "PairGraph",
    "Passes",
    "ReferenceKernels",
    "SplineGrid",
    "cfconv",
    "filter_networks",
    "interactions",
    "kernels_for",
    "spline_coefficients",
    "table_cfconv",
    "use_kernels",
]
