"""The C20 fullerene's molecular dynamics, on which SchNet's forces and path integrals were first shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from atomlens.data.dataset import Dataset
from atomlens.data.readers import read_dataset
from atomlens.datasets.card import Card, NamedDataset
from atomlens.datasets.molecule_frames import PIECE, PLAIN, SGDML, Trajectory, frames
from atomlens.datasets.npz_rows import npz_rows
from atomlens.datasets.sources import Source, found, one
from atomlens.errors import InputError

_WANTED = Trajectory("the fullerene C20", "C20", (SGDML, PLAIN), rows_in_time=True)
# A folder of models beside the geometry is no ambiguity: their archives are not asked for by name.
_PATTERNS = ("c20*.npz", "C20*.npz", "c20*.extxyz", "C20*.extxyz", "c20*.xyz", "C20*.xyz", "c20*.db", "C20*.db")


def read_c20(paths: tuple[Path, ...]) -> Iterator[Dataset]:
    """The user's own trajectory: a numpy archive in kcal/mol, or a file that states its units.

    Raises:
        InputError: it is a single geometry, of something else than C20, or does not state its units.
    """
    with found(paths, _PATTERNS) as sources:
        source = one(sources, _PATTERNS)
        if source.path.suffix != ".npz":
            yield from _stated(source)
            return
        _refuse_geometry(source)
        yield from frames(source.path, _WANTED, source.name)


def _refuse_geometry(source: Source) -> None:
    with npz_rows(source.path, source.name) as archive:
        shapes = archive.shapes
    if "positions" in shapes and "energies" not in shapes:
        structures = shapes["positions"][0] if len(shapes["positions"]) == 3 else 1
        raise InputError(
            f"is {structures} geometry of C20 without energies or forces, which serves to start simulations from; "
            "no official place of the trajectory is known, so train on your own (GFN-xTB by 'atomlens study', or your "
            "program)",
            file=source.name,
        )


def _stated(source: Source) -> Iterator[Dataset]:
    """A file of another format, which is read as a whole and must state its units."""
    data = read_dataset(source.path)
    if not (data.numbers == 6).all() or not (data.n_atoms == 20).all():
        odd = int(
            np.flatnonzero([not (len(system.numbers) == 20 and (system.numbers == 6).all()) for system in data])[0]
        )
        raise InputError("is not C20; give its trajectory", file=source.name, structure=odd)
    if "energy" not in data.labels and "forces" not in data.labels:
        raise InputError(
            "states no energies and forces with their units; import it with --label energy=KEY:UNIT instead",
            file=source.name,
        )
    for start in range(0, len(data), PIECE):
        piece = data.subset(np.arange(start, min(start + PIECE, len(data))))
        yield replace(piece, metadata={**piece.metadata, "source": source.name})


_CARD = Card(
    name="c20",
    title="Molecular dynamics of the fullerene C20 at 500 K",
    citation=(
        "K. T. Schütt, H. E. Sauceda, P.-J. Kindermans, A. Tkatchenko, K.-R. Müller, The Journal of Chemical Physics "
        "148, 241722 (2018), doi:10.1063/1.5019779"
    ),
    licence="not published",
    level="PBE with the van-der-Waals correction of Tkatchenko and Scheffler, FHI-aims",
    labels={
        "energies": "kcal/mol, total energy (also E, as sGDML names it)",
        "forces": "kcal/mol/Ang (also F)",
        "frame": "column: place in the trajectory, from 0",
    },
    structures=None,
    errata=(
        "The reference calculations were never published; two models that were trained on them are, with a geometry.",
    ),
    advice=(
        "Split by blocks of time: frames of one short trajectory of a stiff cage are much alike.",
        "The published models' bond lengths in the relaxed cage are 1.41, 1.45 and 1.52 Å: compare yours.",
    ),
)

DATASETS: tuple[NamedDataset, ...] = (
    NamedDataset(
        _CARD,
        (),
        read_c20,
        why_no_files=(
            "no official place of the trajectory of C20 is known; give your own with --from (a numpy archive with "
            "numbers, positions, energies and forces in kcal/mol, or a file that states its units)"
        ),
    ),
)
