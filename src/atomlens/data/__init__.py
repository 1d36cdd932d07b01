"""Structures, labels, neighbour lists, units and files."""
