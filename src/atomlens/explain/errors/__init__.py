"""Where a model is wrong."""
