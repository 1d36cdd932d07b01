"""Latent charges and dipole vectors beside those of other physics, and beside those of other models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from atomlens.data.system import symbol
from atomlens.data.units import parse_unit
from atomlens.errors import InputError
from atomlens.figures import charges as drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLEAR_CHARGE = 0.05  # e; reference charges nearer to zero than this have no sign to agree with
CLEAR_DIPOLE = 0.1 * parse_unit("D")[0]  # e·Å; shorter reference dipoles have no direction to agree with


@dataclass(frozen=True)
class ChargeRow:
    """How the latent charges of one element, or of all atoms, stand to those of a reference."""

    element: str  # symbol, or "all"
    count: int  # atoms
    correlation: float  # Pearson's; NaN where one of the two does not vary
    slope: float  # of the line by least squares, latent charge over reference charge; NaN as above
    same_sign: float  # share of atoms, among those whose reference charge exceeds `CLEAR_CHARGE`; NaN for none
    mean: float  # e, of the latent charges
    reference_mean: float  # e


@dataclass(frozen=True)
class ChargeAgreement:
    """Latent charges beside one set of reference charges, of the atoms whose reference is known."""

    reference: str  # name of the reference
    numbers: np.ndarray  # (atoms,) atomic numbers
    latent: np.ndarray  # (atoms,) e
    values: np.ndarray  # (atoms,) e, of the reference
    overall: ChargeRow
    per_element: tuple[ChargeRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """The rows, for JSON; None where a number is not defined."""
        rows = {row.element: known(vars(row)) for row in self.per_element}
        return {"reference": self.reference, "unit": "e", "overall": known(vars(self.overall)), "per_element": rows}

    def plot(self) -> Figure:
        """Latent over reference charges, one panel per element."""
        per_element = {}
        for row in self.per_element:
            chosen = self.numbers == _number(self, row.element)
            per_element[row.element] = (self.values[chosen], self.latent[chosen])
        return drawing.charge_scatter(per_element, f"{self.reference} charge", "latent charge")


@dataclass(frozen=True)
class DipoleAgreement:
    """Predicted dipole vectors beside reference vectors, of neutral molecules."""

    predicted: np.ndarray  # (molecules, 3) e·Å
    reference: np.ndarray  # (molecules, 3) e·Å
    angles: np.ndarray  # (molecules with a reference longer than `CLEAR_DIPOLE`,) degrees

    @property
    def component_mae(self) -> float:
        """Mean absolute error of the components, in e·Å."""
        return float(np.abs(self.predicted - self.reference).mean())

    @property
    def component_rmse(self) -> float:
        """Root mean squared error of the components, in e·Å."""
        return float(np.sqrt(np.square(self.predicted - self.reference).mean()))

    @property
    def component_size(self) -> float:
        """Mean magnitude of the reference components, in e·Å: the error of saying zero."""
        return float(np.abs(self.reference).mean())

    @property
    def magnitude_mae(self) -> float:
        """Mean absolute error of the lengths, in e·Å."""
        lengths = (np.linalg.norm(vectors, axis=1) for vectors in (self.predicted, self.reference))
        return float(np.abs(next(lengths) - next(lengths)).mean())

    @property
    def same_side(self) -> float:
        """Share of molecules whose vectors are less than a right angle apart; NaN where none has a clear dipole."""
        return float((self.angles < 90.0).mean()) if len(self.angles) else np.nan

    def to_dict(self) -> dict[str, Any]:
        """Errors for JSON; None where a number is not defined."""
        median, ninety = np.percentile(self.angles, [50.0, 90.0]) if len(self.angles) else (np.nan, np.nan)
        facts = {
            "unit": "e*Ang",
            "molecules": len(self.reference),
            "component_mae": self.component_mae,
            "component_rmse": self.component_rmse,
            "component_mean_magnitude": self.component_size,
            "magnitude_mae": self.magnitude_mae,
            "molecules_with_direction": len(self.angles),
            "angle_median_degrees": float(median),
            "angle_90_percent_degrees": float(ninety),
            "same_side": self.same_side,
        }
        return known(facts)

    def plot(self) -> Figure:
        """Components over reference components, and the distribution of the angles between the vectors."""
        return drawing.dipole_vectors(self.reference, self.predicted, self.angles)


@dataclass(frozen=True)
class ModelPair:
    """How alike two models' charges are."""

    first: str
    second: str
    correlation: float  # Pearson's over all atoms
    within_elements: float  # Pearson's after every element's mean is taken away
    per_element: Mapping[str, float]  # Pearson's within each element
    rms_difference: float  # e
    rms_within_elements: float  # e, of the differences after every element's mean is taken away
    spread: float  # e, root mean square of the charges about their element's mean, of both models

    @property
    def relative(self) -> float:
        """The difference within elements in units of the spread: 0 is the same, √2 is unrelated."""
        return self.rms_within_elements / self.spread if self.spread else np.nan

    def to_dict(self) -> dict[str, Any]:
        """All numbers, for JSON; None where one is not defined."""
        return known({**vars(self), "per_element": known(self.per_element), "relative": self.relative})


def compare_charges(
    numbers: np.ndarray, latent: np.ndarray, references: Mapping[str, np.ndarray]
) -> dict[str, ChargeAgreement]:
    """Hold latent charges against reference charges of the same atoms.

    Args:
        numbers: (atoms,) atomic numbers.
        latent: (atoms,) e, with their sign fixed (`explain.charge_sign`).
        references: name, such as "Mulliken", to (atoms,) in e; NaN where not known.

    Raises:
        InputError: a reference has another number of atoms, or no known charge.
    """
    found = {}
    for name, given in references.items():
        values = np.asarray(given, dtype=float)
        if values.shape != np.shape(latent) or not np.isfinite(values).any():
            raise InputError(
                f"the {name} charges have shape {values.shape} for {len(latent)} atoms, or none is known; "
                "give one number per atom"
            )
        there = np.isfinite(values)
        atoms, q, q_reference = numbers[there], np.asarray(latent, dtype=float)[there], values[there]
        rows = tuple(
            _row(symbol(int(number)), q[atoms == number], q_reference[atoms == number]) for number in np.unique(atoms)
        )
        found[name] = ChargeAgreement(name, atoms, q, q_reference, _row("all", q, q_reference), rows)
    return found


def compare_dipoles(predicted: np.ndarray, reference: np.ndarray) -> DipoleAgreement:
    """Hold predicted dipole vectors against reference vectors of neutral molecules, in one frame.

    Args:
        predicted: (molecules, 3) e·Å, with the sign of the charges fixed.
        reference: (molecules, 3) e·Å; molecules with NaN are left out.

    Raises:
        InputError: the shapes differ, or no reference is known.
    """
    expected = np.asarray(reference, dtype=float)
    there = np.isfinite(expected).all(axis=-1)
    if expected.shape != np.shape(predicted) or expected.ndim != 2 or not there.any():
        raise InputError(
            f"reference dipoles of shape {expected.shape} do not fit predictions of shape {np.shape(predicted)}, or "
            "none is known; give one vector per molecule"
        )
    found, expected = np.asarray(predicted, dtype=float)[there], expected[there]
    clear = np.linalg.norm(expected, axis=1) > CLEAR_DIPOLE
    return DipoleAgreement(found, expected, _angles(found[clear], expected[clear]))


def charge_stability(numbers: np.ndarray, charges: Mapping[str, np.ndarray]) -> tuple[ModelPair, ...]:
    """How alike the charges of several models are, for every two of them.

    Args:
        numbers: (atoms,) atomic numbers.
        charges: name of a model to its charges, (atoms,) in e, with their signs fixed.
    """
    elements, owner = np.unique(numbers, return_inverse=True)
    counts = np.bincount(owner)
    centred = {name: values - (np.bincount(owner, values) / counts)[owner] for name, values in charges.items()}
    pairs = []
    for first, second in combinations(charges, 2):
        a, b = centred[first], centred[second]
        pairs.append(
            ModelPair(
                first,
                second,
                correlation=pearson(charges[first], charges[second]),
                within_elements=pearson(a, b),
                per_element={symbol(int(z)): pearson(a[numbers == z], b[numbers == z]) for z in elements},
                rms_difference=float(np.sqrt(np.square(charges[first] - charges[second]).mean())),
                rms_within_elements=float(np.sqrt(np.square(a - b).mean())),
                spread=float(np.sqrt(0.5 * (np.square(a) + np.square(b)).mean())),
            )
        )
    return tuple(pairs)


def pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation; NaN where one of the two does not vary."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if len(x) < 2:
        return np.nan
    a, b = x - x.mean(), y - y.mean()
    sizes = np.linalg.norm(a), np.linalg.norm(b)
    # What varies by no more than rounding of its mean does not vary.
    if sizes[0] < 1e-12 * np.linalg.norm(x) or sizes[1] < 1e-12 * np.linalg.norm(y) or not all(sizes):
        return np.nan
    return float(np.clip(a @ b / (sizes[0] * sizes[1]), -1.0, 1.0))


def known(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same facts with None for numbers that are not finite, as JSON wants it."""
    return {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in facts.items()}


def _row(element: str, latent: np.ndarray, reference: np.ndarray) -> ChargeRow:
    correlation = pearson(reference, latent)
    slope = correlation * float(latent.std() / reference.std()) if np.isfinite(correlation) else np.nan
    clear = np.abs(reference) > CLEAR_CHARGE
    same = float((np.sign(latent[clear]) == np.sign(reference[clear])).mean()) if clear.any() else np.nan
    return ChargeRow(element, len(latent), correlation, slope, same, float(latent.mean()), float(reference.mean()))


def _angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles between vectors (n, 3) in degrees; a vanishing vector is at a right angle to all."""
    across = np.linalg.norm(np.cross(first, second), axis=1)
    along = np.einsum("ij,ij->i", first, second)
    # arctan2 keeps its digits at 0 and 180 degrees, where arccos loses half of them.
    return np.where((across == 0.0) & (along == 0.0), 90.0, np.degrees(np.arctan2(across, along)))


def _number(agreement: ChargeAgreement, element: str) -> int:
    return next(int(number) for number in np.unique(agreement.numbers) if symbol(int(number)) == element)
