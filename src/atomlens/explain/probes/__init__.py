"""Atoms that hear a structure and are not heard, and the fields that they map."""
