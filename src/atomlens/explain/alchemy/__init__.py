"""Paths from molecule to molecule through mixtures of elements."""
