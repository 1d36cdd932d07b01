"""Harmonic vibrations: the Hessian by automatic differentiation, normal modes, infrared intensities."""

from atomlens.simulate.vibrations.harmonic import Vibrations, harmonic_vibrations
from atomlens.simulate.vibrations.hessian import Curvature, curvature, hessian
from atomlens.simulate.vibrations.infrared import Infrared, infrared
from atomlens.simulate.vibrations.normal_modes import NormalModes, normal_modes, thermochemistry
from atomlens.simulate.vibrations.panel import TOPIC, vibrations_panel
from atomlens.simulate.vibrations.spectrum import Comparison, broadened, compared

__all__ = [
    "TOPIC",
    "Comparison",
    "Curvature",
    "Infrared",
    "NormalModes",
    "Vibrations",
    "broadened",
    "compared",
    "curvature",
    "harmonic_vibrations",
    "hessian",
    "infrared",
    "normal_modes",
    "thermochemistry",
    "vibrations_panel",
]
