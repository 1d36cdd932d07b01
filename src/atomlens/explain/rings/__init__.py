"""Energies of rings."""
