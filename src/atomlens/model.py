"""A model: one representation, its readouts, and what follows from them by differentiation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Self, cast, overload

import ase
import numpy as np
import torch
from pydantic import Field, SerializeAsAny, field_validator
from torch import Tensor, nn

from atomlens.config import Config, nearest
from atomlens.data.batch import Batch, collate
from atomlens.data.dataset import Dataset
from atomlens.data.neighbours import NeighbourList, neighbour_list
from atomlens.data.quantities import quantity
from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.ops.threads import threads_for
from atomlens.readouts import READOUTS, AtomNetwork, Energy, EnergyConfig, Output, Readout
from atomlens.representations import (
    REPRESENTATIONS,
    Certificate,
    Representation,
    SchNetConfig,
    Tabulated,
    constant_parameters,
)

Structure = ase.Atoms | AtomicSystem
Arrays = dict[str, np.ndarray]

CHUNK_BYTES = 256 * 2**20  # that `predict` works on at a time; larger chunks are no faster


def _from_registry(value: Any, registry: Mapping[str, tuple[type[Config], Any]], what: str, default: str) -> Config:
    """Turn ``{"name": ..., ...}`` into the configuration registered under that name; without a name, the default's."""
    if isinstance(value, Config):
        return value
    name = value.get("name", default) if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping) or name not in registry:
        raise InputError(f"unknown {what} '{name}'; {nearest(str(name), list(registry))}")
    try:
        return registry[name][0].parse(value)
    except InputError as error:
        raise InputError(f"{what} '{name}': {error.problem}") from None


class ModelConfig(Config):
    """Which representation and which readouts a model has."""

    representation: SerializeAsAny[Config] = Field(default_factory=SchNetConfig)
    readouts: tuple[SerializeAsAny[Config], ...] = Field(default_factory=lambda: (EnergyConfig(),))

    @field_validator("representation", mode="before")
    @classmethod
    def _representation(cls, value: Any) -> Config:
        return _from_registry(value, REPRESENTATIONS, "representation", "schnet")

    @field_validator("readouts", mode="before")
    @classmethod
    def _readouts(cls, value: Any) -> tuple[Config, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise InputError("readouts must be a list with at least one entry")
        return tuple(_from_registry(entry, READOUTS, "readout", "energy") for entry in value)


class Model(nn.Module):
    """Predicts properties, atom contributions, forces and stress of molecules and crystals.

    Args:
        config: what it is made of.
        elements: atomic numbers that it has seen in training; others are refused in `predict`.
        charges: total charges in e that it has seen; other charged structures are refused in `predict`.
    """

    def __init__(self, config: ModelConfig, elements: Sequence[int], charges: Sequence[float] = (0.0,)) -> None:
        super().__init__()
        self.config = config
        self.elements = tuple(sorted(int(number) for number in elements))
        self.charges = tuple(sorted(float(charge) for charge in charges))
        self.provenance: dict[str, Any] = {}  # how it came to be: data and split hashes, versions, baselines
        self.examples: tuple[AtomicSystem, ...] = ()  # structures for the fingerprint of the model file
        representation_config: Any = config.representation
        self.representation: Representation = REPRESENTATIONS[representation_config.name][1](
            representation_config, self.elements
        )
        self.readouts = nn.ModuleDict()
        for entry in cast(tuple[Any, ...], config.readouts):
            self._add(READOUTS[entry.name][1](entry, self.representation.n_features, self.elements))
        self._match_networks()
        self.refine_tables()

    def _add(self, readout: Readout) -> None:
        names = {readout.quantity, *readout.derived_quantities}
        taken = sorted(names.intersection(self.predicted))
        if taken:
            raise InputError(f"two readouts predict '{taken[0]}'; leave one of them out")
        if readout.cutoff is not None and self.cutoff is not None and readout.cutoff > self.cutoff:
            raise InputError(
                f"the readout of {readout.quantity} needs neighbours within {readout.cutoff:g} Å, beyond the "
                f"representation's cutoff of {self.cutoff:g} Å; shorten its range, or raise the cutoff"
            )
        self.readouts[readout.quantity] = readout

    @property
    def cutoff(self) -> float | None:
        """Distance in Å within which neighbours are needed; None: all of an open structure."""
        return self.representation.cutoff

    @property
    def energy_readout(self) -> Energy:
        """The energy readout.

        Raises:
            InputError: the model has none.
        """
        if not self.has_energy:
            raise InputError("the model does not predict energies; use a model with an energy readout")
        return cast(Energy, self.readouts["energy"])

    @property
    def predicted(self) -> list[str]:
        """Names of all that it can predict: per readout its properties and its atom terms, then forces and stress."""
        names = [
            name
            for readout in self._readouts
            for name in (readout.quantity, *readout.derived_quantities, readout.atom_quantity)
        ]
        derivatives = ["forces"] if self.cutoff is None else ["forces", "stress"]  # crystals need a cutoff
        return [*names, *derivatives] if self.has_energy else names

    @property
    def _readouts(self) -> list[Readout]:
        return [cast(Readout, module) for module in self.readouts.values()]

    @property
    def scales(self) -> dict[str, float]:
        """Sizes of what the network adds, by predicted quantity in its unit: below these times 1e-7 all is rounding."""
        return {
            name: float(readout.scale)
            for readout in self._readouts
            for name in (readout.quantity, *readout.derived_quantities, readout.atom_quantity)
        } | ({name: float(self.energy_readout.scale) for name in ("forces", "stress")} if self.has_energy else {})

    @property
    def has_energy(self) -> bool:
        """Whether it predicts energies, and with them forces and stress."""
        return "energy" in self.readouts

    @property
    def open_only(self) -> list[str]:
        """Predicted properties that have no meaning under periodic boundaries."""
        return [readout.quantity for readout in self._readouts if readout.open_only]

    def standardise(self, data: Dataset, free_atoms: Mapping[int, float] | None = None) -> None:
        """Fit scales and offsets of the readouts to training structures.

        Args:
            data: structures with a label for each readout, NaN where it is not known.
            free_atoms: energies of free atoms in eV by atomic number.

        Raises:
            InputError: a readout has no label.
        """
        for readout in self._readouts:
            readout.fit(data, free_atoms)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def set_precision(self, dtype: torch.dtype) -> Self:
        """Change the precision of weights; references and sums stay float64."""
        for parameter in self.parameters():
            parameter.data = parameter.data.to(dtype)
        return self

    @property
    def _tables(self) -> list[Tabulated]:
        return [module for module in self.modules() if isinstance(module, Tabulated)]

    def refine_tables(self, margin: float = 0.5) -> list[Certificate]:
        """Raise the number of knots of tabulated filters until each meets ``margin`` times its bound.

        To be called after weights were set by hand; training and `save_model` call it themselves.

        Returns:
            The certificates, one for each tabulated part; none where exact functions are used.

        Raises:
            InputError: no table of reasonable size meets the bound.
        """
        return [found for table in self._tables if (found := table.refine(margin)) is not None]

    def bytes_needed(self, atoms: int, pairs: int) -> int:
        """An estimate of the memory that a prediction with forces takes beside the model itself.

        Args:
            atoms: their number in one structure, or in several that are predicted together.
            pairs: the number of directed pairs within the cutoff.
        """
        return self.representation.bytes_needed(atoms, pairs)

    def set_exact_filters(self, exact: bool = True) -> Self:
        """Evaluate functions of the distance exactly for every pair, or (False) through their tables again."""
        for table in self._tables:
            table.exact = exact or table.accuracy is None
        self._match_networks()
        return self

    def _match_networks(self) -> None:
        """Where functions of the distance are exact, networks are torch's functions as well, for torch.func's sake."""
        exact = any(table.exact for table in self._tables)
        for module in self.modules():
            if isinstance(module, AtomNetwork):
                module.in_steps = exact

    def forward(
        self, batch: Batch, *, forces: bool = False, stress: bool = False, differentiable: bool = False
    ) -> dict[str, Tensor]:
        """Predict a batch.

        Args:
            batch: structures with the pairs within `cutoff`.
            forces: also F_i = -∂E/∂r_i.
            stress: also (1/V) ∂E/∂ε; only for structures periodic in three directions.
            differentiable: keep the graph of forces and stress, for training on them or for a Hessian.

        Returns:
            Per readout its property (systems, ...) and atom terms (atoms, ...), in float64 eV for energies; ``forces``
            (atoms, 3) in eV/Å, ``stress`` (systems, 3, 3) in eV/Å³.
        """
        if not (forces or stress):
            return self._read_out(batch, self.representation(batch))
        self.energy_readout  # noqa: B018  refuses models without energies before any work
        with nullcontext() if differentiable else constant_parameters():
            outputs, slopes, batch = self._with_slopes(batch, differentiable)
        if not differentiable:
            outputs = {name: value.detach() for name, value in outputs.items()}
        if forces:
            outputs["forces"] = batch.net_forces(slopes)
        if stress:
            outputs["stress"] = batch.virial(slopes) / torch.linalg.det(batch.cell).abs()[:, None, None]
            outputs["stress"] = outputs["stress"] if differentiable else outputs["stress"].detach()
        return outputs

    def _with_slopes(self, batch: Batch, differentiable: bool) -> tuple[dict[str, Tensor], Tensor, Batch]:
        """Outputs, ∂E/∂(r_j - r_i) of each pair (pairs, 3), and the batch with the pair vectors that these belong to.

        Energies depend on positions and cells through the vectors of pairs alone.
        """
        if not differentiable:
            with torch.no_grad():
                batch = replace(batch, vectors=batch.pair_vectors())
                linearised = self.representation.linearised(batch)
            if linearised is not None:
                features, pullback = linearised
                outputs, by_features = self._read_out_with_slopes(batch, features)
                with torch.no_grad():
                    return outputs, pullback(by_features), batch
        with torch.enable_grad():
            vectors = batch.pair_vectors()
            vectors = vectors if vectors.requires_grad else vectors.detach().requires_grad_()
            batch = replace(batch, vectors=vectors)
            outputs = self._read_out(batch, self.representation(batch))
            (slopes,) = torch.autograd.grad(
                outputs["energy"].sum(), vectors, create_graph=differentiable, materialize_grads=True
            )
        return outputs, slopes, batch

    def _read_out(self, batch: Batch, features: Tensor, known: Mapping[str, Output] | None = None) -> dict[str, Tensor]:
        """What the readouts say of features (atoms, F); ``known`` holds what some have said, by their quantity."""
        outputs: dict[str, Tensor] = {}
        for readout in self._readouts:
            output = known[readout.quantity] if known and readout.quantity in known else readout(features, batch)
            outputs |= {readout.quantity: output.system, readout.atom_quantity: output.atoms, **output.derived}
        return outputs

    def _read_out_with_slopes(self, batch: Batch, features: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """What the readouts say of features (atoms, F), and ∂E/∂x of them."""
        energy = self.energy_readout
        found = energy.with_slopes(features, batch) if type(energy) is Energy else None
        if found is not None:
            with torch.no_grad():
                return self._read_out(batch, features, {"energy": found[0]}), found[1]
        with torch.enable_grad():
            outputs = self._read_out(batch, features.requires_grad_())
            (by_features,) = torch.autograd.grad(outputs["energy"].sum(), features)
        return outputs, by_features

    def collate(self, structures: Sequence[Structure]) -> Batch:
        """Check structures and lay them end to end on the model's device, with their pairs.

        Raises:
            InputError: an impossible structure, or an element that the model never saw; both name the place.
        """
        return collate([self._checked(entry, place) for place, entry in enumerate(structures)], self.cutoff).to(
            self.device
        )

    def _checked(self, structure: Structure, place: int) -> AtomicSystem:
        try:
            system = AtomicSystem.from_ase(structure) if isinstance(structure, ase.Atoms) else structure
            if not isinstance(system, AtomicSystem):
                raise InputError(f"is a {type(structure).__name__}; give ase.Atoms or AtomicSystem")
        except InputError as error:
            raise error.at(structure=place) from None
        self.check_elements(system.numbers, np.array([0, len(system.numbers)]), first=place)
        self.check_charges(np.array([system.charge]), first=place)
        self.check_boundaries(system.pbc[None], first=place)
        return system

    def check_elements(self, numbers: np.ndarray, offsets: np.ndarray, first: int = 0) -> None:
        """Refuse elements that the model never saw.

        Args:
            numbers: (atoms,) atomic numbers of structures laid end to end.
            offsets: (structures + 1,) where each structure starts.
            first: the place of the first structure, for the message.

        Raises:
            InputError: names the element, the structure and the atom.
        """
        strange = np.flatnonzero(~np.isin(numbers, self.elements))
        if not len(strange):
            return
        row = int(strange[0])
        place = int(np.searchsorted(offsets, row, side="right")) - 1
        seen = ", ".join(symbol(number) for number in self.elements)
        raise InputError(
            f"{symbol(int(numbers[row]))} is an element that the model never saw (it knows {seen}); "
            "use a model trained with it",
            structure=first + place,
            atom=row - int(offsets[place]),
        )

    def check_charges(self, charges: np.ndarray, first: int = 0) -> None:
        """Refuse charged structures of a charge that the model never saw: it would take them for others.

        A structure without a charge passes, for most files do not state one.

        Args:
            charges: (structures,) in e.
            first: the place of the first structure, for the message.

        Raises:
            InputError: names the charge and the structure.
        """
        strange = np.flatnonzero((charges != 0) & ~np.isin(charges, self.charges))
        if len(strange):
            seen = ", ".join(f"{charge:g}" for charge in self.charges)
            raise InputError(
                f"has a total charge of {charges[strange[0]]:g} e, which the model never saw (it knows {seen}); "
                "use a model trained with it",
                structure=first + int(strange[0]),
            )

    def check_boundaries(self, pbc: np.ndarray, first: int = 0) -> None:
        """Refuse periodic structures where a property has no meaning under periodic boundaries.

        Args:
            pbc: (structures, 3) which lattice directions repeat.
            first: the place of the first structure, for the message.

        Raises:
            InputError: names the property and the structure.
        """
        periodic = np.flatnonzero(pbc.any(axis=1))
        if self.open_only and len(periodic):
            raise InputError(
                f"is periodic, where the {self.open_only[0].replace('_', ' ')} of this model has no meaning; use a "
                "model without it, or an open structure",
                structure=first + int(periodic[0]),
            )

    @overload
    def predict(self, structures: Structure, *, forces: bool = ..., stress: bool | None = ...) -> Arrays: ...
    @overload
    def predict(
        self, structures: Sequence[Structure], *, forces: bool = ..., stress: bool | None = ...
    ) -> list[Arrays]: ...
    @overload
    def predict(self, structures: Batch, *, forces: bool = ..., stress: bool | None = ...) -> dict[str, Tensor]: ...

    def predict(
        self, structures: Structure | Sequence[Structure] | Batch, *, forces: bool = True, stress: bool | None = None
    ) -> Arrays | list[Arrays] | dict[str, Tensor]:
        """Predict one structure, a list of them, or a ready batch.

        Args:
            structures: ASE atoms, `AtomicSystem`, a sequence of either, or a `Batch`.
            forces: also forces, in eV/Å (needs an energy readout; left out where there is none).
            stress: also stress, in eV/Å³; by default where a structure is periodic in three directions, and refused
                elsewhere.

        Returns:
            For one structure a mapping of names to numpy arrays (a scalar array for ``energy``), for a sequence a list
            of these, for a batch a mapping to tensors.

        Raises:
            InputError: see `collate`.
        """
        forces = forces and self.has_energy
        if isinstance(structures, Batch):
            bulk = bool(structures.pbc.all())
            if stress and not bulk:
                raise InputError("stress needs structures that are periodic in three directions; leave it out")
            work = structures.numbers.shape[0] * self.representation.n_features**2
            with torch.no_grad(), threads_for(work):
                wanted = (bulk if stress is None else stress) and self.has_energy
                return self(structures, forces=forces, stress=wanted)
        if isinstance(structures, ase.Atoms | AtomicSystem):
            return self._predict_many([structures], forces, stress)[0]
        return self._predict_many(structures, forces, stress)

    def _predict_many(self, structures: Sequence[Structure], forces: bool, stress: bool | None) -> list[Arrays]:
        systems = [self._checked(entry, place) for place, entry in enumerate(structures)]
        results: list[Arrays] = []
        for chunk, lists in self._chunks(systems, stress):
            batch = collate(chunk, self.cutoff, lists).to(self.device)
            bulk = bool(chunk[0].pbc.all())
            results += split_outputs(
                self.predict(batch, forces=forces, stress=bulk if stress is None else stress), batch
            )
        return results

    def _chunks(
        self, systems: Sequence[AtomicSystem], stress: bool | None
    ) -> Iterator[tuple[list[AtomicSystem], list[NeighbourList]]]:
        """Runs of structures within `CHUNK_BYTES` of memory (one structure at least), with their neighbour lists.

        Stress needs a volume, so open structures and crystals go in runs of their own kind.
        """
        chunk: list[AtomicSystem] = []
        lists: list[NeighbourList] = []
        atoms = pairs = 0
        for place, system in enumerate(systems):
            bulk = bool(system.pbc.all())
            if stress and not bulk:
                raise InputError("stress needs three periodic directions; leave it out", structure=place)
            try:
                found = neighbour_list(system, self.cutoff)
            except InputError as error:
                raise error.at(structure=place) from None
            full = self.bytes_needed(atoms + len(system.numbers), pairs + len(found[0])) > CHUNK_BYTES
            if chunk and (full or bulk != bool(chunk[0].pbc.all())):
                yield chunk, lists
                chunk, lists, atoms, pairs = [], [], 0, 0
            chunk.append(system)
            lists.append(found)
            atoms, pairs = atoms + len(system.numbers), pairs + len(found[0])
        if chunk:
            yield chunk, lists


def split_outputs(outputs: Mapping[str, Tensor], batch: Batch) -> list[Arrays]:
    """Predictions for a batch (see `Model.forward`) as arrays of each structure."""
    sizes = torch.bincount(batch.system, minlength=batch.cell.shape[0]).tolist()
    parts: dict[str, Sequence[np.ndarray]] = {}
    for name, value in outputs.items():
        pieces = value.detach().cpu().split(sizes if quantity(name).per == "atom" else 1)
        parts[name] = [piece.numpy() if quantity(name).per == "atom" else piece.numpy()[0] for piece in pieces]
    return [{name: part[place] for name, part in parts.items()} for place in range(len(sizes))]
