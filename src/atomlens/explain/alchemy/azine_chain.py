"""The chain of alchemical paths from benzene to s-triazine (thesis fig. 3.16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from atomlens.explain.alchemy.alchemical_path import AlchemicalPath, Geometry, alchemical_path
from atomlens.explain.alchemy.azines import AZINES, SITES, azine, occupied, shared_sites
from atomlens.explain.baseline import Baseline
from atomlens.model import Model


@dataclass(frozen=True)
class AzineChain:
    """The paths from benzene to s-triazine, one after the other."""

    legs: tuple[AlchemicalPath, ...]
    alpha: np.ndarray  # (steps,) from 0, benzene, to 3, s-triazine
    energy: np.ndarray  # (steps,) eV
    plain: np.ndarray  # (4,) eV, the molecules by themselves
    site_energies: np.ndarray  # (steps, 12) eV, terms of the atoms by the sites of `azines`
    geometry: Geometry
    relative_to: Baseline

    @property
    def rise(self) -> float:
        """From benzene to s-triazine, in eV."""
        return float(self.energy[-1] - self.energy[0])

    @property
    def bow(self) -> np.ndarray:
        """What lies above the straight lines between neighbouring molecules, (steps,) in eV."""
        return _joined([leg.bow for leg in self.legs])

    def to_dict(self) -> dict[str, Any]:
        """For JSON, in eV."""
        return {
            "unit": "eV",
            "geometry": self.geometry,
            "relative_to": self.relative_to,
            "molecules": dict(zip(AZINES, self.plain.tolist(), strict=True)),
            "alpha": np.round(self.alpha, 6).tolist(),
            "energy": np.round(self.energy, 6).tolist(),
            "site_energies": np.round(self.site_energies, 6).tolist(),
            "rise": self.rise,
            "largest_bow": [float(leg.bow[np.abs(leg.bow).argmax()]) for leg in self.legs],
            "barrier": [leg.barrier for leg in self.legs],
        }


def azine_chain(
    model: Model, geometry: Geometry = "fixed", *, steps: int = 41, relative_to: Baseline | None = None
) -> AzineChain:
    """Morph benzene into pyridine, pyrazine and s-triazine: carbon turns into nitrogen, hydrogens fade in and out.

    Args:
        model: with an energy readout and features of elements, that knows H, C and N.
        geometry: "fixed" leaves all atoms where benzene has them, "interpolated" moves them to where the molecules
            relaxed with B3LYP have them.
        steps: of each of the three paths.
        relative_to: see `explain.baseline.energy_baseline`.

    Raises:
        InputError: see `alchemical_path`.
    """
    common = "benzene" if geometry == "fixed" else None
    legs = [
        alchemical_path(
            model,
            azine(start, common),
            azine(end, common),
            shared_sites(start, end),
            steps=steps,
            geometry=geometry,
            slopes=True,
            relative_to=relative_to,
        )
        for start, end in pairwise(AZINES)
    ]
    return AzineChain(
        legs=tuple(legs),
        alpha=_joined([place + leg.alpha for place, leg in enumerate(legs)]),
        energy=_joined([leg.energy for leg in legs]),
        plain=np.array([legs[0].plain[0], *(leg.plain[1] for leg in legs)]),
        site_energies=_joined([_by_site(leg, *ends) for leg, ends in zip(legs, pairwise(AZINES), strict=True)]),
        geometry=geometry,
        relative_to=legs[0].relative_to,
    )


def _by_site(leg: AlchemicalPath, start: str, end: str) -> np.ndarray:
    found = np.zeros((len(leg.alpha), SITES))
    first, last = occupied(start)[leg.origin[0]], occupied(end)[leg.origin[1]]
    found[:, np.where(leg.origin[0] >= 0, first, last)] = leg.atom_energies
    return found


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One after the other; where two meet they have the same molecule, which is taken once."""
    return np.concatenate([parts[0], *(part[1:] for part in parts[1:])])
