"""Whole pieces of work, as one call each: the study of a molecule, the explanation of a model."""
