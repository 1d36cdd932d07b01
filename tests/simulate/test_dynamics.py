import numpy as np
import pytest
import torch
from ase.build import molecule

from atomlens.model import Model, ModelConfig
from atomlens.simulate import Calculator, EnergyTrace, constant_energy_run


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    made = Model(ModelConfig.parse({"representation": {"name": "schnet", "features": 16}}), [1, 8])
    return made.set_precision(torch.float64)


def test_energy_error_falls_with_the_square_of_the_time_step(model):
    water = molecule("H2O")
    steps = np.array([0.4, 0.2, 0.1])
    errors = [
        constant_energy_run(model, water, temperature=300, duration=20, timestep=step, title="t").total.std()
        for step in steps
    ]
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert order == pytest.approx(2.0, abs=0.15)


def test_structure_given_is_left_alone(model):
    water = molecule("H2O")
    before = water.positions.copy()
    constant_energy_run(model, water, temperature=300, duration=2, title="t")
    np.testing.assert_array_equal(water.positions, before)
    assert water.calc is None


def test_a_run_that_breaks_says_when_and_why(model, monkeypatch):
    # A limit just below water's bond of 0.969 Å, so that its vibration runs into it.
    monkeypatch.setattr("atomlens.data.neighbours.MIN_DISTANCE", 0.96)
    trace = constant_energy_run(model, molecule("H2O"), temperature=300, duration=500, title="t")
    assert trace.broken is not None
    assert "broke after" in trace.broken
    assert "closer than 0.96 Å" in trace.broken
    assert len(trace.times) == len(trace.total) < 1001


def test_drift_is_the_slope_per_picosecond():
    times = np.linspace(0, 2000, 50)
    trace = EnergyTrace(times, np.zeros(50), 3e-6 * times)
    assert trace.drift == pytest.approx(3e-3)


def test_nothing_is_computed_twice(model, monkeypatch):
    calls = []
    plain = Calculator.calculate

    def counted(self, *arguments):
        calls.append(arguments)
        plain(self, *arguments)

    monkeypatch.setattr(Calculator, "calculate", counted)
    constant_energy_run(model, molecule("H2O"), temperature=300, duration=5, timestep=0.5, title="t")
    assert len(calls) == 11
