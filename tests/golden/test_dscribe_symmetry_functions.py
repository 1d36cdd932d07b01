"""Symmetry functions against another program's, for molecules and crystals."""

import json
from pathlib import Path

import ase
import numpy as np
import pytest
import torch

from atomlens.data.batch import collate
from atomlens.data.system import AtomicSystem
from atomlens.ops.cfconv import use_kernels
from atomlens.representations import BehlerParrinello, BehlerParrinelloConfig

# dscribe 2.1.2; `make_dscribe_symmetry_functions.py` wrote it and says what its columns are.
GOLDEN = json.loads(Path(__file__).with_name("dscribe_symmetry_functions.json").read_text())


def features(entry):
    atoms = ase.Atoms(entry["numbers"], entry["positions"], cell=entry["cell"], pbc=entry["periodic"])
    config = BehlerParrinelloConfig(
        kind="element",
        cutoff=entry["cutoff"],
        radial=GOLDEN["g2"],
        angular=[[eta, 0.0] for eta in sorted({eta for eta, _, _ in GOLDEN["g4"]})],
        zetas=[1, 2, 4],
        lambdas=[-1, 1],
    )
    representation = BehlerParrinello(config, sorted(set(entry["numbers"])))
    representation.precision.data = representation.precision.data.to(torch.float64)
    return representation(collate([AtomicSystem.from_ase(atoms)], config.cutoff)).numpy()


def expected(entry):
    """dscribe's columns in our order: G1 left out, pairs of elements with the smaller one running slower."""
    elements, values = len(set(entry["numbers"])), np.array(entry["values"])
    radial = 1 + len(GOLDEN["g2"])
    parts = [values[:, element * radial + 1 : (element + 1) * radial] for element in range(elements)]
    for first in range(elements):
        for second in range(first, elements):
            place = elements * radial + (second * (second + 1) // 2 + first) * len(GOLDEN["g4"])
            parts.append(values[:, place : place + len(GOLDEN["g4"])])
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("kernels", ["reference", "numba"])
@pytest.mark.parametrize("name", GOLDEN["structures"])
def test_features_are_those_of_dscribe(name, kernels):
    entry = GOLDEN["structures"][name]
    with use_kernels(kernels):
        found = features(entry)
    # Both sum over j < k, so there is no factor; the file has twelve digits.
    np.testing.assert_allclose(found, expected(entry), rtol=2e-11, atol=1e-13)


def test_every_function_is_there_to_be_compared():
    assert all((np.abs(expected(entry)).max(axis=0) > 1e-4).mean() > 0.6 for entry in GOLDEN["structures"].values())
    assert any(entry["periodic"] for entry in GOLDEN["structures"].values())
