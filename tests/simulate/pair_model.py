"""A model whose energy is known: Morse pairs, faded out before the cutoff. It has wells, which random networks lack."""

import torch

from atomlens.model import Model, ModelConfig

RADII = {1: 0.35, 6: 0.75, 8: 0.65, 14: 1.15}  # Å; bonds are the sums


class PairModel(Model):
    """E = ½ Σ_pairs D [(1 - e^{-a (d - r0)})² - 1] s(d), with s = cos²(πd/2c)."""

    depth, width = 3.0, 1.8  # eV, 1/Å

    def forward(self, batch, *, forces=False, stress=False, differentiable=False):
        with torch.enable_grad():
            vectors = batch.pair_vectors()
            vectors = vectors if vectors.requires_grad else vectors.detach().requires_grad_()
            radii = torch.zeros(119, dtype=torch.float64)
            for number, radius in RADII.items():
                radii[number] = radius
            of_atoms = radii[batch.numbers]
            distances = torch.linalg.vector_norm(vectors, dim=1)
            bonds = of_atoms[batch.pairs.centre] + of_atoms[batch.pairs.neighbour]
            # Listed pairs reach beyond the cutoff by the skin, where s would rise again.
            fade = torch.cos(0.5 * torch.pi * (distances / self.cutoff).clamp(max=1.0)) ** 2
            wells = (1.0 - torch.exp(-self.width * (distances - bonds))) ** 2 - 1.0
            pairs = 0.5 * self.depth * wells * fade
            terms = torch.zeros(len(batch.numbers), dtype=torch.float64).index_add(0, batch.pairs.centre, pairs)
            energy = torch.zeros(len(batch.cell), dtype=torch.float64).index_add(0, batch.system, terms)
            (slopes,) = torch.autograd.grad(energy.sum(), vectors, create_graph=differentiable, materialize_grads=True)
        outputs = {"energy": energy, "atom_energies": terms}
        if forces:
            outputs["forces"] = batch.net_forces(slopes)
        if stress:
            outputs["stress"] = batch.virial(slopes) / torch.linalg.det(batch.cell).abs()[:, None, None]
        return outputs if differentiable else {name: value.detach() for name, value in outputs.items()}


def pair_model(cutoff=4.0):
    """A model of H, C, O and Si in float64."""
    config = {"representation": {"name": "schnet", "features": 8, "interactions": 1, "cutoff": cutoff}}
    return PairModel(ModelConfig.parse(config), sorted(RADII)).set_precision(torch.float64)
