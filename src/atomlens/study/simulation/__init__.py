"""Simulations from files to a folder with numbers, trajectories and a page: what ``atomlens simulate`` does."""

from atomlens.study.simulation.relaxing import relax_file
from atomlens.study.simulation.vibrating import vibrations_file

__all__ = ["relax_file", "vibrations_file"]
