"""Networks of the atoms' terms: one hidden layer, one output."""

from atomlens.ops.atom_network.network import atom_terms, atom_terms_and_slopes, network_in_steps

__all__ = ["atom_terms", "atom_terms_and_slopes", "network_in_steps"]
