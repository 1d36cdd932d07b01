"""The primitives that a backend supplies: the functions, and their first and second derivatives by pair vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from atomlens.ops.symmetry_functions.functions import FunctionSet
from atomlens.ops.symmetry_functions.neighbourhoods import Neighbourhoods


class SymmetryKernels(ABC):
    """G(v) (atoms, F) of vectors v (pairs, 3), and what follows from it; J is the Jacobian ∂G/∂v. Outside autograd.

    ``g`` is (atoms, F), ``u`` (pairs, 3), everything in the precision of the vectors. Pairs without an entry are left
    alone: their slopes are zero.
    """

    name: str

    @abstractmethod
    def features(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet) -> Tensor:
        """G(v), (atoms, F)."""

    @abstractmethod
    def slopes(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, g: Tensor) -> Tensor:
        """Jᵀ g = ∂(g·G)/∂v, (pairs, 3)."""

    @abstractmethod
    def tangent(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, u: Tensor) -> Tensor:
        """J u, how G changes as the vectors move along u, (atoms, F)."""

    @abstractmethod
    def curvature(self, vectors: Tensor, near: Neighbourhoods, functions: FunctionSet, g: Tensor, u: Tensor) -> Tensor:
        """∂(g·J u)/∂v, the Hessian of g·G times u, (pairs, 3)."""
