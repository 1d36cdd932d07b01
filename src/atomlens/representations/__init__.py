"""Representations: from structures to feature vectors of atoms. A new one is a file here and a row in the registry."""

from atomlens.config import Config
from atomlens.representations.interface import Representation
from atomlens.representations.schnet import SchNet, SchNetConfig

REPRESENTATIONS: dict[str, tuple[type[Config], type[Representation]]] = {
    "schnet": (SchNetConfig, SchNet),
}

__all__ = ["REPRESENTATIONS", "Representation", "SchNet", "SchNetConfig"]
