"""Energies against the number of beads, and what they tend to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
from scipy import stats

from atomlens.errors import InputError
from atomlens.model import Model
from atomlens.simulate.analysis.blocks import plain
from atomlens.simulate.path_integrals.config import PathIntegralConfig
from atomlens.simulate.path_integrals.driver import Potential
from atomlens.simulate.path_integrals.energies import PathEnergies, path_energies
from atomlens.simulate.path_integrals.run import run_path_integrals
from atomlens.simulate.settings import SETTINGS

BEADS = (1, 2, 4, 8, 16, 32)
_FITTED = 4  # largest numbers of beads that a fit takes


@dataclass(frozen=True)
class Extrapolation:
    """E(P) = E∞ + c₂/P² + c₄/P⁴, the error of the Trotter product with P beads, by weighted least squares."""

    energy: float  # E∞, eV
    error: float  # eV, one standard error
    coefficients: np.ndarray  # c₂, and c₄ where it was fitted, eV
    used: np.ndarray  # numbers of beads that were fitted
    p_value: float  # chance of so poor a fit by noise alone; NaN where as many numbers as parameters

    def at(self, beads: np.ndarray) -> np.ndarray:
        """The fitted energy in eV at numbers of beads."""
        powers = np.asarray(beads, dtype=float)[:, None] ** (-2.0 * np.arange(1, len(self.coefficients) + 1))
        return np.asarray(self.energy + powers @ self.coefficients)


@dataclass(frozen=True)
class BeadConvergence:
    """Energies by number of beads, in rising order."""

    beads: np.ndarray  # (n,)
    runs: tuple[PathEnergies, ...]
    extrapolation: Extrapolation

    @property
    def energies(self) -> np.ndarray:
        """(n,) eV."""
        return np.array([float(run.energy.mean) for run in self.runs])

    @property
    def errors(self) -> np.ndarray:
        """(n,) eV, one standard error."""
        return np.array([float(run.energy.error) for run in self.runs])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        fit = {name: plain(value) for name, value in vars(self.extrapolation).items()}
        rows = [
            {"beads": int(beads), "energy": run.energy.to_dict(), "potential": run.potential.to_dict()}
            | {"kinetic": run.kinetic.to_dict(), "gyration": run.gyration.to_dict()}
            for beads, run in zip(self.beads, self.runs, strict=True)
        ]
        return {"energy_unit": "eV", "atoms": self.runs[0].atoms, "runs": rows, "extrapolation": fit}


def bead_convergence(
    model: Model | Potential,
    structure: ase.Atoms,
    folder: str | Path,
    config: PathIntegralConfig | None = None,
    *,
    beads: Sequence[int] = BEADS,
    resume: bool = False,
    title: str = "",
    skin: float = 0.5,
) -> BeadConvergence:
    """Run one structure with several numbers of beads, each in a folder of its own such as ``beads_008``.

    Args:
        model: see `run_path_integrals`.
        structure: where all paths begin.
        folder: of the folders.
        config: of the runs; its number of beads is left aside, and with the thermostat 'gle' there is no convergence
            to run, for matrices are those of one number of beads.
        beads: their numbers, three or more.
        resume: take up runs that were stopped, and take runs that are over as they are.
        title: of the progress bars; nothing is shown without.
        skin: see `Calculator`.

    Raises:
        InputError: fewer than three numbers, or as of `run_path_integrals`.
        Interrupted: SIGINT or SIGTERM came.
    """
    config, numbers = config or PathIntegralConfig(), sorted(set(beads))
    if len(numbers) < 3:
        raise InputError(f"convergence is judged by three numbers of beads or more, not {len(numbers)}; give more")
    if config.gle is not None:
        raise InputError("matrices are made for one number of beads; take the thermostat pile-l for convergence")
    found = []
    for number in numbers:
        place = Path(folder) / f"beads_{number:03d}"
        own = config.model_copy(update={"beads": number})
        label = f"{title}, {number} beads" if title else ""
        again = resume and (place / SETTINGS).is_file()  # one that is over is not moved, but must be of these settings
        run_path_integrals(model, structure, place, own, resume=again, title=label, skin=skin)
        found.append(path_energies(place))
    return of_runs(found)


def of_runs(runs: Sequence[PathEnergies]) -> BeadConvergence:
    """Runs of one structure at one temperature with different numbers of beads, in any order."""
    ordered = tuple(sorted(runs, key=lambda run: run.config.beads))
    beads = np.array([run.config.beads for run in ordered])
    energies = np.array([float(run.energy.mean) for run in ordered])
    errors = np.array([float(run.energy.error) for run in ordered])
    return BeadConvergence(beads, ordered, extrapolate(beads, energies, errors))


def extrapolate(beads: np.ndarray, energies: np.ndarray, errors: np.ndarray) -> Extrapolation:
    """The energy of infinitely many beads.

    Args:
        beads: (n,) numbers, n ≥ 3.
        energies: (n,) eV.
        errors: (n,) eV, standard errors.

    Raises:
        InputError: an error bar is missing, for runs are too short.
    """
    if not (np.isfinite(errors).all() and (errors > 0).all()):
        raise InputError("a run is too short for an error bar of its energy; run longer")
    order = np.argsort(beads)[-_FITTED:]
    used, values, weights = np.asarray(beads)[order], energies[order], 1.0 / errors[order]
    terms = 3 if len(used) > 3 else 2
    powers = used[:, None].astype(float) ** (-2.0 * np.arange(terms))
    covariance = np.linalg.inv((powers * np.square(weights)[:, None]).T @ powers)
    # Energies of thousands of eV with differences of meV: count from the best known one.
    parameters = covariance @ (powers.T @ (np.square(weights) * (values - values[-1])))
    misfit = np.square(weights * (values - values[-1] - powers @ parameters)).sum()
    free = len(used) - terms
    return Extrapolation(
        energy=float(parameters[0] + values[-1]),
        error=float(np.sqrt(covariance[0, 0])),
        coefficients=parameters[1:],
        used=used,
        p_value=float(stats.chi2.sf(misfit, free)) if free else float("nan"),
    )
