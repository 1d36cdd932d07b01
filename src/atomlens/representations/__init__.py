"""Representations: from structures to feature vectors of atoms. A new one is a file here and a row in the registry."""

from atomlens.config import Config
from atomlens.representations.interface import Representation
from atomlens.representations.schnet import SchNet, SchNetConfig
from atomlens.representations.tabulated import Certificate, Tabulated, constant_parameters

REPRESENTATIONS: dict[str, tuple[type[Config], type[Representation]]] = {
    "schnet": (SchNetConfig, SchNet),
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
