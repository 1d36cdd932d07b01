"""Broken models are caught by the check that is there for it: every check can fail."""

from dataclasses import replace

import pytest
import torch
from broken_readouts import BROKEN_READOUTS
from contract_models import make_model, small_cases

from atomlens.model import Model
from atomlens.ops.radial import no_cutoff
from atomlens.representations import SchNet
from atomlens.testing import CHECKS, Subject


class Sloped(SchNet):
    """Knows where x points."""

    def forward(self, batch):
        features = super().forward(batch)
        return features + 1e-3 * batch.pair_vectors()[:, 0].square().sum().sqrt().to(features.dtype)


class Anchored(SchNet):
    """Uses absolute positions."""

    def forward(self, batch):
        return super().forward(batch) + 1e-4 * batch.positions[:, :1].to(torch.float32)


class Handed(SchNet):
    """Tells left from right: adds the triple product of three neighbours, in the order of the list."""

    def forward(self, batch):
        features = super().forward(batch)
        vectors = batch.pair_vectors()
        if len(vectors) < 3:
            return features
        first = vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        return features + 1e-2 * torch.linalg.det(first[:3]).to(features.dtype)


class Counting(SchNet):
    """Knows the order of the atoms."""

    def forward(self, batch):
        features = super().forward(batch)
        return features + 1e-3 * torch.arange(len(features), dtype=features.dtype)[:, None]


class Leaking(SchNet):
    """Centres its features over the whole batch."""

    def forward(self, batch):
        features = super().forward(batch)
        return features - 0.01 * features.mean(dim=0)


class LeakingGradient(SchNet):
    """Values stay apart; gradients do not."""

    def forward(self, batch):
        features = super().forward(batch)
        spill = features.mean()
        return features + (spill - spill.detach())


class Homesick(SchNet):
    """Forgets in which image a neighbour is."""

    def forward(self, batch):
        return super().forward(replace(batch, pairs=replace(batch.pairs, shift=None), vectors=None))


class CellBound(SchNet):
    """Counts the atoms in the cell."""

    def forward(self, batch):
        features = super().forward(batch)
        counts = torch.bincount(batch.system, minlength=len(batch.cell)).to(features.dtype)
        periodic = batch.pbc.any(dim=1).to(features.dtype)
        return features + (1e-3 * counts * periodic)[batch.system][:, None]


class Lonely(SchNet):
    """Divides by the number of neighbours, of which a lone atom has none."""

    def forward(self, batch):
        features = super().forward(batch)
        counts = torch.bincount(batch.pairs.centre, minlength=len(features)).to(features.dtype)
        return features / counts[:, None] * counts.mean()


class FarSighted(SchNet):
    """Feels atoms beyond the neighbour list."""

    def forward(self, batch):
        features = super().forward(batch)
        sizes = torch.bincount(batch.system, minlength=len(batch.cell))[batch.system]
        return features + torch.where(sizes == 2, 1e-3, 0.0).to(features.dtype)[:, None]


class Scribbling(SchNet):
    """Centres the positions of its input in place, with the same values where they are centred already."""

    def forward(self, batch):
        with torch.no_grad():
            batch.positions.mul_(1.0)
        return super().forward(batch)


class Drifting(SchNet):
    """Changes a weight with every call."""

    def forward(self, batch):
        with torch.no_grad():
            self.embedding.weight[100] += 1e-3
        return super().forward(batch)


class Deaf(SchNet):
    """Ignores features given from outside."""

    def embed(self, batch):
        return self.embedding(batch.numbers)


class Unfading(SchNet):
    """Ignores the weights of atoms."""

    def forward(self, batch):
        return super().forward(replace(batch, weight=None))


class Mutual(SchNet):
    """Takes every pair both ways, as if lists were always symmetric."""

    def forward(self, batch):
        pairs = batch.pairs
        both = replace(
            pairs,
            centre=torch.cat([pairs.centre, pairs.neighbour]),
            neighbour=torch.cat([pairs.neighbour, pairs.centre]),
            shift=None if pairs.shift is None else torch.cat([pairs.shift, -pairs.shift]),
        )
        return super().forward(replace(batch, pairs=both, vectors=None))


class HardOfHearing(SchNet):
    """Forgets the image that a probe hears last."""

    def listener(self, batch):
        whole = self._own.listener(batch)

        def listen(pairs):
            return whole(replace(pairs, probe=pairs.probe[:-1], atom=pairs.atom[:-1], vectors=pairs.vectors[:-1]))

        return listen

    @property
    def _own(self):
        """The same weights as a plain SchNet, for which there is a way to listen."""
        plain = SchNet(self.config)
        plain.load_state_dict(self.state_dict())
        return plain.to(self.embedding.weight.dtype)


class Rounded(SchNet):
    """Rounds its features to half precision."""

    def forward(self, batch):
        features = super().forward(batch)
        return features.to(torch.bfloat16).to(features.dtype) if features.dtype == torch.float32 else features


class Frozen(SchNet):
    """Cuts its features from the graph of second derivatives."""

    def forward(self, batch):
        return _OnceDifferentiable.apply(super().forward(batch))


class _OnceDifferentiable(torch.autograd.Function):
    """The square, whose derivative forgets that it depends on its argument."""

    @staticmethod
    def forward(ctx, features):
        ctx.save_for_backward(features)
        return features.square()

    @staticmethod
    def backward(ctx, slope):
        (features,) = ctx.saved_tensors
        return slope * 2.0 * features.detach()


class Doubling(torch.autograd.Function):
    """Has the derivative of half of itself."""

    @staticmethod
    def forward(ctx, features):  # noqa: ARG004  torch's signature
        return 2.0 * features

    @staticmethod
    def backward(ctx, slope):  # noqa: ARG004
        return slope


class Halved(SchNet):
    """A hand-written derivative that is wrong by a factor."""

    def forward(self, batch):
        return Doubling.apply(super().forward(batch))


class Unsaved(SchNet):
    """Has a number that is written nowhere, too small for the fingerprint of the model file."""

    def __init__(self, config):
        super().__init__(config)
        self.shift = 3e-6

    def forward(self, batch):
        return super().forward(batch) + self.shift


class OppositeForces(Model):
    def forward(self, batch, **options):
        outputs = super().forward(batch, **options)
        return {name: -value if name == "forces" else value for name, value in outputs.items()}


class SlightlyWrongForces(Model):
    def forward(self, batch, **options):
        outputs = super().forward(batch, **options)
        return {name: value * (1.0 + 1e-4) if name == "forces" else value for name, value in outputs.items()}


class TwiceTheStress(Model):
    def forward(self, batch, **options):
        outputs = super().forward(batch, **options)
        return {name: 2.0 * value if name == "stress" else value for name, value in outputs.items()}


class ShiftedTerms(Model):
    def forward(self, batch, **options):
        outputs = super().forward(batch, **options)
        return {name: value + 1e-9 if name == "atom_energies" else value for name, value in outputs.items()}


class SingleOutputs(Model):
    def forward(self, batch, **options):
        return {name: value.to(torch.float32) for name, value in super().forward(batch, **options).items()}


REPRESENTATIONS = [
    (Sloped, "rotation"),
    (Anchored, "translation"),
    (Anchored, "lattice shift"),
    (Handed, "reflection"),
    (Counting, "permutation"),
    (Leaking, "batching"),
    (Leaking, "isolation"),
    (LeakingGradient, "isolation"),
    (Homesick, "lattice shift"),
    (CellBound, "supercell"),
    (Lonely, "single atom"),
    (FarSighted, "far apart"),
    (Scribbling, "inputs unchanged"),
    (Drifting, "inputs unchanged"),
    (Deaf, "given features"),
    (Unfading, "vanishing"),
    (Mutual, "probe"),
    (HardOfHearing, "listening"),
    (Rounded, "rounding"),
    (Frozen, "gradgradcheck"),
    (Halved, "gradcheck"),
    (Halved, "forces order"),
    (Halved, "stress order"),
    (Unsaved, "saving"),
]
MODELS = [
    (OppositeForces, "forces"),
    (OppositeForces, "forces order"),
    (SlightlyWrongForces, "forces"),
    (SlightlyWrongForces, "forces order"),
    (TwiceTheStress, "stress"),
    (TwiceTheStress, "stress order"),
    (ShiftedTerms, "additivity"),
    (SingleOutputs, "precision kept"),
]


def broken_representation(kind, seed=0):
    model = make_model(seed=seed)
    broken = kind(model.config.representation)
    broken.load_state_dict(model.representation.state_dict(), strict=False)
    model.representation = broken
    return model


def broken_model(kind):
    model = make_model()
    model.__class__ = kind
    return model


@pytest.mark.parametrize(("kind", "check"), REPRESENTATIONS)
def test_broken_representation_is_caught(kind, check):
    model = broken_representation(kind)
    result = CHECKS[check].run(Subject.of(model, small_cases(model)))
    assert result.passed is False, str(result)
    assert not result.detail.startswith("raised"), result.detail


@pytest.mark.parametrize(("kind", "check"), MODELS)
def test_broken_model_is_caught(kind, check):
    model = broken_model(kind)
    result = CHECKS[check].run(Subject.of(model, small_cases(model)))
    assert result.passed is False, str(result)
    assert not result.detail.startswith("raised"), result.detail


@pytest.mark.parametrize("check", ["cutoff value", "cutoff slope", "cutoff curvature"])
def test_dropped_cutoff_function_is_caught(check):
    model = make_model()
    filters = model.representation.filters
    filters._fade, filters.grid = no_cutoff, replace(filters.grid, fade="none")
    assert CHECKS[check].run(Subject.of(model)).passed is False


def test_cosine_that_promises_two_derivatives_is_caught():
    model = make_model("cosine cutoff")
    model.representation.config = make_model().config.representation
    subject = Subject.of(model)
    assert CHECKS["cutoff slope"].run(subject).passed is True
    assert CHECKS["cutoff curvature"].run(subject).passed is False


@pytest.mark.parametrize("check", ["cutoff value", "cutoff slope"])
def test_mean_that_promises_continuity_is_caught(check):
    model = make_model("mean aggregation")
    model.representation.continuous_forces = True
    assert CHECKS[check].run(Subject.of(model)).passed is False


class Coarse(Model):
    """Tables that nobody refines."""

    def refine_tables(self, margin=0.5):
        del margin  # it would raise the number of knots
        return [self.representation.filters.certify()]


def test_coarse_tables_are_caught():
    model = make_model()
    model.representation.filters.grid = replace(model.representation.filters.grid, intervals=64)
    model.__class__ = Coarse
    assert CHECKS["tables"].run(Subject.of(model)).passed is False


def test_every_check_has_been_seen_to_fail():
    caught = {check for _, check in REPRESENTATIONS + MODELS} | {check for _, _, check in BROKEN_READOUTS}
    assert caught | {"cutoff value", "cutoff slope", "cutoff curvature", "tables"} == set(CHECKS)
