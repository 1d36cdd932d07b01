"""A model: one representation, its readouts, and what follows from them by differentiation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self, cast, overload

import ase
import numpy as np
import torch
from pydantic import Field, SerializeAsAny, field_validator
from torch import Tensor, nn

from atomlens.config import Config, nearest
from atomlens.data.batch import Batch, collate
from atomlens.data.quantities import quantity
from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.readouts import READOUTS, Energy, EnergyConfig, Readout
from atomlens.representations import REPRESENTATIONS, Representation, SchNetConfig

Structure = ase.Atoms | AtomicSystem
Arrays = dict[str, np.ndarray]

PAIRS_PER_CHUNK = 200_000  # bounds predict's memory: some 100 MB per 64 features and block


def _from_registry(value: Any, registry: Mapping[str, tuple[type[Config], Any]], what: str) -> Config:
    """Turn ``{"name": ..., ...}`` into the configuration registered under that name."""
    if isinstance(value, Config):
        return value
    if not isinstance(value, Mapping) or value.get("name") not in registry:
        name = value.get("name") if isinstance(value, Mapping) else value
        raise InputError(f"unknown {what} '{name}'; {nearest(str(name), list(registry))}")
    return registry[value["name"]][0].parse(value)


class ModelConfig(Config):
    """Which representation and which readouts a model has."""

    representation: SerializeAsAny[Config] = Field(default_factory=SchNetConfig)
    readouts: tuple[SerializeAsAny[Config], ...] = Field(default_factory=lambda: (EnergyConfig(),))

    @field_validator("representation", mode="before")
    @classmethod
    def _representation(cls, value: Any) -> Config:
        return _from_registry(value, REPRESENTATIONS, "representation")

    @field_validator("readouts", mode="before")
    @classmethod
    def _readouts(cls, value: Any) -> tuple[Config, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            raise InputError("readouts must be a list with at least one entry")
        return tuple(_from_registry(entry, READOUTS, "readout") for entry in value)


class Model(nn.Module):
    """Predicts properties, atom contributions, forces and stress of molecules and crystals.

    Args:
        config: what it is made of.
        elements: atomic numbers that it has seen in training; others are refused in `predict`.
    """

    def __init__(self, config: ModelConfig, elements: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.elements = tuple(sorted(int(number) for number in elements))
        self.provenance: dict[str, Any] = {}  # how it came to be: data and split hashes, versions, baselines
        self.examples: tuple[AtomicSystem, ...] = ()  # structures for the fingerprint of the model file
        representation_config: Any = config.representation
        self.representation: Representation = REPRESENTATIONS[representation_config.name][1](representation_config)
        self.readouts = nn.ModuleDict()
        for entry in cast(tuple[Any, ...], config.readouts):
            self.readouts[entry.name] = READOUTS[entry.name][1](entry, self.representation.n_features)

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
        if "energy" not in self.readouts:
            raise InputError("the model does not predict energies; use a model with an energy readout")
        return cast(Energy, self.readouts["energy"])

    @property
    def predicted(self) -> list[str]:
        """Names of all that it can predict: per readout the property and its atom terms, then forces and stress."""
        names = [
            name
            for module in self.readouts.values()
            for name in (cast(Readout, module).quantity, cast(Readout, module).atom_quantity)
        ]
        return [*names, "forces", "stress"] if "energy" in names else names

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
            return self._read_out(batch)
        self.energy_readout  # noqa: B018  refuses models without energies before any work
        with torch.enable_grad():
            positions = batch.positions if batch.positions.requires_grad else batch.positions.detach().requires_grad_()
            batch = replace(batch, positions=positions)
            strain = torch.zeros_like(batch.cell, requires_grad=stress)
            outputs = self._read_out(batch.strained(strain) if stress else batch)
            inputs = [positions] * forces + [strain] * stress
            slopes = torch.autograd.grad(
                outputs["energy"].sum(), inputs, create_graph=differentiable, materialize_grads=True
            )
        if not differentiable:
            outputs = {name: value.detach() for name, value in outputs.items()}
        if forces:
            outputs["forces"] = -slopes[0]
        if stress:
            outputs["stress"] = slopes[-1] / torch.linalg.det(batch.cell).abs()[:, None, None]
        return outputs

    def _read_out(self, batch: Batch) -> dict[str, Tensor]:
        features = self.representation(batch)
        outputs: dict[str, Tensor] = {}
        for module in self.readouts.values():
            readout = cast(Readout, module)
            output = readout(features, batch)
            outputs[readout.quantity] = output.system
            outputs[readout.atom_quantity] = output.atoms
        return outputs

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
        except InputError as error:
            raise error.at(structure=place) from None
        self.check_elements(system.numbers, np.array([0, len(system.numbers)]), first=place)
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
            stress: also stress, in eV/Å³; by default where a structure is periodic in three directions.

        Returns:
            For one structure a mapping of names to numpy arrays (a scalar array for ``energy``), for a sequence a list
            of these, for a batch a mapping to tensors.

        Raises:
            InputError: see `collate`.
        """
        forces = forces and "energy" in self.readouts
        if isinstance(structures, Batch):
            bulk = bool(structures.pbc.all()) if stress is None else stress
            with torch.no_grad():
                return self(structures, forces=forces, stress=bulk and "energy" in self.readouts)
        if isinstance(structures, ase.Atoms | AtomicSystem):
            return self._predict_many([structures], forces, stress)[0]
        return self._predict_many(structures, forces, stress)

    def _predict_many(self, structures: Sequence[Structure], forces: bool, stress: bool | None) -> list[Arrays]:
        systems = [self._checked(entry, place) for place, entry in enumerate(structures)]
        results: list[Arrays] = []
        start = 0
        while start < len(systems):
            stop = start + self._chunk_length(systems, start)
            # Stress needs a volume, so open structures and crystals go in chunks of their own kind.
            bulk = bool(systems[start].pbc.all())
            stop = next((k for k in range(start, stop) if bool(systems[k].pbc.all()) != bulk), stop)
            try:
                batch = collate(systems[start:stop], self.cutoff).to(self.device)
            except InputError as error:
                place = None if error.structure is None else error.structure + start
                raise InputError(error.problem, structure=place, atom=error.atom) from None
            results += _split(self.predict(batch, forces=forces, stress=bulk if stress is None else stress), batch)
            start = stop
        return results

    def _chunk_length(self, systems: Sequence[AtomicSystem], start: int) -> int:
        """How many structures from ``start`` keep the estimated number of pairs within `PAIRS_PER_CHUNK`."""
        pairs, length = 0.0, 0
        while start + length < len(systems) and (pairs < PAIRS_PER_CHUNK or length == 0):
            pairs += _estimated_pairs(systems[start + length], self.cutoff)
            length += 1
        return max(length - 1, 1) if pairs > PAIRS_PER_CHUNK else length


def _estimated_pairs(system: AtomicSystem, cutoff: float | None) -> float:
    atoms = len(system.numbers)
    if cutoff is None or not system.pbc.all():
        return float(atoms * min(atoms, 150))
    density = atoms / max(abs(float(np.linalg.det(system.cell))), 1e-9)
    return atoms * density * 4.19 * cutoff**3


def _split(outputs: Mapping[str, Tensor], batch: Batch) -> list[Arrays]:
    sizes = torch.bincount(batch.system, minlength=batch.cell.shape[0]).tolist()
    parts: dict[str, Sequence[np.ndarray]] = {}
    for name, value in outputs.items():
        pieces = value.detach().cpu().split(sizes if quantity(name).per == "atom" else 1)
        parts[name] = [piece.numpy() if quantity(name).per == "atom" else piece.numpy()[0] for piece in pieces]
    return [{name: part[place] for name, part in parts.items()} for place in range(len(sizes))]
