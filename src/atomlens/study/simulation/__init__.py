"""Simulations from files to a folder with numbers, trajectories and a page: what ``atomlens simulate`` does."""

from atomlens.study.simulation.comparing import compare_runs
from atomlens.study.simulation.converging import converge_file
from atomlens.study.simulation.moving import run_file
from atomlens.study.simulation.relaxing import relax_file
from atomlens.study.simulation.vibrating import vibrations_file

__all__ = ["compare_runs", "converge_file", "relax_file", "run_file", "vibrations_file"]
