"""MD17: molecular dynamics of ten molecules, with the labels that it was published with."""

from __future__ import annotations

from atomlens.datasets.card import Card, NamedDataset, RemoteFile
from atomlens.datasets.molecule_frames import MOLECULES, ORIGINAL, Trajectory, molecule_reader

_URL = "http://quantum-machine.org/gdml/data/npz/"
_CITATION = (
    "S. Chmiela, A. Tkatchenko, H. E. Sauceda, I. Poltavsky, K. T. Schütt, K.-R. Müller, Science Advances 3, e1603015 "
    "(2017), doi:10.1126/sciadv.1603015"
)
_CITATION_2018 = (
    "S. Chmiela, H. E. Sauceda, K.-R. Müller, A. Tkatchenko, Nature Communications 9, 3887 (2018), "
    "doi:10.1038/s41467-018-06169-2"
)
# Official file and its number of frames, as torch_geometric's table of MD17 has them; no checksums are published.
_FILES = {
    "aspirin": ("md17_aspirin.npz", 211_762),
    "azobenzene": ("azobenzene_dft.npz", 99_999),
    "benzene": ("md17_benzene2017.npz", 627_983),
    "benzene2018": ("benzene2018_dft.npz", 49_863),
    "ethanol": ("md17_ethanol.npz", 555_092),
    "malonaldehyde": ("md17_malonaldehyde.npz", 993_237),
    "naphthalene": ("md17_naphthalene.npz", 326_250),
    "paracetamol": ("paracetamol_dft.npz", 106_490),
    "salicylic": ("md17_salicylic.npz", 320_231),
    "toluene": ("md17_toluene.npz", 442_790),
    "uracil": ("md17_uracil.npz", 133_770),
}
# Largest net force (kcal/mol/Å) and net torque (kcal/mol) of the 8,633 frames of rMD17's repacked archives.
_NET = {"ethanol": (0.34, 0.34), "naphthalene": (0.50, 0.72), "benzene": (0.0004, 0.16)}
_NOISE = (
    "The labels are noisy: the self-consistent field was converged loosely and the integration grid was coarse "
    "(Christensen & von Lilienfeld 2020). Kept as published; rMD17 has the same frames computed anew."
)
_ADVICE = (
    "Prefer rmd17-{name}: published errors far below 1 kcal/mol/Å are errors against the noise of these labels.",
    "Do not train on more than 1,000 frames: they follow each other in time at 0.5 fs, so that more of them adds "
    "little, and random test frames lie close to training frames. Split by blocks of the trajectory (column 'frame').",
)


def _errata(name: str) -> tuple[str, ...]:
    net = _NET.get(name)
    noticed = (
        f"The forces of a frame do not add up to zero: up to {net[0]:g} kcal/mol/Å, torque up to {net[1]:g} kcal/mol. "
        "Kept as published."
        if net
        else "Net forces and torques are zero here, which says nothing about the noise: they were projected out."
    )
    twins = (
        "Two benzene trajectories are called MD17: that of 2017 (627,983 frames; rMD17 is made from it) and that of "
        "2018 (49,863 frames, newly computed). Results on one say nothing about the other."
    )
    if name == "benzene2018":
        return (twins,)
    return (_NOISE, noticed, twins) if name == "benzene" else (_NOISE, noticed)


def _named(name: str) -> NamedDataset:
    file, count = _FILES[name]
    molecule = "benzene" if name == "benzene2018" else name
    revised = name != "benzene2018"
    card = Card(
        name=f"md17-{name}",
        title=f"MD17: molecular dynamics of {molecule} at 500 K{'' if revised else ', of 2018'}",
        citation=_CITATION if revised and name not in ("azobenzene", "paracetamol") else _CITATION_2018,
        licence="not stated at the official place; the labels of rMD17's frames are in its record, under CC0",
        level="PBE with the van-der-Waals correction of Tkatchenko and Scheffler, FHI-aims",
        labels={
            "E": "kcal/mol, total energy, taken as energy",
            "F": "kcal/mol/Ang, taken as forces",
            "frame": "column: place in the trajectory, from 0",
        },
        structures=count,
        errata=_errata(name),
        advice=tuple(text.format(name=name) for text in _ADVICE) if revised else _ADVICE[1:],
    )
    patterns = (file, f"md17_{name}.npz", f"{name}_dft.npz", f"rmd17_{name}.npz", f"{name}.npz")
    wanted = Trajectory(
        molecule=molecule,
        composition=MOLECULES[molecule],
        layouts=ORIGINAL if revised else ORIGINAL[:1],
        rows_in_time=True,
        theory=lambda text: "ccsd" not in text.lower(),
    )
    return NamedDataset(card, (RemoteFile(file, _URL + file),), molecule_reader(wanted, patterns))


DATASETS: tuple[NamedDataset, ...] = tuple(_named(name) for name in _FILES)
