"""Dipole moments and charges by MP2 of molecules of QM9."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from atomlens.data.dataset import Dataset
from atomlens.datasets.archives import Entry, flat_pieces
from atomlens.datasets.card import Card, NamedDataset
from atomlens.datasets.sources import found, one

_ENTRIES = (
    Entry("dipole", "e*bohr", "dipole moment, RI-MP2/def2-TZVP", "dipole"),
    Entry("mulliken_charges", "e", "Mulliken charges", "charges", per="atom"),
    Entry("loewdin_charges", "e", "Löwdin charges", per="atom"),
    Entry("gdb_index", None, "number of the molecule in QM9, from 1"),
)


def read_qm9_mp2(paths: tuple[Path, ...]) -> Iterator[Dataset]:
    """Read the flat numpy archive with ``dipole`` and ``mulliken_charges``; see `NamedDataset.read`."""
    patterns = ("qm9_mp2_dipoles_charges.npz",)
    with found(paths, patterns) as sources:
        yield from flat_pieces(one(sources, patterns).path, _ENTRIES, ("dipole", "mulliken_charges", "gdb_index"))


_CARD = Card(
    name="qm9-mp2",
    title="QM9 molecules without fluorine: dipole vectors and charges by MP2",
    citation=(
        "molecules: R. Ramakrishnan, P. O. Dral, M. Rupp, O. A. von Lilienfeld, Scientific Data 1, 140022 (2014), "
        "doi:10.1038/sdata.2014.22"
    ),
    licence="not stated",
    level="dipoles: RI-MP2/def2-TZVP, ORCA; charges: ORCA, level not stated; geometries: B3LYP/6-31G(2df,p)",
    labels={entry.key: entry.described for entry in _ENTRIES},
    structures=None,
    errata=(
        "Mulliken and Löwdin charges depend on the basis, and do not give the dipole moment back. They are there to be "
        "compared with learned charges, not to learn from.",
    ),
    advice=(
        "The dipole moment is a vector in the frame of the coordinates: train on 'dipole', which says more than its "
        "length.",
    ),
)
DATASETS: tuple[NamedDataset, ...] = (
    NamedDataset(
        _CARD,
        (),
        read_qm9_mp2,
        why_no_files="no official place of this collection is known",
    ),
)
