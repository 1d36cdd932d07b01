"""Readouts whose networks answer with numbers set by hand, so that everything after the network can be worked out."""

from dataclasses import replace

import numpy as np
import torch

from atomlens.data.batch import collate
from atomlens.data.system import AtomicSystem
from atomlens.readouts import READOUTS

FEATURES = 4

# Water with the oxygen at the origin, both bonds 1 Å long (0.8² + 0.6² = 1) and hydrogens 1.6 Å apart.
WATER = np.array([[0.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.8, 0.6, 0.0]])
# With masses of 15.999 and 1.008 u the centre of mass lies at y = 2 · 1.008 · 0.6 / 18.015 = 1.2096 / 18.015 Å.
CENTRE = 1.2096 / 18.015


def water(charge=0.0, shift=(0.0, 0.0, 0.0), cutoff=5.0):
    """A batch of one water molecule."""
    system = AtomicSystem(
        np.array([8, 1, 1]), WATER + np.asarray(shift), np.zeros((3, 3)), np.zeros(3, dtype=bool), charge
    )
    return collate([system], cutoff)


def readout_of(values, elements=(1, 8), **config):
    """A readout of double precision whose network gives each element the outputs set for it, whatever the features.

    Args:
        values: outputs of the network (a number or a list) by atomic number.
        elements: that the readout knows.
        config: of the readout.
    """
    settings = READOUTS[config["name"]][0].parse({**config, "networks": "per_element"})
    readout = READOUTS[config["name"]][1](settings, FEATURES, elements).double()
    for number, layers in readout.network.per_element.items():
        for layer in layers:
            layer.weight.data.zero_()
            layer.bias.data.zero_()
        layers[-1].bias.data += torch.tensor(values[int(number)], dtype=torch.float64)
    return readout


def read_out(readout, batch):
    """The readout's answer to arbitrary features."""
    features = torch.linspace(-1.0, 1.0, len(batch.numbers) * FEATURES, dtype=torch.float64)
    return readout(features.reshape(-1, FEATURES), batch)


def faded(batch, atom, weight):
    """The batch with one atom of that weight."""
    weights = torch.ones(len(batch.numbers), dtype=torch.float64)
    weights[atom] = weight
    return replace(batch, weight=weights)
