"""How models share properties out over atoms, and whether others share alike."""
