"""The file of structures that raised alarms, for labelling."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import ase
import numpy as np
from ase.io.extxyz import write_extxyz

from atomlens.errors import InputError
from atomlens.simulate.guard.alarm import UNITS, Alarm


class Suspects:
    """Appends to an extended XYZ file; every frame is on the disk when `append` returns.

    A frame has no energies or forces: those of the model are what is in doubt, and must not be trained on. Its comment
    says which step and copy it is from, which ``kind`` of alarm it raised, the ``value`` and ``limit`` of that, and
    ``why`` in a sentence; the column ``suspicious`` marks the atoms.

    Args:
        path: the file, made with its first frame.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.length = 0  # bytes that are there for good
        self._own = False  # whether what is in the file is this run's

    def check_new(self) -> None:
        """Refuse a file of another run.

        Raises:
            InputError: it is there already, and no run goes on.
        """
        if not self._own and self.path.exists() and self.path.stat().st_size:
            raise InputError("holds structures of another run; move it, or choose another file", file=str(self.path))

    def go_on(self, length: int) -> None:
        """Cut the file back to where it was at a checkpoint. One that was taken away for labelling is begun anew."""
        self._own = True
        there = self.path.stat().st_size if self.path.exists() else 0
        self.length = length if there >= length else there
        if there > self.length:
            os.truncate(self.path, self.length)

    def append(self, atoms: ase.Atoms, alarm: Alarm) -> None:
        """Write a structure and why it is there.

        Raises:
            InputError: the disk is full, or the folder cannot be written to; what was there before still is.
        """
        text = io.StringIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ASE, about names of its own results
            write_extxyz(text, [_frame(atoms, alarm)], write_results=False)
        data = text.getvalue().encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                self.length = min(self.length, file.tell())  # shorter where it was taken away for labelling
                file.truncate(self.length)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(
                f"a suspicious structure cannot be written ({error.strerror}); make room or choose another folder, and "
                "go on from the last checkpoint",
                file=str(self.path),
            ) from None
        self.length += len(data)


def _frame(atoms: ase.Atoms, alarm: Alarm) -> ase.Atoms:
    frame = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    frame.set_array("suspicious", np.isin(np.arange(len(atoms)), alarm.atoms).astype(int))
    frame.info = {name: atoms.info[name] for name in ("charge",) if name in atoms.info}
    frame.info |= {
        "step": alarm.step,
        "time_fs": alarm.time,
        "copy": alarm.copy,
        "kind": alarm.kind,
        "value": alarm.value,
        "limit": alarm.limit,
        "value_unit": UNITS[alarm.kind] or "1",
        "why": alarm.sentence,
    }
    return frame
