"""One file per program that is timed; each runs in a process of its own, with its own environment's Python.

``ours`` needs atomlens; ``spk`` and ``pyg`` need nothing of it, for they run where it is not installed.
"""
