"""The table of scalars as comma-separated values."""

from __future__ import annotations

import csv
from pathlib import Path

from atomlens.data.dataset import Dataset
from atomlens.data.pieces import in_pieces
from atomlens.data.table import scalar_table
from atomlens.data.writers.rows import Advance
from atomlens.files import replacing


def write_csv(data: Dataset, path: Path, advance: Advance) -> None:
    """Write `scalar_table`, one row per structure with all digits; what is not known is left empty."""
    start = 0
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for piece in in_pieces(data):
            table = scalar_table(piece, start)
            if not start:
                writer.writerow(table)
            columns = [values.tolist() for values in table.values()]
            # A number that is not itself is NaN.
            writer.writerows([["" if value != value else value for value in row] for row in zip(*columns, strict=True)])
            start += len(piece)
            advance(len(piece))
