"""Running commands in this process, as ``atomlens ...`` does, and files for them."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from ase.build import molecule

from atomlens.cli import main
from atomlens.model import Model, ModelConfig
from atomlens.model_file import save_model


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def error(self):
        """The one line that says what is wrong."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0].removeprefix("error: ")


@pytest.fixture
def run(monkeypatch, capsys):
    def run_command(*words):
        monkeypatch.setattr(sys, "argv", ["atomlens", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        shown = capsys.readouterr()
        return Result(code, shown.out, shown.err)

    return run_command


@pytest.fixture(scope="session")
def model_path(tmp_path_factory):
    torch.manual_seed(0)
    model = Model(ModelConfig.parse({"representation": {"name": "schnet", "features": 16}}), [1, 6, 8])
    model.energy_readout.set_scale(1.0, {1: -13.6, 6: -1030.0, 8: -2040.0})
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(model, path)
    return path


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """A trajectory in kcal/mol, with units that only the user knows; the bonds are springs."""
    rest = molecule("H2O")
    rng = np.random.default_rng(0)
    positions = rest.positions + 0.05 * rng.normal(size=(60, 3, 3))
    apart = positions[:, 1:] - positions[:, :1]
    lengths = np.linalg.norm(apart, axis=2, keepdims=True)
    pull = 600.0 * (lengths - 0.96) * apart / lengths
    forces = np.concatenate([pull.sum(axis=1, keepdims=True), -pull], axis=1)
    energies = 300.0 * np.square(lengths - 0.96).sum(axis=(1, 2)) - 50_000.0
    path = tmp_path_factory.mktemp("data") / "water.npz"
    np.savez(path, numbers=rest.numbers, positions=positions, E=energies, F=forces)
    return path


@pytest.fixture(scope="session")
def structures(tmp_path_factory):
    path = tmp_path_factory.mktemp("structures") / "structures.xyz"
    from ase.io import write

    write(path, [molecule("H2O"), molecule("CH3CH2OH"), molecule("CH4")])
    return path
