"""Ring stability: the energy that a model gives to the atoms of a ring (thesis eq. 4.16; insights paper 3.1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ase
import numpy as np
from scipy.stats import rankdata

from atomlens.data.system import AtomicSystem
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.explain.analysis import Analysis
from atomlens.explain.baseline import Baseline
from atomlens.explain.partition.contributions import AtomContributions, atom_contributions
from atomlens.explain.rings.ring_perception import Ring, find_rings, need_rdkit
from atomlens.explain.subject import Subject
from atomlens.model import Model, Structure
from atomlens.panel import Panel
from atomlens.progress import track

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RingEnergies:
    """E_ring = Σ E_i over the atoms of a ring, for all rings of one or many molecules.

    Compare rings of one kind: each further atom, and each nitrogen in a carbon's place, adds an energy of its own.
    """

    rings: tuple[Ring, ...]
    structures: np.ndarray  # (rings,) place of the structure that each belongs to
    values: np.ndarray  # (rings,) eV, relative to the baseline
    relative_to: Baseline

    @cached_property
    def kinds(self) -> Mapping[str, np.ndarray]:
        """Rows of the rings of each kind, the commonest kind first."""
        names = np.array([ring.kind for ring in self.rings])
        order = [name for name, _ in Counter(names.tolist()).most_common()]
        return {name: np.flatnonzero(names == name) for name in order}

    @cached_property
    def deviations(self) -> np.ndarray:
        """E_ring less the mean of all rings of its kind, (rings,) in eV; negative is more stable."""
        found = np.zeros(len(self.rings))
        for rows in self.kinds.values():
            found[rows] = self.values[rows] - self.values[rows].mean()
        return found

    def ranking(self, formula: str, *, aromatic: bool | None = None) -> np.ndarray:
        """Rows of the rings of a formula such as ``C6``, most stable (lowest energy) first.

        Args:
            formula: of the ring's own atoms, carbon first.
            aromatic: only rings that are, or are not; None takes all of the formula.
        """
        rows = [
            row
            for row, ring in enumerate(self.rings)
            if ring.formula == formula and (aromatic is None or ring.aromatic is aromatic)
        ]
        chosen = np.array(rows, dtype=np.int64)
        return chosen[np.argsort(self.values[chosen], kind="stable")]

    def to_dict(self) -> dict[str, Any]:
        """Count, mean, spread and extremes of every kind, for JSON, in eV."""
        return {
            "unit": "eV",
            "definition": f"Sum of the terms of a ring's atoms in the energy, relative to {self.relative_to}",
            "relative_to": self.relative_to,
            "rings": len(self.rings),
            "kinds": {
                name: {
                    "count": len(rows),
                    "mean": float(self.values[rows].mean()),
                    "std": float(self.values[rows].std()),
                    "lowest": float(self.values[rows].min()),
                    "highest": float(self.values[rows].max()),
                }
                for name, rows in self.kinds.items()
            },
        }

    def plot(self, most: int = 10) -> Figure:
        """Energies of the rings of the commonest kinds."""
        from atomlens.figures import rings

        return rings.ring_kinds({name: self.values[rows] for name, rows in list(self.kinds.items())[:most]})


def ring_energies(
    source: Model | AtomContributions,
    structures: Structure | Sequence[Structure],
    *,
    relative_to: Baseline | None = None,
    title: str = "",
) -> RingEnergies:
    """E_ring of every ring of some molecules (thesis eq. 4.16).

    Args:
        source: a model with an energy readout, or the contributions that it gave for the same structures.
        structures: one or many molecules; those without rings add nothing.
        relative_to: what is subtracted from atom terms; see `explain.baseline.energy_baseline`. Ready contributions
            keep theirs.
        title: of a progress bar; none without it.

    Raises:
        InputError: RDKit is not installed, a structure is periodic, or the model refuses one.
    """
    if isinstance(structures, ase.Atoms | AtomicSystem):
        structures = [structures]
    systems = [AtomicSystem.from_ase(each) if isinstance(each, ase.Atoms) else each for each in structures]
    if isinstance(source, Model):
        source = atom_contributions(source, systems, relative_to=relative_to, title=title)
    if source.term.quantity != "energy":
        raise InputError(
            f"rings need energies, and these are terms of the {source.term.quantity}; give those of energy"
        )
    if len(source.sizes) != len(systems) or not np.array_equal(
        source.numbers, np.concatenate([each.numbers for each in systems])
    ):
        raise InputError("the contributions are of other structures than those given; give the same ones")
    places, rings = perceive(systems, title=title and f"{title}: rings")
    return summed(source.values, np.cumsum(source.sizes) - source.sizes, places, rings, source.relative_to)


def perceive(
    systems: Sequence[AtomicSystem], title: str = "", among: np.ndarray | None = None
) -> tuple[np.ndarray, tuple[Ring, ...]]:
    """The rings of all molecules, and the place of the molecule that each belongs to, (rings,).

    Args:
        systems: molecules.
        title: of a progress bar; none without it.
        among: (systems,) the place of each in the data that they were chosen from; by default 0, 1, 2, ...

    Raises:
        InputError: RDKit is not installed, or a structure is periodic.
    """
    need_rdkit()  # whose absence is no fault of a structure
    known = range(len(systems)) if among is None else among.tolist()
    places: list[int] = []
    rings: list[Ring] = []
    with track(title, len(systems), "structures") as bar:
        for place, system in zip(known, systems, strict=True):
            try:
                found = find_rings(system)
            except InputError as error:
                raise error.at(structure=place) from None
            places += [place] * len(found)
            rings += found
            bar.advance()
    return np.array(places, dtype=np.int64), tuple(rings)


def summed(
    terms: np.ndarray, starts: np.ndarray, places: np.ndarray, rings: tuple[Ring, ...], relative_to: Baseline
) -> RingEnergies:
    """Ring energies from the terms of all atoms laid end to end.

    Args:
        terms: (atoms,) eV, relative to the baseline.
        starts: (structures,) where each structure's atoms start.
        places: (rings,) the structure of each ring.
        rings: with atoms counted within their structure.
        relative_to: what the terms are measured from.
    """
    energies = [float(terms[starts[place] + list(ring.atoms)].sum()) for place, ring in zip(places, rings, strict=True)]
    return RingEnergies(rings, places, np.array(energies, dtype=np.float64), relative_to)


def separation(values: np.ndarray, flags: np.ndarray) -> float:
    """The share of pairs, one flagged and one not, in which the flagged value is the lower (area under the ROC curve).

    Ties count half.

    Args:
        values: (n,)
        flags: (n,) bool, of both kinds.
    """
    flags = np.asarray(flags, dtype=bool)
    first, second = int(flags.sum()), int((~flags).sum())
    if not first or not second:
        raise InputError("a separation needs values of both kinds; give some of each")
    ranks = rankdata(-np.asarray(values, dtype=np.float64))
    return float((ranks[flags].sum() - first * (first + 1) / 2) / (first * second))


def in_kcal(energy: float) -> str:
    """An energy in eV as words, such as −764.3 in kcal/mol."""
    return f"{energy / KCAL_PER_MOL:.1f}".replace("-", "−")


def _of_structure(subject: Subject, place: int) -> Panel:
    from atomlens.explain.rings import ring_panel

    return ring_panel.of_structure(subject, place)


def _of_models(subject: Subject) -> Panel:
    from atomlens.explain.rings import ring_ranking

    return ring_ranking.of_models(subject)


ANALYSIS = Analysis(
    "rings",
    "How stable its rings are",
    "E_ring = Σ E_i, the energy terms of a ring's atoms added up. Lower is more stable; rings are compared with others "
    "of their kind, which have the same atoms and are both aromatic or both not.",
    "Thesis 4.5.4, eq. 4.16, fig. 4.14 and appendix B.2; insights paper 3.1 and fig. 3",
    of_structure=_of_structure,
    of_models=_of_models,
)
