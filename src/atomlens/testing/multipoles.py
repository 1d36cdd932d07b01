"""Checks of what charges and tensors must be, whatever the network says."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from atomlens.data.quantities import quantity
from atomlens.readouts import Readout
from atomlens.testing.result import Measurement, NotApplicable
from atomlens.testing.subject import Subject, evaluate, largest, readouts_of

CHARGES = (0.0, 1.0, -2.0)  # e, of whole structures


def shares_charge(readout: Readout) -> bool:
    """Whether a readout spreads over all atoms of a structure what their charges lack of the structure's."""
    return bool(getattr(readout, "conserve_charge", False))


def charge_conservation(subject: Subject) -> list[Measurement]:
    """Latent charges add up to the structure's charge, neutral or not, also where an atom is half faded."""
    if not any(shares_charge(readout) for readout in subject.readouts.values()):
        raise NotApplicable("the model does not promise that charges are conserved")
    found = []
    for model in subject.precisions:
        for atoms in subject.molecules:
            batch = model.collate([atoms])
            weight = torch.ones(len(atoms), dtype=torch.float64, device=model.device)
            weight[0] = 0.5
            for charge in CHARGES:
                charged = replace(batch, charge=torch.full_like(batch.charge, charge))
                for what, changed in (("", charged), (", an atom half faded", replace(charged, weight=weight))):
                    found += _off_charge(model(changed), readouts_of(model), charge, f"{atoms.symbols}{what}")
    return found


def _off_charge(
    outputs: dict[str, Tensor], readouts: dict[str, Readout], charge: float, place: str
) -> list[Measurement]:
    found = []
    for readout in readouts.values():
        if shares_charge(readout):
            terms = outputs[readout.atom_quantity].detach()
            # Sums of n numbers, taken twice, and the missing charge that n atoms get alike.
            sizes = float(terms.abs().sum()) + abs(charge)
            limit = 4.0 * (len(terms) + 4) * torch.finfo(torch.float64).eps * sizes
            found.append(Measurement(f"charge of {place}, {charge:g} e", abs(float(terms.sum()) - charge), limit, "e"))
    return found


def symmetric_tensor(subject: Subject) -> list[Measurement]:
    """Tensors of structures and of atoms equal their transposes."""
    found = []
    for model in subject.precisions:
        for atoms in subject.everything:
            for name, value in evaluate(model, [atoms]).items():
                if quantity(name).shape == (3, 3):
                    off = largest(value - value.transpose(1, 2))
                    # Products commute exactly; sums may be taken in another order for each component.
                    limit = 8.0 * len(atoms) * torch.finfo(torch.float64).eps * largest(value)
                    found.append(Measurement(f"{name} of {atoms.symbols}", off, limit, quantity(name).unit))
    if not found:
        raise NotApplicable("the model predicts no tensor")
    return found
