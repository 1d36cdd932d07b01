"""Figures and the self-contained page of a study; both work on plain arrays and dictionaries."""
