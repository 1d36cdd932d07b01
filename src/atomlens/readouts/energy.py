"""The energy as a sum over atoms (thesis eq. 3.8, 4.6; insights paper eq. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from atomlens.data.batch import Batch
from atomlens.data.dataset import Dataset
from atomlens.data.system import MAX_ATOMIC_NUMBER, symbol
from atomlens.errors import InputError
from atomlens.ops.segment import segment_sum
from atomlens.readouts.atom_network import AtomNetwork, AtomNetworkConfig
from atomlens.readouts.interface import Output, Readout
from atomlens.readouts.standardise import fit_offsets, known_label, spread


class EnergyConfig(AtomNetworkConfig):
    """Hyper-parameters of the energy readout."""

    name: Literal["energy"] = "energy"


class Energy(Readout):
    """E = Σ_i E_i with E_i = E_σ o(x_i) + E_ref[Z_i], in eV.

    The references hold what is known before learning: free atoms, or offsets fitted to the training set (`set_scale`).
    They are added, and all sums taken, in float64, so that large totals cost no precision.
    """

    quantity = "energy"
    atom_quantity = "atom_energies"
    references: Tensor
    free_atoms: Tensor

    def __init__(self, config: EnergyConfig, n_features: int, elements: Sequence[int]) -> None:
        super().__init__()
        self.network = AtomNetwork(config, n_features, 1, elements)
        self.register_buffer("references", torch.zeros(MAX_ATOMIC_NUMBER + 1, dtype=torch.float64))
        # The part of the references that is known from free atoms; NaN where it is not.
        self.register_buffer("free_atoms", torch.full((MAX_ATOMIC_NUMBER + 1,), torch.nan, dtype=torch.float64))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def set_scale(
        self, scale: float, references: Mapping[int, float], free_atoms: Mapping[int, float] | None = None
    ) -> None:
        """Set E_σ in eV and E_ref in eV per atomic number, with the free-atom energies in it where they are known."""
        self.scale.fill_(scale)
        self.references.zero_()
        self.free_atoms.fill_(torch.nan)
        for number, value in references.items():
            self.references[number] = value
        for number, value in (free_atoms or {}).items():
            self.free_atoms[number] = value

    @torch.no_grad()
    def shift(self, energy: float) -> None:
        """Raise every atom's learned term by ``energy`` in eV."""
        self.network.shift(energy / float(self.scale))

    def learned_terms(self, features: Tensor, batch: Batch) -> Tensor:
        """E_σ o(x_i) without references, (atoms,) in eV, float64."""
        raw = self.network(features, batch.numbers).squeeze(-1)
        return self._weighted(raw.to(torch.float64) * self.scale, batch)

    def terms(self, features: Tensor, batch: Batch) -> Tensor:
        """Atom energies (atoms,) in eV, float64."""
        return self.learned_terms(features, batch) + self._weighted(self.references[batch.numbers], batch)

    @torch.no_grad()
    def with_slopes(self, features: Tensor, batch: Batch) -> tuple[Output, Tensor] | None:
        """What `forward` gives and ∂E/∂x (atoms, F), without autograd; None where the network has no such pass."""
        hooked = self._forward_hooks or self._forward_pre_hooks  # of those who want to see `forward`
        found = None if batch.weight is not None or hooked else self.network.with_slopes(features, self.scale)
        if found is None:
            return None
        raw, slopes = found
        terms = raw.squeeze(-1).to(torch.float64) * self.scale + self.references[batch.numbers]
        return Output(self.total(terms, batch), terms), slopes

    def total(self, terms: Tensor, batch: Batch) -> Tensor:
        """Energies (systems,) in eV."""
        return segment_sum(terms, batch.system, batch.cell.shape[0])

    def derived(self, total: Tensor) -> dict[str, Tensor]:
        """None; forces and stress are the model's."""
        del total
        return {}

    def fit(self, data: Dataset, free_atoms: Mapping[int, float] | None) -> None:
        """References and E_σ, see `references_and_scale`.

        Raises:
            InputError: no energy is known, or a free-atom energy is missing for an element of the data.
        """
        references, scale = references_and_scale(data, free_atoms)
        self.set_scale(scale, references, free_atoms)

    def _weighted(self, terms: Tensor, batch: Batch) -> Tensor:
        return terms if batch.weight is None else terms * batch.weight.to(terms.dtype)


def references_and_scale(data: Dataset, free_atoms: Mapping[int, float] | None) -> tuple[dict[int, float], float]:
    """References by atomic number and E_σ, both in eV, from training structures.

    With free-atom energies the references are these plus the mean that is left per atom (E_μ of thesis 3.4); without,
    they are fitted per element. E_σ is the root mean square of force components times 1 Å where there are forces, else
    the standard deviation per atom of what the references leave.

    Raises:
        InputError: no energy is known, or a free-atom energy is missing for an element of the data.
    """
    name, known = known_label(data, ["energy"])
    counts, elements = data.counts()
    counts, energies = counts[known], np.asarray(data.labels[name])[known]
    sizes = counts.sum(axis=1)
    if free_atoms is None:
        offsets = fit_offsets(counts, energies)
    else:
        missing = [symbol(number) for number in elements if number not in free_atoms]
        if missing:
            raise InputError(
                f"references: no free-atom energy for {', '.join(missing)}; add it, or leave references out"
            )
        free = np.array([free_atoms[number] for number in elements])
        offsets = free + float(sizes @ (energies - counts @ free) / (sizes @ sizes))
    forces = data.labels.get("forces")
    if forces is not None and np.isfinite(forces).any():
        scale = float(np.sqrt(np.nanmean(np.square(forces))))
    else:
        scale = spread((energies - counts @ offsets) / sizes, energies / sizes)
    return dict(zip(elements, offsets.tolist(), strict=True)), scale if scale > 0 else 1.0
