"""The continuous-filter convolution of SchNet."""

from atomlens.ops.cfconv.reference import cfconv

__all__ = ["cfconv"]
