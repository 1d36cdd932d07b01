"""Readouts: from feature vectors to properties. A new one is a file here and a row in the registry."""

from collections.abc import Callable

from atomlens.config import Config
from atomlens.readouts.energy import Energy, EnergyConfig
from atomlens.readouts.interface import Output, Readout

# A readout is built from its configuration and the number of features.
READOUTS: dict[str, tuple[type[Config], Callable[..., Readout]]] = {
    "energy": (EnergyConfig, Energy),
}

__all__ = ["READOUTS", "Energy", "EnergyConfig", "Output", "Readout"]
