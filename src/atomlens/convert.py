"""Weights of SchNet that its first author published, as a model.

A numpy archive holds plain float arrays; kernels are stored (inputs, outputs): y = x W + b. With t for a block:

    filter_t(d)   = ssp(ssp(rbf(d) SchNetFilter.Dense) SchNetFilter.Dense_1)
    v_i           = Σ_j filter_t(d_ij) ∘ (x_j CFConv.in2fac)
    x_i          += ssp(v_i CFConv.fac2out + b) Dense + b
    e_i           = ssp(x_i Dense + b) Dense_1 + b
    E             = Σ_i (e_i std_per_atom + mean_per_atom + atomref[Z_i])

over all pairs j ≠ i, in kcal/mol. Blocks, features, Gaussians and the width of the output network are read from the
arrays' shapes; what these do not tell is an argument of `convert_published`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch
from ase.data import atomic_numbers
from torch import Tensor, nn

from atomlens.config import nearest
from atomlens.data.readers.archive import load_arrays
from atomlens.data.system import MAX_ATOMIC_NUMBER
from atomlens.data.units import KCAL_PER_MOL
from atomlens.errors import InputError
from atomlens.model import Model, ModelConfig
from atomlens.representations.schnet import Interaction, SchNet

Arrays = Mapping[str, np.ndarray]

# The arrays and the meaning of their axes; equal meanings must have equal lengths.
_TOP = {
    "atom_embedding.embeddings.W": ("elements", "features"),
    "Dense.W": ("features", "hidden"),
    "Dense.b": ("hidden",),
    "Dense_1.W": ("hidden", "one"),
    "Dense_1.b": ("one",),
    "mean_per_atom": ("one",),
    "std_per_atom": ("one",),
    "atomref.embeddings.W": ("elements", "one"),
}
_BLOCK = {
    "SchNetFilter.Dense.W": ("gaussians", "features"),
    "SchNetFilter.Dense.b": ("features",),
    "SchNetFilter.Dense_1.W": ("features", "features"),
    "SchNetFilter.Dense_1.b": ("features",),
    "CFConv.in2fac.W": ("features", "features"),
    "CFConv.fac2out.W": ("features", "features"),
    "CFConv.fac2out.b": ("features",),
    "Dense.W": ("features", "features"),
    "Dense.b": ("features",),
}


def convert_published(
    path: str | Path,
    *,
    elements: Sequence[str] = ("C",),
    gaussian_range: float = 20.0,
    gaussian_gamma: float = 10.0,
    filter_activations: Literal[1, 2] = 2,
    precision: Literal["float32", "float64"] = "float64",
    licence: str | None = None,
) -> Model:
    """A model with the published weights of a numpy archive; without a cutoff, so for open structures.

    The defaults are those of the two models of the fullerene C20 (thesis 5.3). The archive stores float32; evaluated in
    float64 it gives the energies that float64 gives elsewhere.

    Args:
        path: the ``.npz`` file; its energies are in kcal/mol, the model's in eV.
        elements: chemical symbols of what the weights were trained on. The arrays do not tell: every element has a row
            of the embedding, trained or not. The model refuses all others.
        gaussian_range: where the last Gaussian is centred, in Å; the first is at 0, and they are evenly spaced.
        gaussian_gamma: γ of exp(-γ (d - μ)²), in Å⁻².
        filter_activations: 2: an activation after the second filter layer as well.
        precision: of the model's weights.
        licence: of the weights, for the model file.

    Raises:
        InputError: the file is no such archive, holds pickled objects, lacks arrays or has others, or their shapes or
            numbers cannot be; an element has no row; an argument makes no sense.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError("no such file; check the path", file=str(path))
    try:
        numbers = _atomic_numbers(elements)
        arrays = load_arrays(path)
        blocks, sizes = _check(arrays)
        if max(numbers) >= sizes["elements"]:
            raise InputError(f"has embeddings up to element {sizes['elements'] - 1} only; leave out heavier ones")
        representation = {
            "name": "schnet",
            "features": sizes["features"],
            "interactions": blocks,
            "cutoff": None,
            "cutoff_function": "none",
            "gaussian_range": gaussian_range,
            "gaussian_spacing": _spacing(gaussian_range, sizes["gaussians"]),
            "gaussian_gamma": gaussian_gamma,
            "filter_activations": filter_activations,
        }
        readout = {"name": "energy", "hidden": sizes["hidden"]}
        config = ModelConfig.parse({"representation": representation, "readouts": [readout]})
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, and overwritten at once
            model = Model(config, numbers).set_precision(_dtype(precision))
        _fill(model, arrays)
        model.refine_tables()
    except InputError as error:
        raise error.at(file=str(path)) from None
    model.provenance = _provenance(path, arrays, licence)
    return model


def _check(arrays: Arrays) -> tuple[int, dict[str, int]]:
    """The number of blocks and the lengths of axes by meaning, of arrays that are complete and fit each other."""
    blocks = 0
    while any(name.startswith(_block(blocks)) for name in arrays):
        blocks += 1
    expected = _TOP | {_block(block) + name: axes for block in range(max(blocks, 1)) for name, axes in _BLOCK.items()}
    for name in expected:
        if name not in arrays:
            raise InputError(f"has no array '{name}', so it is no published SchNet; give an archive of its weights")
    for name in arrays:
        if name not in expected:  # a network with more parts is another network
            raise InputError(f"holds '{name}', which published SchNets do not have; give an archive of their weights")
    sizes = {"one": 1}
    for name, axes in expected.items():
        values = arrays[name]
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise InputError(f"'{name}' does not hold finite real numbers; copy or write the archive again")
        lengths = dict(zip(axes, values.shape, strict=False))
        if values.ndim != len(axes) or tuple(lengths[axis] for axis in axes) != values.shape:
            raise InputError(f"'{name}' has shape {values.shape} where ({', '.join(axes)}) is needed; repair it")
        for axis, length in lengths.items():
            if sizes.setdefault(axis, length) != length:
                raise InputError(f"'{name}' has shape {values.shape} where '{axis}' is {sizes[axis]}; repair it")
    if min(sizes.values()) < 1 or sizes["gaussians"] < 2 or sizes["elements"] > MAX_ATOMIC_NUMBER + 1:
        raise InputError(f"has sizes that no published SchNet has ({sizes}); give an archive of its weights")
    if not arrays["std_per_atom"] > 0:
        raise InputError("'std_per_atom' is not above zero; copy or write the archive again")
    return blocks, sizes


def _block(block: int) -> str:
    return f"interaction_{block}."


def _atomic_numbers(elements: Sequence[str]) -> list[int]:
    known = [name for name, number in atomic_numbers.items() if number]
    for name in elements:
        if name not in known:
            raise InputError(f"'{name}' is no chemical symbol; {nearest(name, known)}")
    if not elements:
        raise InputError("no elements given; name those that the weights were trained on")
    return sorted({int(atomic_numbers[name]) for name in elements})


def _spacing(gaussian_range: float, gaussians: int) -> float:
    if not 0.0 < gaussian_range < math.inf:
        raise InputError(f"the Gaussians' range must be a length above 0 Å, not {gaussian_range}")
    return gaussian_range / (gaussians - 1)


def _dtype(precision: str) -> torch.dtype:
    if precision not in ("float32", "float64"):
        raise InputError(f"unknown precision '{precision}'; choose float32 or float64")
    return torch.float32 if precision == "float32" else torch.float64


@torch.no_grad()
def _fill(model: Model, arrays: Arrays) -> None:
    """Copy every array to its place; the only spot that knows both layouts."""
    schnet = cast(SchNet, model.representation)
    embedding = _tensor(arrays, "atom_embedding.embeddings.W")
    schnet.embedding.weight.zero_()
    schnet.embedding.weight[: len(embedding)] = embedding
    for place, entry in enumerate(schnet.blocks):
        source, block = _block(place), cast(Interaction, entry)
        filters = schnet.filters
        filters.first_weight[place] = _tensor(arrays, f"{source}SchNetFilter.Dense.W")
        filters.first_bias[place] = _tensor(arrays, f"{source}SchNetFilter.Dense.b")
        filters.second_weight[place] = _tensor(arrays, f"{source}SchNetFilter.Dense_1.W")
        filters.second_bias[place] = _tensor(arrays, f"{source}SchNetFilter.Dense_1.b")
        block.atomwise_in.weight.copy_(_tensor(arrays, f"{source}CFConv.in2fac.W").T)
        _fill_dense(block.atomwise_mid, arrays, f"{source}CFConv.fac2out")
        _fill_dense(block.atomwise_out, arrays, f"{source}Dense")
    layers = [module for module in model.energy_readout.modules() if isinstance(module, nn.Linear)]
    for layer, name in zip(layers, ("Dense", "Dense_1"), strict=True):
        _fill_dense(layer, arrays, name)
    mean, deviation = (float(arrays[name][0]) for name in ("mean_per_atom", "std_per_atom"))
    free = {number: float(arrays["atomref.embeddings.W"][number, 0]) for number in model.elements}
    model.energy_readout.set_scale(
        deviation * KCAL_PER_MOL,
        {number: (mean + value) * KCAL_PER_MOL for number, value in free.items()},
        {number: value * KCAL_PER_MOL for number, value in free.items() if value},  # zero: none was used
    )


def _fill_dense(layer: nn.Linear, arrays: Arrays, name: str) -> None:
    layer.weight.copy_(_tensor(arrays, f"{name}.W").T)
    layer.bias.copy_(_tensor(arrays, f"{name}.b"))


def _tensor(arrays: Arrays, name: str) -> Tensor:
    return torch.from_numpy(arrays[name].astype(np.float64))


def _provenance(path: Path, arrays: Arrays, licence: str | None) -> dict[str, object]:
    source = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "format": "numpy archive of published SchNet weights",
        "precision": str(np.result_type(*arrays.values())),
        "energy_unit": "kcal/mol",
    }
    return {
        "converted_from": source | ({} if licence is None else {"licence": licence}),
        "versions": {"atomlens": version("atomlens"), "torch": torch.__version__, "numpy": np.__version__},
    }
