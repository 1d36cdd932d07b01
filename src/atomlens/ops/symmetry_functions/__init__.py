"""Atom-centred symmetry functions, radial and angular, with derivatives to any order."""

from atomlens.ops.symmetry_functions.autograd import linearised_symmetry_functions, symmetry_functions
from atomlens.ops.symmetry_functions.functions import FunctionSet, centred_grid, shifted_grid
from atomlens.ops.symmetry_functions.neighbourhoods import Neighbourhoods
from atomlens.ops.symmetry_functions.reference import symmetry_functions_by_definition

__all__ = [
    "FunctionSet",
    "Neighbourhoods",
    "centred_grid",
    "linearised_symmetry_functions",
    "shifted_grid",
    "symmetry_functions",
    "symmetry_functions_by_definition",
]
