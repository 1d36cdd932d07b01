import math

import numpy as np
import pytest
import torch
from toy import toy_data, toy_run

from atomlens.data.batching import BatchSource
from atomlens.errors import InputError
from atomlens.readouts.energy import references_and_scale
from atomlens.readouts.standardise import fit_offsets
from atomlens.training.losses import loss, loss_weights
from atomlens.training.schedules import learning_rate

PREDICTED = ["energy", "atom_energies", "forces", "stress"]


class TestLoss:
    def test_equals_equation_5_7_written_out(self):
        data = toy_data(count=3)
        batch, targets = BatchSource(data, 4.0, ["energy", "forces"]).batch(np.arange(3))
        rng = np.random.default_rng(0)
        energy, forces = rng.normal(size=3), rng.normal(size=(9, 3))
        expected = 0.0
        for k in range(3):
            off = forces[3 * k : 3 * k + 3] - data.labels["forces"][3 * k : 3 * k + 3]
            squares = [float(row @ row) for row in off]
            expected += (0.3 * (energy[k] - data.labels["energy"][k]) ** 2 + 2.0 * sum(squares) / 3) / 3
        outputs = {"energy": torch.from_numpy(energy), "forces": torch.from_numpy(forces)}
        found = loss(outputs, targets, batch, {"energy": 0.3, "forces": 2.0}, {"energy": 0.5})
        assert float(found) == pytest.approx(expected / 0.5**2, rel=1e-12)

    def test_default_weights_follow_the_labels(self):
        assert loss_weights(None, ["energy", "forces"], PREDICTED) == {"energy": 0.01, "forces": 1.0}
        assert loss_weights(None, ["energy"], PREDICTED) == {"energy": 1.0}
        assert loss_weights(None, ["energy", "forces", "stress"], PREDICTED) == {"energy": 0.01, "forces": 1.0}

    def test_a_weight_of_zero_leaves_the_term_out(self):
        assert loss_weights({"energy": 0.0, "forces": 1.0}, [], PREDICTED) == {"forces": 1.0}

    @pytest.mark.parametrize(
        ("weights", "words"),
        [
            ({"dipole": 1.0}, "cannot be trained"),
            ({"energy": -1.0}, "not negative"),
            ({"energy": 0.0}, "every weight is zero"),
        ],
    )
    def test_bad_weights(self, weights, words):
        with pytest.raises(InputError, match=words):
            loss_weights(weights, ["energy", "forces"], PREDICTED)


class TestSchedules:
    def test_documents_decay(self):
        config = toy_run(schedule="exponential").training
        assert learning_rate(config, 0, 0.0) == 1e-3
        assert learning_rate(config, 200_000, 0.5) == pytest.approx(1e-3 * 0.96**2)

    def test_cosine_rises_and_falls(self):
        config = toy_run(warmup=0.1).training
        rates = [learning_rate(config, 0, share) for share in np.linspace(0, 1, 101)]
        assert max(rates) == pytest.approx(1e-3)
        assert int(np.argmax(rates)) == 10
        assert rates[0] == rates[-1] == pytest.approx(1e-5)
        middle = 1e-3 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * 0.5)))
        assert rates[55] == pytest.approx(middle)


class TestOffsets:
    def test_recovers_offsets_that_the_compositions_fix(self):
        rng = np.random.default_rng(0)
        counts = rng.integers(0, 6, size=(50, 3)).astype(float)
        offsets = np.array([-13.6, -1030.0, -2040.0])
        np.testing.assert_allclose(fit_offsets(counts, counts @ offsets), offsets, rtol=1e-10)

    def test_single_composition_gives_the_mean_per_atom_to_each(self):
        counts = np.tile([6.0, 2.0, 1.0], (10, 1))
        energies = np.random.default_rng(0).normal(-4200.0, 0.1, 10)
        np.testing.assert_allclose(fit_offsets(counts, energies), energies.mean() / 9, rtol=1e-12)

    def test_free_atoms_plus_the_mean_that_is_left(self):
        data = toy_data()
        references, _ = references_and_scale(data, {1: -10.0, 8: -500.0})
        left = (data.labels["energy"].mean() + 520.0) / 3
        assert references[1] == pytest.approx(-10.0 + left)
        assert references[8] == pytest.approx(-500.0 + left)

    def test_scale_is_the_spread_of_forces(self):
        data = toy_data()
        _, scale = references_and_scale(data, None)
        assert scale == pytest.approx(math.sqrt((data.labels["forces"] ** 2).mean()))

    def test_missing_free_atom_is_named(self):
        with pytest.raises(InputError, match="no free-atom energy for O"):
            references_and_scale(toy_data(), {1: -10.0})
