"""Latent charges, their potential, and other physics beside them."""
