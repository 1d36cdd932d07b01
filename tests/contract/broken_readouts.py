"""Readouts with one fault each, and the check that is there for it."""

from dataclasses import replace

import torch

from atomlens.ops.segment import segment_sum
from atomlens.readouts import Dipole, Polarizability, Scalar, SpatialExtent
from atomlens.readouts.centre import centred_batch


class OffCentre(Dipole):
    """About the mean position, as if all atoms weighed the same."""

    def total(self, terms, batch):
        ones = torch.ones_like(terms)
        counts = segment_sum(ones, batch.system, len(batch.cell))
        centres = segment_sum(batch.positions, batch.system, len(batch.cell)) / counts[:, None]
        return segment_sum(terms[:, None] * (batch.positions - centres[batch.system]), batch.system, len(batch.cell))


class FromOrigin(Dipole):
    """About the origin, which a structure's charges must not notice."""

    def total(self, terms, batch):
        return segment_sum(terms[:, None] * batch.positions, batch.system, len(batch.cell))


class TwiceAsLong(Dipole):
    """A magnitude that is not the vector's."""

    def derived(self, total):
        return {"dipole_magnitude": 2.0 * super().derived(total)["dipole_magnitude"]}


class Neutral(Dipole):
    """Takes every structure for a neutral one."""

    def terms(self, features, batch):
        return super().terms(features, replace(batch, charge=torch.zeros_like(batch.charge)))


class Communal(Dipole):
    """Conserves the charge of the batch instead of each structure's."""

    def terms(self, features, batch):
        charges = super().terms(features, batch)
        return charges + 1e-3 * (features.to(charges).sum(dim=1) - features.to(charges).sum(dim=1).mean())


class EqualShares(Dipole):
    """Gives absent atoms their share of the missing charge."""

    def terms(self, features, batch):
        return super().terms(features, replace(batch, weight=None))


class Secretive(Dipole):
    """Shares charges and does not say so."""

    def terms(self, features, batch):
        charges = super().terms(features, batch)
        return charges - charges.mean()


class HeldArms(Dipole):
    """Forgets that arms move with the atoms."""

    def total(self, terms, batch):
        return super().total(terms, replace(batch, positions=batch.positions.detach()))


class _OnceDifferentiable(torch.autograd.Function):
    """The square, whose derivative forgets that it depends on its argument."""

    @staticmethod
    def forward(ctx, values):
        ctx.save_for_backward(values)
        return values.square()

    @staticmethod
    def backward(ctx, slope):
        (values,) = ctx.saved_tensors
        return slope * 2.0 * values.detach()


class OnceDifferentiable(Dipole):
    """Charges without second derivatives."""

    def terms(self, features, batch):
        return super().terms(_OnceDifferentiable.apply(features), batch)


class Axial(Dipole):
    """Adds a product of two vectors, which a mirror turns the other way."""

    def total(self, terms, batch):
        arms = centred_batch(batch, "a dipole")
        second = segment_sum((terms.square() * arms.square().sum(dim=1))[:, None] * arms, batch.system, len(batch.cell))
        first = super().total(terms, batch)
        return first + 1e-2 * torch.linalg.cross(first, second)


class Biased(Dipole):
    """Prefers the x axis."""

    def total(self, terms, batch):
        return super().total(terms, batch) * torch.tensor([1.001, 1.0, 1.0], dtype=terms.dtype)


class Ordered(Dipole):
    """Knows the order of the atoms."""

    def terms(self, features, batch):
        return super().terms(features, batch) + 1e-3 * torch.arange(len(features), dtype=torch.float64)


class Coarse(Dipole):
    """Rounds charges to half precision where the network is in single."""

    def terms(self, features, batch):
        charges = super().terms(features, batch)
        return charges.to(torch.bfloat16).to(charges.dtype) if features.dtype == torch.float32 else charges


class Single(Dipole):
    """Answers in the precision of the weights."""

    def terms(self, features, batch):
        return super().terms(features, batch).to(features.dtype)


class Unsaved(Dipole):
    """Has a number that is written nowhere, too small for the fingerprint of the model file."""

    def terms(self, features, batch):
        return super().terms(features, batch) + 1e-7


class Scribbling(Dipole):
    """Writes positions in place, with the values that they have."""

    def total(self, terms, batch):
        with torch.no_grad():
            batch.positions.mul_(1.0)
        return super().total(terms, batch)


class FarSighted(Dipole):
    """Feels atoms beyond the neighbour list."""

    def terms(self, features, batch):
        sizes = torch.bincount(batch.system, minlength=len(batch.cell))[batch.system]
        return super().terms(features, batch) + torch.where(sizes == 2, 1e-3, 0.0)


class FromOriginSquared(SpatialExtent):
    """About the origin."""

    def total(self, terms, batch):
        return segment_sum(terms * batch.positions.square().sum(dim=1), batch.system, len(batch.cell))


class HeavyGhosts(SpatialExtent):
    """Counts absent atoms in the centre of mass."""

    def total(self, terms, batch):
        return super().total(terms, replace(batch, weight=None))


class Summed(Scalar):
    """A mean that forgets to divide."""

    def total(self, terms, batch):
        return segment_sum(terms, batch.system, len(batch.cell))


class Averaged(Scalar):
    """A sum that divides."""

    def total(self, terms, batch):
        ones = torch.ones_like(terms)
        return super().total(terms, batch) / segment_sum(ones, batch.system, len(batch.cell))


class Crowded(Scalar):
    """A mean that counts absent atoms."""

    def total(self, terms, batch):
        return super().total(terms, replace(batch, weight=None))


class Unbiased(Scalar):
    """Divides by n - 1, which an atom alone does not have."""

    def total(self, terms, batch):
        counts = torch.bincount(batch.system, minlength=len(batch.cell))
        return super().total(terms, batch) * counts / (counts - 1)


class Lopsided(Polarizability):
    """Adds to a tensor what it does not add to its transpose."""

    def terms(self, features, batch):
        tensors = super().terms(features, batch)
        return tensors + 1e-3 * torch.triu(tensors, diagonal=1)


class Grained(Polarizability):
    """Has an axis of its own."""

    def terms(self, features, batch):
        tensors = super().terms(features, batch)
        return tensors + 1e-3 * torch.diag(torch.tensor([1.0, 0.0, 0.0], dtype=tensors.dtype))


class Homesick(Polarizability):
    """Forgets in which image a neighbour is."""

    def _directed(self, left, right, batch, one):
        home = replace(batch, pairs=replace(batch.pairs, shift=None), vectors=None)
        distances = torch.linalg.vector_norm(home.pair_vectors(), dim=1)
        apart = distances > 0.5  # an atom's own images would lie on it
        pairs = replace(home.pairs, centre=home.pairs.centre[apart], neighbour=home.pairs.neighbour[apart])
        return super()._directed(left, right, replace(home, pairs=pairs), one)


class Abrupt(Polarizability):
    """Drops neighbours at its range while they still count."""

    def _directed(self, left, right, batch, one):
        pairs, reach = batch.pairs, self.cutoff
        near = torch.linalg.vector_norm(batch.pair_vectors(), dim=1) < reach
        shift = None if pairs.shift is None else pairs.shift[near]
        kept = replace(pairs, centre=pairs.centre[near], neighbour=pairs.neighbour[near], shift=shift)
        try:
            self.cutoff = 2.0 * reach
            return super()._directed(left, right, replace(batch, pairs=kept, vectors=None), one)
        finally:
            self.cutoff = reach


# The fault, the readouts of the model that has it (`contract_models.READOUTS`), and the check.
BROKEN_READOUTS = [
    (OffCentre, "dipole of free charges", "additivity"),
    (FromOrigin, "dipole of free charges", "translation"),
    (FromOrigin, "dipole of free charges", "single atom"),
    (TwiceAsLong, "dipole", "additivity"),
    (Neutral, "dipole", "charge conservation"),
    (Communal, "dipole", "batching"),
    (Communal, "dipole of free charges", "isolation"),
    (EqualShares, "dipole", "vanishing"),
    (Secretive, "dipole of free charges", "probe"),
    (HeldArms, "dipole", "gradcheck"),
    (OnceDifferentiable, "dipole", "gradgradcheck"),
    (Axial, "dipole", "reflection"),
    (Biased, "dipole", "rotation"),
    (Ordered, "dipole", "permutation"),
    (Coarse, "dipole", "rounding"),
    (Single, "dipole", "precision kept"),
    (Unsaved, "dipole", "saving"),
    (Scribbling, "dipole", "inputs unchanged"),
    (FarSighted, "dipole of free charges", "far apart"),
    (FromOriginSquared, "spatial extent", "translation"),
    (FromOriginSquared, "spatial extent", "single atom"),
    (HeavyGhosts, "spatial extent", "vanishing"),
    (Summed, "homo", "supercell"),
    (Summed, "homo", "additivity"),
    (Summed, "homo", "far apart"),
    (Averaged, "zero-point energy", "supercell"),
    (Crowded, "formation energy", "vanishing"),
    (Unbiased, "formation energy", "single atom"),
    (Lopsided, "polarisability", "symmetric tensor"),
    (Grained, "polarisability", "rotation"),
    (Homesick, "polarisability", "lattice shift"),
    (Homesick, "polarisability", "supercell"),
    (Abrupt, "polarisability", "cutoff value"),
    (Abrupt, "polarisability", "cutoff slope"),
    (Abrupt, "polarisability", "cutoff curvature"),
]
