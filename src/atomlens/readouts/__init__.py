"""Readouts: from feature vectors to properties. A new one is a file here and a row in the registry."""

from collections.abc import Callable, Iterable
from typing import Any

from atomlens.config import Config
from atomlens.data.quantities import SCALAR_PROPERTIES
from atomlens.readouts.atom_network import AtomNetwork, AtomNetworkConfig
from atomlens.readouts.dipole import Dipole, DipoleConfig
from atomlens.readouts.energy import Energy, EnergyConfig
from atomlens.readouts.interface import Output, Readout
from atomlens.readouts.polarizability import Polarizability, PolarizabilityConfig
from atomlens.readouts.scalar import Scalar, ScalarConfig
from atomlens.readouts.spatial_extent import SpatialExtent, SpatialExtentConfig

# A readout is built from its configuration, the number of features, and the atomic numbers that the model knows.
READOUTS: dict[str, tuple[type[Config], Callable[..., Readout]]] = {
    "energy": (EnergyConfig, Energy),
    "extensive": (ScalarConfig, Scalar),
    "intensive": (ScalarConfig, Scalar),
    "dipole": (DipoleConfig, Dipole),
    "electronic_spatial_extent": (SpatialExtentConfig, SpatialExtent),
    "polarizability": (PolarizabilityConfig, Polarizability),
}


def readouts_for(labels: Iterable[str], networks: AtomNetworkConfig) -> tuple[AtomNetworkConfig, ...]:
    """The readouts that quantities ask for, with ``networks``; none for a quantity that no readout predicts."""
    made: dict[str, AtomNetworkConfig] = {}
    settings: Any = dict(networks)
    for name in labels:
        if name in ("energy", "forces", "stress"):
            made["energy"] = EnergyConfig(**settings)
        elif name in ("dipole", "dipole_magnitude"):
            made["dipole"] = DipoleConfig(**settings)
        elif name == "electronic_spatial_extent":
            made[name] = SpatialExtentConfig(**settings)
        elif name == "polarizability":
            made[name] = PolarizabilityConfig(**settings)
        for kind, properties in SCALAR_PROPERTIES.items():
            if name in properties:
                made[name] = ScalarConfig(name=kind, property=name, **settings)
    if "polarizability" in made:
        made.pop("isotropic_polarizability", None)  # comes with the tensor
    return tuple(made.values())


__all__ = [
    "READOUTS",
    "AtomNetwork",
    "AtomNetworkConfig",
    "Dipole",
    "DipoleConfig",
    "Energy",
    "EnergyConfig",
    "Output",
    "Polarizability",
    "PolarizabilityConfig",
    "Readout",
    "Scalar",
    "ScalarConfig",
    "SpatialExtent",
    "SpatialExtentConfig",
    "readouts_for",
]
