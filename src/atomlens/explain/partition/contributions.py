"""Atom contributions: how a model shares a property out over the atoms (thesis 3.6.1, 4.5; insights paper 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ase
import numpy as np

from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.evaluation import predict_structures
from atomlens.explain.analysis import Analysis
from atomlens.explain.baseline import Baseline
from atomlens.explain.partition.contribution_models import of_models
from atomlens.explain.partition.contribution_structure import of_structure
from atomlens.explain.terms import AtomTerm, atom_term, term_baseline
from atomlens.figures import contributions as drawing
from atomlens.model import Model, Structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class AtomContributions:
    """Terms of the atoms of one or many structures, laid end to end.

    A partition is not unique: models with the same totals may share them out differently (`partition_stability`).
    """

    numbers: np.ndarray  # (atoms,) atomic numbers
    positions: np.ndarray  # (atoms, 3) Å
    values: np.ndarray  # (atoms,) in the term's unit, relative to the baseline
    sizes: np.ndarray  # (structures,) atoms of each
    relative_to: Baseline
    term: AtomTerm

    @property
    def per_structure(self) -> list[np.ndarray]:
        """The contributions of each structure, (atoms,)."""
        return np.split(self.values, np.cumsum(self.sizes)[:-1])

    @property
    def per_element(self) -> Mapping[str, np.ndarray]:
        """All contributions of an element, by symbol."""
        return {symbol(int(number)): self.values[self.numbers == number] for number in np.unique(self.numbers)}

    def to_dict(self) -> dict[str, Any]:
        """Mean and spread per element, and per atom where all structures have the same atoms; for JSON."""
        facts: dict[str, Any] = {
            "unit": self.term.unit,
            "definition": f"Terms of the atoms in the {self.term.quantity.replace('_', ' ')}, "
            f"relative to {self.relative_to}",
            "relative_to": self.relative_to,
            "structures": len(self.sizes),
            "per_element": {name: _moments(values) for name, values in self.per_element.items()},
        }
        atoms = int(self.sizes[0])
        numbers = self.numbers.reshape(-1, atoms) if (self.sizes == atoms).all() else None
        if numbers is not None and (numbers == numbers[0]).all():
            columns = self.values.reshape(-1, atoms).T
            facts["per_atom"] = [
                {"index": index, "symbol": symbol(int(numbers[0, index])), **_moments(column)}
                for index, column in enumerate(columns)
            ]
        return facts

    def plot(self, structure: int | None = None) -> Figure:
        """One structure with its atoms coloured, or the distribution of each element over all structures.

        Args:
            structure: its place; None: the distributions, unless there is one structure alone.

        Raises:
            InputError: there is no such structure.
        """
        label = f"{self.term.words}, relative to {self.relative_to}"
        if structure is None and len(self.sizes) > 1:
            return drawing.contribution_distributions(self.per_element, label, self.term.unit)
        place = structure or 0
        if not 0 <= place < len(self.sizes):
            raise InputError(f"there is no structure {place} (the last one is {len(self.sizes) - 1}); choose another")
        end = int(np.cumsum(self.sizes)[place])
        atoms = slice(end - int(self.sizes[place]), end)
        symbols = [symbol(int(number)) for number in self.numbers[atoms]]
        return drawing.atom_contributions(symbols, self.positions[atoms], self.values[atoms], label, self.term.unit)


def atom_contributions(
    model: Model,
    structures: Structure | Sequence[Structure],
    quantity: str = "energy",
    *,
    relative_to: Baseline | None = None,
    title: str = "",
) -> AtomContributions:
    """What every atom adds to a property: E_i of E = Σ E_i, latent charges, y_i of a sum or mean.

    Args:
        model: any model.
        structures: one or many molecules or crystals.
        quantity: a property that the model predicts, or the name of its atom terms: energy, dipole or charges, homo,
            isotropic_polarizability (a third of the trace of the atoms' tensors), ...
        relative_to: what is subtracted; see `explain.terms.term_baseline`. With "nothing" energies sum to the total.
        title: of a progress bar; none without it.

    Raises:
        InputError: the model has no such terms, or a structure is refused (see `Model.collate`).
    """
    if quantity == "energy":
        model.energy_readout  # noqa: B018  says what to do where the model predicts no energies
    term = atom_term(model, quantity)
    baseline, chosen = term_baseline(model, term, relative_to)
    if isinstance(structures, ase.Atoms | AtomicSystem):
        structures = [structures]
    if not len(structures):
        raise InputError("there is no structure to explain; give at least one")
    results = predict_structures(model, structures, forces=False, stress=False, title=title)
    numbers, positions = (
        np.concatenate([np.asarray(getattr(structure, name)) for structure in structures])
        for name in ("numbers", "positions")
    )
    values = np.concatenate([term.of(result) for result in results]) - baseline[numbers]
    sizes = np.array([len(structure.numbers) for structure in structures])
    return AtomContributions(numbers, positions, values, sizes, chosen, term)


def _moments(values: np.ndarray) -> dict[str, float]:
    """Mean, standard deviation and count, for JSON."""
    return {"mean": float(values.mean()), "std": float(values.std()), "count": len(values)}


ANALYSIS = Analysis(
    "contributions",
    "What each atom adds",
    "The network predicts the energy as a sum over atoms, E = Σ E_i; every atom is coloured by its E_i, relative to "
    "the free atom where the model knows it. Other properties that are a sum or mean over atoms are shared out alike.",
    "Thesis 3.6.1, 4.5.1 and fig. 3.9-3.11, 4.8; insights paper eq. 2 and fig. 2, 4",
    of_structure=of_structure,
    of_models=of_models,
)
