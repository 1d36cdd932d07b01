"""rMD17: 100,000 frames each of MD17's ten molecules, with energies and forces computed anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from atomlens.data.dataset import Column, Dataset
from atomlens.datasets.card import Card, NamedDataset, RemoteFile
from atomlens.datasets.molecule_frames import MOLECULES, REVISED, Trajectory, frames
from atomlens.datasets.npz_rows import npz_rows
from atomlens.datasets.sources import Source, found, one
from atomlens.errors import InputError

# Version 3 of figshare article 12672038. Size, MD5 and SHA-256 are those of the record as public notes give them
# ("cddeea2ec2c4..." is also the checksum that load-atoms expects).
_FILE = RemoteFile(
    name="rmd17.tar.bz2",
    url="https://figshare.com/ndownloader/files/23950376",
    size=1_066_301_513,
    md5="cb1a927628d96f2e966025da4fb63d18",
    sha256="cddeea2ec2c4b22a9de16a9a65a3eeedac5b29da9c99c20bbff0153912bf922b",
)
_SPLITS = tuple(f"splits/index_{part}_0{number}.csv" for number in range(1, 6) for part in ("train", "test"))


def _errata(name: str) -> tuple[str, ...]:
    torque = (
        "The net torque of a frame is not quite zero, up to 0.06 kcal/mol in aspirin and near 0.02 in the others, for "
        "the integration grid does not turn with the molecule. Kept as published."
    )
    missing = "99,988 frames, for MD17 has 99,999 of azobenzene and the calculations of 11 failed."
    return (missing, torque) if name == "azobenzene" else (torque,)


_ADVICE = (
    "Never train on more than 1,000 frames together, as the authors ask: frames of a trajectory are correlated, more "
    "of them add little, and a random test set becomes a test of interpolation in time.",
    "Of the five published splits (1,000 frames to train, 1,000 to test), the columns split_01 to split_05 say 1 for "
    "training, 2 for testing and 0 for neither; they are there when the official archive was read, not from "
    "repacked archives. Results in the literature are means over the five.",
    "The rows are not the trajectory in order; the column 'frame' tells the time, for splits by blocks.",
    "The archive of 1 GB holds all ten molecules and is unpacked anew at each import; unpack it once for several.",
)


def _reader(molecule: str) -> Callable[[tuple[Path, ...]], Iterator[Dataset]]:
    archives = (f"rmd17_{molecule}.npz", f"{molecule}.npz")
    wanted = Trajectory(
        molecule=molecule,
        composition=MOLECULES[molecule],
        layouts=REVISED,
        theory=lambda text: "ccsd" not in text.lower(),
    )

    def read(paths: tuple[Path, ...]) -> Iterator[Dataset]:
        with found(paths, archives + _SPLITS) as sources:
            archive = one([source for source in sources if source.path.suffix == ".npz"], archives)
            with npz_rows(archive.path, archive.name) as rows:
                # The lists count the frames of the official archive; in a repacked one they would name others.
                official = "old_indices" in rows.shapes
                count = rows.shapes["coords"][0] if official and "coords" in rows.shapes else 0
            lists = [source for source in sources if source.matches(_SPLITS)] if official else []
            yield from frames(archive.path, wanted, archive.name, split_columns(lists, count))

    return read


def split_columns(lists: Sequence[Source], count: int) -> dict[str, Column]:
    """The published splits as columns: 1 to train, 2 to test, 0 for neither.

    Args:
        lists: files ``index_train_01.csv``, ``index_test_01.csv``, ... with one row number a line, from 0.
        count: of the frames.

    Raises:
        InputError: a list holds something else.
    """
    columns: dict[str, np.ndarray] = {}
    for source in lists:
        part, number = source.inside.stem.removeprefix("index_").split("_")
        try:
            rows = np.loadtxt(source.path, dtype=np.float64, ndmin=1, delimiter=",").reshape(-1).astype(np.int64)
        except (ValueError, OSError) as error:
            raise InputError(f"is no list of row numbers ({error}); fetch it again", file=source.name) from None
        if len(rows) and rows.min() < 0:
            raise InputError(f"holds the row number {rows.min()}; fetch it again", file=source.name)
        # The lists were drawn once for all molecules; azobenzene has fewer frames than they reach to.
        columns.setdefault(f"split_{number}", np.zeros(count, dtype=np.int64))[rows[rows < count]] = (
            1 if part == "train" else 2
        )
    meaning = "published split: 1 training, 2 testing, 0 neither"
    return {key: Column(values, "system", None, meaning) for key, values in sorted(columns.items())}


def _named(molecule: str) -> NamedDataset:
    card = Card(
        name=f"rmd17-{molecule}",
        title=f"Revised MD17: {molecule} at 500 K",
        citation=(
            "A. S. Christensen, O. A. von Lilienfeld, Machine Learning: Science and Technology 1, 045018 (2020), "
            "doi:10.1088/2632-2153/abba6f; data doi:10.6084/m9.figshare.12672038; frames from S. Chmiela et al., "
            "Science Advances 3, e1603015 (2017)"
        ),
        licence="CC0",
        level="PBE/def2-SVP with very tight convergence and a very dense grid, ORCA; columns: MD17's PBE+vdW-TS",
        labels={
            "energies": "kcal/mol, total energy, taken as energy",
            "forces": "kcal/mol/Ang",
            "frame": "column: place in the trajectory of the original MD17, from 0 (old_indices)",
            "md17_energies": "column, kcal/mol: the original label (old_energies)",
            "md17_forces": "column, kcal/mol/Ang: the original label (old_forces)",
            "split_01": "columns split_01 to split_05: the published splits",
        },
        structures=99_988 if molecule == "azobenzene" else 100_000,
        errata=_errata(molecule),
        advice=_ADVICE,
    )
    return NamedDataset(card, (_FILE,), _reader(molecule))


DATASETS: tuple[NamedDataset, ...] = tuple(_named(molecule) for molecule in MOLECULES)
