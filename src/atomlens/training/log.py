"""The log of a run: a CSV file always, TensorBoard beside it where that is installed."""

from __future__ import annotations

import csv
import importlib.util
import io
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from atomlens.files import write_text

COLUMNS = ("epoch", "step", "seconds", "learning_rate", "train_loss", "validation_loss")
Row = dict[str, float]


class TrainingLog:
    """Appends one row per epoch: `COLUMNS` and ``validation_<quantity>_mae`` in internal units.

    Args:
        folder: where ``log.csv`` and ``tensorboard/`` go.
        quantities: what is validated.
        rows: rows to keep from an earlier session; later ones were written after its last checkpoint and come again.
        tensorboard: log there as well, if installed.
    """

    def __init__(self, folder: Path, quantities: Sequence[str], rows: int, *, tensorboard: bool) -> None:
        self._path = folder / "log.csv"
        self._columns = [*COLUMNS, *(f"validation_{name}_mae" for name in quantities)]
        kept = read_log(self._path, rows) if rows else []
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self._columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        write_text(self._path, buffer.getvalue())
        self._board: Any = None
        if tensorboard and importlib.util.find_spec("tensorboard") is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of its dependencies; nothing that a user could mend
                from torch.utils.tensorboard import SummaryWriter

                self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=rows + 1)

    def append(self, row: Row) -> None:
        """Write one row to the end."""
        with self._path.open("a", encoding="utf-8", newline="") as file:
            csv.DictWriter(file, self._columns, lineterminator="\n").writerow(row)
        if self._board is not None:
            for name, value in row.items():
                if name not in ("epoch", "step"):
                    self._board.add_scalar(name, value, int(row["epoch"]))

    def close(self) -> None:
        """Flush what TensorBoard holds back."""
        if self._board is not None:
            self._board.close()


def read_log(path: Path, rows: int | None = None) -> list[Row]:
    """The first ``rows`` rows of ``log.csv`` (None: all); quantities that a run has no labels for are left out."""
    with path.open(encoding="utf-8", newline="") as file:
        # Later rows are not looked at: a killed process may have left half a line.
        return [{name: float(v) for name, v in row.items() if v} for row in islice(csv.DictReader(file), rows)]
