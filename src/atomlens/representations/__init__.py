"""Representations: from structures to feature vectors of atoms. A new one is a file here and a row in the registry."""

from collections.abc import Callable

from atomlens.config import Config
from atomlens.representations.behler_parrinello import BehlerParrinello, BehlerParrinelloConfig
from atomlens.representations.dtnn import DTNN, DTNNConfig
from atomlens.representations.interface import Listener, ProbePairs, Representation
from atomlens.representations.schnet import SchNet, SchNetConfig
from atomlens.representations.tabulated import Certificate, Tabulated, constant_parameters

# A representation is built from its configuration and the atomic numbers that the model knows.
Factory = Callable[..., Representation]
REPRESENTATIONS: dict[str, tuple[type[Config], Factory]] = {
    "dtnn": (DTNNConfig, lambda config, _elements: DTNN(config)),
    "schnet": (SchNetConfig, lambda config, _elements: SchNet(config)),
    "behler_parrinello": (BehlerParrinelloConfig, BehlerParrinello),
}

__all__ = [
    "DTNN",
    "REPRESENTATIONS",
    "BehlerParrinello",
    "BehlerParrinelloConfig",
    "Certificate",
    "DTNNConfig",
    "Listener",
    "ProbePairs",
    "Representation",
    "SchNet",
    "SchNetConfig",
    "Tabulated",
    "constant_parameters",
]
