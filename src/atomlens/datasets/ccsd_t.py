"""Frames of MD17's molecules by coupled cluster: ethanol and its fellows, as the sGDML paper published them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from atomlens.data.dataset import Column, Dataset
from atomlens.datasets.card import Card, NamedDataset, RemoteFile
from atomlens.datasets.molecule_frames import MOLECULES, PLAIN, SGDML, Trajectory, frames
from atomlens.datasets.npz_rows import npz_rows
from atomlens.datasets.sources import found
from atomlens.errors import InputError

_URL = "http://quantum-machine.org/gdml/data/npz/"
# Stem of the files, level, frames to train and to test together (as torch_geometric's table has them).
_SETS = {
    "ethanol": ("ethanol_ccsd_t", "CCSD(T)/cc-pVTZ", 2_000),
    "malonaldehyde": ("malonaldehyde_ccsd_t", "CCSD(T)/cc-pVDZ", 1_500),
    "toluene": ("toluene_ccsd_t", "CCSD(T)/cc-pVDZ", 1_501),
    "benzene": ("benzene_ccsd_t", "CCSD(T)/cc-pVDZ", 1_500),
    "aspirin": ("aspirin_ccsd", "CCSD/cc-pVDZ", 1_500),
}
_SUBSETS = {"train": 1, "test": 2}
_MEANING = "published split: 1 training, 2 testing"


def _reader(molecule: str) -> Callable[[tuple[Path, ...]], Iterator[Dataset]]:
    stem = _SETS[molecule][0]
    patterns = (*(f"{stem}-{subset}.npz" for subset in _SUBSETS), f"{molecule}_ccsdt.npz", f"{molecule}_ccsd.npz")
    wanted = Trajectory(
        molecule=molecule,
        composition=MOLECULES[molecule],
        layouts=(SGDML, PLAIN),
        theory=lambda text: "ccsd" in text.lower(),
    )

    def read(paths: tuple[Path, ...]) -> Iterator[Dataset]:
        with found(paths, patterns) as sources:
            parts = [(subset_of(source.inside.stem), source) for source in sources]
            numbers = [number for number, _ in parts]
            if len(parts) > 1 and sorted(numbers) != [1, 2]:
                names = ", ".join(source.name for source in sources)
                raise InputError(f"there are several archives of {molecule} ({names}); name one, or its two parts")
            for number, source in sorted(parts, key=lambda part: part[0]):
                with npz_rows(source.path, source.name) as rows:
                    count = next((rows.shapes[key][0] for key in ("R", "positions") if rows.shapes.get(key)), 0)
                columns = {"subset": Column(np.full(count, number), "system", None, _MEANING)} if number else {}
                yield from frames(source.path, wanted, source.name, columns)

    return read


def subset_of(stem: str) -> int:
    """1 for the file to train on, 2 for the one to test on, 0 where its name does not tell."""
    return next((number for subset, number in _SUBSETS.items() if stem.endswith(f"-{subset}")), 0)


def _named(molecule: str) -> NamedDataset:
    stem, level, count = _SETS[molecule]
    method = "CCSD" if level.startswith("CCSD/") else "CCSD(T)"
    card = Card(
        name=f"{'ccsd' if method == 'CCSD' else 'ccsd-t'}-{molecule}",
        title=f"{method} energies and forces of {molecule}, from dynamics at 500 K",
        citation=(
            "S. Chmiela, H. E. Sauceda, K.-R. Müller, A. Tkatchenko, Nature Communications 9, 3887 (2018), "
            "doi:10.1038/s41467-018-06169-2"
        ),
        licence="not stated at the official place",
        level=f"{level}, all electrons, Psi4; frames of molecular dynamics by PBE+vdW-TS",
        labels={
            "E": "kcal/mol, total energy, taken as energy",
            "F": "kcal/mol/Ang, taken as forces",
            "subset": f"column: {_MEANING}",
        },
        structures=count,
        advice=(
            "Use the published parts (column 'subset'): 1,000 frames to train, the rest to test. Repacked archives do "
            "not tell them apart, and have no such column.",
            "The order in time is not published, so that blocks cannot be made.",
        ),
    )
    return NamedDataset(card, (RemoteFile(f"{stem}.zip", f"{_URL}{stem}.zip"),), _reader(molecule))


DATASETS: tuple[NamedDataset, ...] = tuple(_named(molecule) for molecule in _SETS)
