"""Data sets by name: where they come from, what is known about them, and how their files are read."""
