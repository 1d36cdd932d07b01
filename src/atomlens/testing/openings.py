"""Checks of the openings that explanations use: probes, weights of atoms, and features given from outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import ase
import numpy as np
import torch

from atomlens.data.batch import Batch, Pairs
from atomlens.data.quantities import quantity
from atomlens.model import Model
from atomlens.representations import Listener, ProbePairs
from atomlens.testing.multipoles import shares_charge
from atomlens.testing.result import Measurement, NotApplicable
from atomlens.testing.subject import Outputs, Subject, evaluate, largest
from atomlens.testing.symmetry import ROUNDINGS, compared
from atomlens.testing.tables import LIMITS

VALUE_OF_TABLES = LIMITS["value"]  # listeners may have tables of their own


def probe(subject: Subject) -> list[Measurement]:
    """An atom that hears and is not heard changes nothing for the others."""
    own = [readout.atom_quantity for readout in subject.readouts.values() if not shares_charge(readout)]
    if not own:
        raise NotApplicable("conserved charges are shared with a probe: every atom of a structure gets a part of them")
    names = [*own, "forces"]
    found: list[Measurement] = []
    for model, atoms, chosen, without in _one_removed(subject):
        batch = model.collate([atoms])
        batch = replace(batch, pairs=_kept(batch.pairs, batch.pairs.neighbour != chosen))
        expected = {name: without[name] for name in names if name in without}
        found += compared(subject, model, _others(model, batch, chosen), expected, atoms, " with a probe")
    return found


def listening(subject: Subject) -> list[Measurement]:
    """Probes that only listen get the features of atoms of a batch that nobody hears, whichever their element."""
    found: list[Measurement] = []
    for model in subject.precisions:
        for atoms in subject.everything:
            with torch.no_grad():
                listener = model.representation.listener(model.collate([atoms]))
                if listener is None:
                    raise NotApplicable("what probes hear has no way of its own")
                found += [_listened(model, listener, atoms, number) for number in model.elements[:2]]
    return found


def _listened(model: Model, listener: Listener, atoms: ase.Atoms, number: int) -> Measurement:
    """A probe of an element at the place of the atom in the middle, which is moved away a little."""
    joined, chosen = atoms + ase.Atoms(numbers=[number], positions=[[0.0, 0.0, 0.0]]), len(atoms)
    joined.positions[chosen] = atoms.positions[len(atoms) // 2] + [0.7, -0.4, 0.5]
    batch = model.collate([joined])
    batch = replace(batch, pairs=_kept(batch.pairs, batch.pairs.neighbour != chosen))
    own, vectors = batch.pairs.centre == chosen, batch.pair_vectors()
    none = torch.zeros_like(batch.pairs.centre[own])
    gained = listener(ProbePairs(1, none, batch.pairs.neighbour[own], vectors[own]))
    alone = _features(model, model.collate([ase.Atoms(numbers=[number], positions=[[0.0, 0.0, 0.0]])]))
    expected = _features(model, batch)[chosen:]
    size, eps = largest(expected), torch.finfo(model.dtype).eps
    limit = max(VALUE_OF_TABLES, ROUNDINGS * 100.0 * eps) * size
    return Measurement(f"features of a probe in {atoms.symbols}", largest(alone + gained - expected), limit, "")


def vanishing(subject: Subject) -> list[Measurement]:
    """An atom of weight zero is not there: the others have the terms, forces and totals that they have without it."""
    found: list[Measurement] = []
    for model, atoms, chosen, without in _one_removed(subject):
        batch = model.collate([atoms])
        weight = torch.ones(len(atoms), dtype=torch.float64, device=model.device)
        whole = _detached(model, replace(batch, weight=weight))
        found += compared(subject, model, whole, _detached(model, batch), atoms, " of weight one")
        weight[chosen] = 0.0
        rest = _others(model, replace(batch, weight=weight), chosen)
        found += compared(subject, model, rest, without, atoms, " with one weight zero")
    return found


def given_features(subject: Subject) -> list[Measurement]:
    """Features given from outside replace those looked up: an atom with another element's features becomes it."""
    model = subject.double
    embed = getattr(model.representation, "embed", None)
    if embed is None:
        raise NotApplicable("the representation has no element features to replace")
    found = []
    for atoms in subject.molecules:
        batch = model.collate([atoms])
        same = _features(model, replace(batch, initial_features=embed(batch)))
        plain = _features(model, batch)
        size = largest(plain)
        limit = ROUNDINGS * 100.0 * torch.finfo(torch.float64).eps * size
        found.append(Measurement(f"own features, {atoms.symbols}", largest(same - plain), limit, ""))
        # Reversed along the molecule, features meet other atoms; a model of one element has nothing to exchange.
        other = replace(batch, numbers=batch.numbers.flip(0))
        given = _features(model, replace(batch, initial_features=embed(other)))
        off = largest(given - _features(model, other))
        found.append(Measurement(f"exchanged features, {atoms.symbols}", off, limit, ""))
    return found


def _one_removed(subject: Subject) -> Iterator[tuple[Model, ase.Atoms, int, Outputs]]:
    """Models and molecules, an atom in the middle of each, and the outputs of the others without it."""
    for model in subject.precisions:
        for atoms in subject.molecules:
            if len(atoms) < 2:
                continue
            chosen = len(atoms) // 2
            yield model, atoms, chosen, evaluate(model, [atoms[np.arange(len(atoms)) != chosen]])


def _others(model: Model, batch: Batch, chosen: int) -> Outputs:
    """Totals, and outputs of all atoms but one; forces are of their own energies, for a probe's energy pulls too."""
    with torch.enable_grad():
        positions = batch.positions.clone().requires_grad_()
        outputs = model(replace(batch, positions=positions))
        rest = torch.arange(len(positions), device=positions.device) != chosen
        parts = {
            name: value.detach()[rest] if quantity(name).per == "atom" else value.detach()
            for name, value in outputs.items()
        }
        if "atom_energies" in outputs:
            total = outputs["atom_energies"][rest].sum()
            (slope,) = torch.autograd.grad(total, positions, materialize_grads=True, allow_unused=True)
            parts["forces"] = -slope[rest]
    return parts


def _detached(model: Model, batch: Batch) -> Outputs:
    outputs: Outputs = model(batch)
    return {name: value.detach() for name, value in outputs.items()}


def _features(model: Model, batch: Batch) -> torch.Tensor:
    features: torch.Tensor = model.representation(batch)
    return features.detach()


def _kept(pairs: Pairs, rows: torch.Tensor) -> Pairs:
    return Pairs(
        centre=pairs.centre[rows],
        neighbour=pairs.neighbour[rows],
        shift=None if pairs.shift is None else pairs.shift[rows],
    )
