"""Representations: from structures to feature vectors of atoms. A new one is a file here and a row in the registry."""

from collections.abc import Callable

from atomlens.config import Config
from atomlens.representations.interface import Representation
from atomlens.representations.schnet import SchNet, SchNetConfig
from atomlens.representations.tabulated import Certificate, Tabulated, constant_parameters

# A representation is built from its configuration and the atomic numbers that the model knows.
Factory = Callable[..., Representation]
REPRESENTATIONS: dict[str, tuple[type[Config], Factory]] = {
    "schnet": (SchNetConfig, lambda config, _elements: SchNet(config)),
}

__all__ = [
    "REPRESENTATIONS",
    "Certificate",
    "Representation",
    "SchNet",
    "SchNetConfig",
    "Tabulated",
    "constant_parameters",
]
