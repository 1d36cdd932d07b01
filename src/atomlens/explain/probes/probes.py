"""Probe atoms: they hear a structure and are not heard, so the structure stays what it was (thesis eq. 3.11-3.13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import ase
import numpy as np
import torch
from ase.data import atomic_numbers
from torch import Tensor

from atomlens.data.batch import Batch, Pairs
from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain.baseline import Baseline, energy_baseline
from atomlens.explain.probes.field import as_system
from atomlens.explain.probes.surroundings import PAIRS_AT_ONCE, NearPairs, Surroundings
from atomlens.model import Model, Structure
from atomlens.ops.threads import threads_for
from atomlens.progress import track
from atomlens.readouts import Readout
from atomlens.representations import Listener, ProbePairs

ENERGIES = ("energy", "formation_energy")  # properties whose atom terms are energies, the first that a model has counts
# What probing takes at most, beside the model, its tables and the arrays that are returned.
BYTES_AT_ONCE = 256 * 2**20


@dataclass(frozen=True)
class Probing:
    """One structure under one model, with all that is the structure's own computed once, for any number of probes."""

    model: Model
    system: AtomicSystem
    batch: Batch  # the structure alone
    around: Surroundings
    listener: Listener | None  # None: the network runs with probes appended to the structure

    @classmethod
    @torch.no_grad()
    def of(cls, model: Model, structure: Structure) -> Probing:
        """Prepare a structure.

        Raises:
            InputError: the model predicts no energies, or refuses the structure.
        """
        energy_quantity(model)
        system = as_system(structure)
        batch = model.collate([system])
        return cls(model, system, batch, Surroundings.of(system, model.cutoff), model.representation.listener(batch))

    @torch.no_grad()
    def energies(self, points: np.ndarray, probes: Sequence[str], title: str = "") -> tuple[np.ndarray, np.ndarray]:
        """Energy terms of probes, less those of the isolated atoms.

        Args:
            points: (points, 3) in Å.
            probes: chemical symbols of elements that the model knows.
            title: of a progress bar; none without it.

        Returns:
            (probes, points) in eV, and the points' distances from the nearest atom, (points,) in Å.

        Raises:
            InputError: the model never saw an element.
        """
        numbers = [probe_number(self.model, probe) for probe in probes]
        values, nearest, done = np.empty((len(probes), len(points))), np.empty(len(points)), 0
        alone = {number: self._terms(self._alone[number], number) for number in numbers}
        with track(title, len(points), "points") as bar:
            for near in self._chunks(points):
                end = done + len(near.points)
                nearest[done:end] = near.nearest
                for row, (number, features) in enumerate(zip(numbers, self._features(near, numbers), strict=True)):
                    values[row, done:end] = (self._terms(features, number) - alone[number]).cpu().numpy()
                bar.advance(end - done)
                done = end
        return values, nearest

    @torch.no_grad()
    def isolated(self, probe: str, relative_to: Baseline | None = None) -> tuple[float, Baseline]:
        """The energy term of an atom that hears nothing, in eV, and what it is measured from.

        Raises:
            InputError: see `explain.baseline.energy_baseline`, and `energies`.
        """
        number = probe_number(self.model, probe)
        baseline, chosen = probe_baseline(self.model, relative_to)
        return float(self._terms(self._alone[number], number)[0]) - float(baseline[number]), chosen

    @torch.no_grad()
    def reach(self, points: np.ndarray, probe: str) -> float:
        """How far features of probes at points (points, 3) lie beyond the atoms' own: a ratio of largest magnitudes.

        About one for learned features. Symmetry functions, which are divided by their deviation over the training
        atoms, grow a thousandfold where a probe sits in a place that no training atom had; then Ω says nothing.
        """
        number = probe_number(self.model, probe)
        own = float(self.model.representation(self.batch).abs().max())
        chunks = (self._features(near, [number])[0] for near in self._chunks(points))
        farthest = max((float(features.abs().max()) for features in chunks), default=own)
        return farthest / max(own, 1e-12)

    def _chunks(self, points: np.ndarray) -> Iterator[NearPairs]:
        """Points in runs whose work fits into `BYTES_AT_ONCE`, half of it for points and half for pairs."""
        per_point, per_pair = (self.model.bytes_needed(*each) / 1000 for each in ((1000, 0), (0, 1000)))
        # A listener's pairs take some hundred bytes each, whatever the model.
        pairs = PAIRS_AT_ONCE if self.listener is not None else int(0.5 * BYTES_AT_ONCE / max(per_pair, 1.0))
        return self.around.chunks(points, int(0.5 * BYTES_AT_ONCE / max(per_point, 1.0)), pairs)

    def _features(self, near: NearPairs, numbers: Sequence[int]) -> list[Tensor]:
        """Features of probes at the same points, (points, F) for each element."""
        with threads_for(len(near.points) * self.model.representation.n_features**2):
            if self.listener is not None:
                gained = self.listener(self._pairs(near))
                return [(self._alone[number] + gained).to(self.model.dtype) for number in numbers]
            batches = (with_probes(self.batch, self.around, near, number) for number in numbers)
            return [self.model.representation(batch)[self.batch.numbers.shape[0] :] for batch in batches]

    def _pairs(self, near: NearPairs) -> ProbePairs:
        probe, image = torch.from_numpy(near.point), torch.from_numpy(near.image)
        ends = torch.from_numpy(self.around.positions).index_select(0, image)
        vectors = ends.sub_(torch.from_numpy(near.points).index_select(0, probe))
        atom = torch.from_numpy(self.around.atom).index_select(0, image)
        device = self.model.device
        return ProbePairs(len(near.points), probe.to(device), atom.to(device), vectors.to(device))

    @cached_property
    def _alone(self) -> Mapping[int, Tensor]:
        """Features of an atom that hears nothing by its atomic number, (1, F)."""
        lone = [ase.Atoms(numbers=[number], positions=np.zeros((1, 3))) for number in self.model.elements]
        features: Tensor = self.model.representation(self.model.collate(lone))
        return dict(zip(self.model.elements, features.split(1), strict=True))

    def _terms(self, features: Tensor, number: int) -> Tensor:
        """The readout's terms of probes of one element with such features, (probes,) in eV."""
        batch, probes = self.batch, features.shape[0]
        none = batch.pairs.centre[:0]
        with_numbers = replace(
            batch,
            numbers=batch.numbers.new_full((probes,), number),
            positions=batch.positions.new_zeros(probes, 3),
            system=batch.system.new_zeros(probes),
            pairs=Pairs(none, none),
        )
        readout = cast(Readout, self.model.readouts[energy_quantity(self.model)])
        with threads_for(probes * features.shape[1] ** 2):
            return readout.terms(features, with_numbers)


def with_probes(molecule: Batch, around: Surroundings, near: NearPairs, number: int) -> Batch:
    """A batch of one structure with probe atoms appended: each hears the structure, none is heard.

    Args:
        molecule: the structure as a batch of its own.
        around: what probes can hear of it.
        near: the probes' places, and what each hears.
        number: atomic number of the probes.
    """
    atoms, probes = molecule.numbers.shape[0], len(near.points)
    device = molecule.numbers.device

    def joined(old: Tensor, new: np.ndarray) -> Tensor:
        return torch.cat([old, torch.from_numpy(new).to(device=device, dtype=old.dtype)])

    pairs = molecule.pairs
    return replace(
        molecule,
        numbers=joined(molecule.numbers, np.full(probes, number)),
        positions=joined(molecule.positions, near.points),
        system=joined(molecule.system, np.zeros(probes)),
        pairs=Pairs(
            centre=joined(pairs.centre, near.point + atoms),
            neighbour=joined(pairs.neighbour, around.atom[near.image]),
            shift=None if pairs.shift is None else joined(pairs.shift, around.shift[near.image]),
        ),
    )


def energy_quantity(model: Model) -> str:
    """The property whose atom terms are energies.

    Raises:
        InputError: the model predicts none.
    """
    for name in ENERGIES:
        if name in model.readouts:
            return name
    raise InputError(
        "the model predicts no energies, of which a probe's would be one more; use a model with an energy readout"
    )


def probe_baseline(model: Model, relative_to: Baseline | None) -> tuple[np.ndarray, Baseline]:
    """Energies by atomic number to subtract from probes' terms, (119,) in eV, and what they are.

    Formation energies know no free atoms; see `explain.baseline.energy_baseline`.

    Raises:
        InputError: free atoms were asked for, and the model does not know them.
    """
    if energy_quantity(model) == "energy":
        return energy_baseline(model, relative_to)
    if relative_to == "free atoms":
        raise InputError("formation energies know no free atoms; measure from the model's references instead")
    offsets = cast(Tensor, model.readouts["formation_energy"].offsets).cpu().numpy()
    return (np.zeros_like(offsets), "nothing") if relative_to == "nothing" else (offsets, "references")


def probe_number(model: Model, probe: str) -> int:
    """The atomic number of a probe's element.

    Raises:
        InputError: the model never saw it.
    """
    number = int(atomic_numbers.get(str(probe).capitalize(), 0))
    if number not in model.elements:
        seen = ", ".join(symbol(known) for known in model.elements)
        raise InputError(f"the probe {probe} is an element that the model never saw; choose one of {seen}")
    return number
