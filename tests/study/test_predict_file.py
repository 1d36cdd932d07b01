"""What is said before a large structure is predicted."""

import ase.build
import numpy as np
import torch

from atomlens.data.neighbours import neighbour_list
from atomlens.data.system import AtomicSystem
from atomlens.model import Model, ModelConfig
from atomlens.study import run


def test_memory_is_told_beforehand(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    silicon = ase.build.bulk("Si", cubic=True).repeat(4)
    silicon.rattle(0.05, seed=0)
    silicon.write(tmp_path / "silicon.xyz", format="extxyz")
    model = Model(ModelConfig(), [14])
    monkeypatch.setattr(run, "_LARGE", 100)
    monkeypatch.setattr(run, "_WORTH_A_WORD", 1000)
    found = run.predict_file(model, tmp_path / "silicon.xyz", tmp_path / "out.npz")
    pairs = len(neighbour_list(AtomicSystem.from_ase(silicon), 5.0)[0])
    said = capsys.readouterr()
    assert f"largest structure: 512 atoms, {pairs:,} pairs; takes about" in said.out + said.err
    assert np.isfinite(found[0]["forces"]).all()


def test_small_structures_need_no_word(tmp_path, capsys):
    ase.build.molecule("H2O").write(tmp_path / "water.xyz", format="extxyz")
    run.predict_file(Model(ModelConfig(), [1, 8]), tmp_path / "water.xyz", tmp_path / "out.npz")
    said = capsys.readouterr()
    assert "largest structure" not in said.out + said.err
