"""Ω as in thesis eq. 3.11-3.13, atom by atom and image by image: probes hear the features of the same pass."""

import math
from itertools import combinations

import numpy as np
import torch

from atomlens.model import Model, ModelConfig

ELEMENTS = [1, 6, 8]
REPRESENTATIONS = {
    "schnet": {"name": "schnet", "features": 12, "filters": 9},
    "schnet, mean": {"name": "schnet", "features": 12, "aggregation": "mean", "cutoff": 4.0},
    "dtnn": {"name": "dtnn", "features": 8, "factors": 11},
    "dtnn, cutoff": {"name": "dtnn", "features": 8, "factors": 11, "cutoff": 4.0, "cutoff_function": "smooth"},
    "wacsf": {"name": "behler_parrinello", "cutoff": 4.0, "n_radial": 5, "n_angular": 2, "zetas": [1, 4]},
}
PERIODIC = ("schnet", "schnet, mean", "dtnn, cutoff", "wacsf")
_TWO = math.log(2.0)


def make_model(kind="schnet", seed=0, **changes):
    """Random weights, biases included, large enough that every step bends; float64, with offsets as of totals."""
    readout = {"name": "energy", "networks": "per_element" if kind == "wacsf" else "shared"}
    torch.manual_seed(seed)
    config = {"representation": REPRESENTATIONS[kind] | changes, "readouts": [readout]}
    model = Model(ModelConfig.parse(config), ELEMENTS)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    if kind == "wacsf":
        model.representation.mean.copy_(torch.randn_like(model.representation.mean))
        model.representation.deviation.uniform_(0.5, 2.0)
    model.set_precision(torch.float64).refine_tables()
    model.energy_readout.set_scale(2.0, {1: -13.6, 6: -1030.0, 8: -2040.0})
    return model


def images(system, reach):
    """Positions of all images within some cells, and the atom that each is."""
    shifts = [
        np.array(shift) - reach if system.pbc.all() else np.zeros(3)
        for shift in (np.ndindex(*(2 * reach + 1,) * 3) if system.pbc.all() else [(0, 0, 0)])
    ]
    places = np.concatenate([system.positions + shift @ system.cell for shift in shifts])
    return places, np.tile(np.arange(len(system.numbers)), len(shifts))


def gain_by_hand(model, system, point, number, reach=6):
    """Ω of one probe at one point less that of the isolated probe, in eV, by exact functions of every distance."""
    places, owners = images(system, reach)
    with torch.no_grad():
        if model.config.representation.name == "behler_parrinello":
            heard, alone = _symmetry_functions(model, system, places, owners, point), 0.0 * model.representation.mean
            parts = [(part - model.representation.mean) / model.representation.deviation for part in (heard, alone)]
        else:
            run = _schnet if model.config.representation.name == "schnet" else _dtnn
            parts = [run(model.representation, system, places, owners, point, number, near) for near in (True, False)]
        return float(_energy(model, parts[0], number) - _energy(model, parts[1], number))


def _energy(model, features, number):
    readout = model.energy_readout
    network = readout.network
    layers = network.layers if network.layers is not None else network.per_element[str(number)]
    hidden = torch.nn.functional.softplus(layers[0](features)) - _TWO
    return 2.0 * layers[1](hidden)[..., 0]


def _schnet(schnet, system, places, owners, point, number, near):
    """Features of the probe after the last block; with ``near`` False it hears nothing."""
    x, probe = schnet.embedding(torch.from_numpy(system.numbers)), schnet.embedding(torch.tensor([number]))
    for index, block in enumerate(schnet.blocks):
        heard = block.atomwise_in(x)

        def residual(message, block=block):
            return block.atomwise_out(torch.nn.functional.softplus(block.atomwise_mid(message)) - _TWO)

        def message(place, heard=heard, index=index):
            distances = np.linalg.norm(places - place, axis=1)
            inside = torch.from_numpy((distances > 1e-9) & (distances < schnet.cutoff))
            filters = schnet.filters(torch.from_numpy(distances)[inside])[index]
            found = (heard[torch.from_numpy(owners)[inside]] * filters).sum(dim=0)
            mean = schnet.config.aggregation == "mean" and inside.any()
            return found / inside.sum() if mean else found

        told = message(point) if near else torch.zeros(schnet.config.n_filters, dtype=x.dtype)
        probe = probe + residual(told[None])
        x = x + residual(torch.stack([message(position) for position in system.positions]))
    return probe[0]


def _dtnn(dtnn, system, places, owners, point, number, near):
    """The same by thesis eq. 3.1, 3.2 and 3.7."""
    x, probe = dtnn.embedding(torch.from_numpy(system.numbers)), dtnn.embedding(torch.tensor(number))

    def fade(distance):
        if dtnn.cutoff is None:
            return 1.0
        u = distance / dtnn.cutoff
        return 0.0 if u >= 1.0 else 1 - 28 * u**6 + 48 * u**7 - 21 * u**8

    def message(place, factors):
        total = torch.zeros(dtnn.n_features, dtype=x.dtype)
        for source, owner in zip(places, owners, strict=True):
            distance = float(np.linalg.norm(source - place))
            if distance > 1e-9 and fade(distance) > 0.0:
                w = dtnn.filters(torch.tensor([distance], dtype=torch.float64))[0, 0]
                total += fade(distance) * torch.tanh(dtnn.to_features.weight @ (factors[owner] * w))
        return total

    for _ in range(dtnn.config.interactions):
        factors = dtnn.atom_factors(x)
        probe = probe + message(point, factors) if near else probe
        x = x + torch.stack([message(position, factors) for position in system.positions])
    return probe


def _symmetry_functions(model, system, places, owners, point):
    """wACSF of a probe by SPEC's formulas: sums over atoms and images, j < k, weighted by nuclear charges."""
    functions = model.representation.functions
    near = [
        (int(system.numbers[owner]), source - point)
        for source, owner in zip(places, owners, strict=True)
        if np.linalg.norm(source - point) < functions.cutoff
    ]

    def gaussian(d, eta, mu):
        inside = d < functions.cutoff
        return math.exp(-eta * (d - mu) ** 2) * (0.5 * math.cos(math.pi * d / functions.cutoff) + 0.5) * inside

    found = [sum(z * gaussian(np.linalg.norm(v), *one) for z, v in near) for one in functions.radial]
    for one in functions.gaussians:
        for zeta, sign in functions.angles:
            total = 0.0
            for (z_j, v_j), (z_k, v_k) in combinations(near, 2):
                lengths = [np.linalg.norm(v) for v in (v_j, v_k, v_j - v_k)]
                angle = (1.0 + sign * (v_j @ v_k) / (lengths[0] * lengths[1])) ** zeta
                total += z_j * z_k * 2.0 ** (1 - zeta) * angle * math.prod(gaussian(d, *one) for d in lengths)
            found.append(total)
    return torch.tensor(found, dtype=torch.float64)
