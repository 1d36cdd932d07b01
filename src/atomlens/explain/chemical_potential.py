"""The local chemical potential Ω(r): what a probe atom at r would feel (thesis eq. 3.11-3.13; insights paper 3.2).

The probe hears the molecule and is not heard, so the molecule stays as it was. Ω is a view of what the network has
learned and not the energy of a real atom brought there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import ase
import numpy as np
import torch
from ase.data import atomic_numbers
from ase.geometry import complete_cell
from scipy.spatial import cKDTree
from torch import Tensor

from atomlens.data.batch import Batch, Pairs
from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain.baseline import Baseline, energy_baseline
from atomlens.explain.field import Plane
from atomlens.model import Model, Structure
from atomlens.progress import track

PROBES_PER_CHUNK = 5_000  # more bring nothing, fewer repeat the molecule's own share of the work too often
PAIRS_PER_CHUNK = 500_000  # bounds the memory where a probe hears many atoms: about 100 MB
FEW_IMAGES = 100  # up to which distances from all of them are found faster than by a tree


@dataclass(frozen=True)
class PotentialCut:
    """Ω over a plane."""

    x: np.ndarray  # (columns,) Å, along the plane's u
    y: np.ndarray  # (rows,) Å, along the plane's v
    values: np.ndarray  # (rows, columns) eV, Ω of the probe, relative to the baseline
    nearest_atom: np.ndarray  # (rows, columns) Å, distance of a point from the nearest atom
    isolated: float  # eV, Ω of a probe that hears nothing, relative to the same baseline
    probe: str
    plane: Plane
    relative_to: Baseline

    def to_dict(self) -> dict[str, Any]:
        """Facts for JSON, in eV; extremes are taken farther than 1 Å from every atom, where the network has data."""
        outside = self.values[self.nearest_atom > 1.0] - self.isolated
        return {
            "probe": self.probe,
            "unit": "eV",
            "definition": "Ω(r), the energy term of a probe atom that hears the molecule and is not heard",
            "plane": self.plane.description,
            "origin": self.plane.origin.tolist(),
            "u": self.plane.u.tolist(),
            "v": self.plane.v.tolist(),
            "relative_to": "the isolated probe",
            "isolated": self.isolated,
            "minimum": float(outside.min()),
            "maximum": float(outside.max()),
        }


def local_chemical_potential(
    model: Model,
    structure: Structure,
    points: np.ndarray,
    probe: str = "H",
    *,
    relative_to: Baseline | None = None,
    title: str = "",
) -> np.ndarray:
    """Ω of a probe atom at points in space.

    Args:
        model: any model with an energy readout.
        structure: a molecule or crystal; a crystal acts with all its images.
        points: (points, 3) in Å.
        probe: chemical symbol of an element that the model knows.
        relative_to: what the probe's energy is measured from; see `explain.baseline.energy_baseline`.
        title: shown with a progress bar, if given.

    Returns:
        (points,) in eV

    Raises:
        InputError: the model never saw the probe's element, or refuses the structure.
    """
    number = _probe_number(model, probe)
    baseline, _ = energy_baseline(model, relative_to)
    return _probed(model, structure, points, number, title)[0] - baseline[number]


def potential_cut(
    model: Model,
    structure: Structure,
    probe: str = "H",
    *,
    plane: Plane | None = None,
    spacing: float = 0.08,
    relative_to: Baseline | None = None,
    title: str = "",
) -> PotentialCut:
    """Ω over a plane (by default the one nearest to all atoms), on a grid of ``spacing`` Å.

    Raises:
        InputError: see `local_chemical_potential`.
    """
    number = _probe_number(model, probe)
    baseline, chosen = energy_baseline(model, relative_to)
    plane = plane or Plane.through(structure)
    x, y, grid = plane.grid(spacing)
    values, distances = (
        part.reshape(grid.shape[:2]) for part in _probed(model, structure, grid.reshape(-1, 3), number, title)
    )
    lone = ase.Atoms(numbers=[number], positions=[[0.0, 0.0, 0.0]])
    isolated = float(model.predict(lone, forces=False)["atom_energies"][0] - baseline[number])
    return PotentialCut(x, y, values - baseline[number], distances, isolated, probe, plane, chosen)


@torch.no_grad()
def probe_reach(model: Model, structure: Structure, cut: PotentialCut, samples: int = 500) -> float:
    """How far the probe's features lie beyond those of the structure's atoms: a ratio of largest magnitudes.

    About one for learned features. Symmetry functions, which are divided by their deviation over the training atoms,
    grow a thousandfold where a probe sits in a place that no training atom had; then Ω says nothing.

    Args:
        model: that gave the cut.
        structure: that was cut through.
        cut: whose points farther than 1 Å from every atom are looked at.
        samples: how many of them, evenly spread, at most.
    """
    system = AtomicSystem.from_ase(structure) if isinstance(structure, ase.Atoms) else structure
    grid = cut.plane.origin + cut.x[None, :, None] * cut.plane.u + cut.y[:, None, None] * cut.plane.v
    points = grid[cut.nearest_atom > 1.0]
    points = points[:: max(len(points) // samples, 1)]
    if not len(points):
        return 1.0
    around, atoms = Surroundings.near(system, points, model.cutoff), len(system.numbers)
    batch, _ = with_probes(model.collate([system]), around, points, _probe_number(model, cut.probe))
    features = model.representation(batch).abs()
    return float(features[atoms:].max() / features[:atoms].max().clamp(min=1e-12))


def _probed(
    model: Model, structure: Structure, points: np.ndarray, number: int, title: str
) -> tuple[np.ndarray, np.ndarray]:
    """A probe's energy term at points (points, 3), in eV, and their distances from the nearest atom in Å."""
    system = AtomicSystem.from_ase(structure) if isinstance(structure, ase.Atoms) else structure
    molecule = model.collate([system])
    around = Surroundings.near(system, points, model.cutoff)
    size = around.probes_at_once(points)
    values, distances = [], []
    with track(title, len(points), "points") as bar:
        for start in range(0, len(points), size):
            chunk = points[start : start + size]
            batch, nearest = with_probes(molecule, around, chunk, number)
            terms = model.predict(batch, forces=False, stress=False)["atom_energies"]
            values.append(terms[len(system.numbers) :].cpu().numpy())
            distances.append(nearest)
            bar.advance(len(chunk))
    return np.concatenate(values), np.concatenate(distances)


@dataclass(frozen=True)
class Surroundings:
    """The atoms that probes can hear, with their images."""

    positions: np.ndarray  # (images, 3) Å
    atom: np.ndarray  # (images,) which atom of the structure each is
    shift: np.ndarray  # (images, 3) by which lattice vectors it was moved
    cutoff: float  # Å; infinite where probes hear everything
    tree: cKDTree  # of the positions

    @classmethod
    def near(cls, system: AtomicSystem, points: np.ndarray, cutoff: float | None) -> Surroundings:
        """All that lies within ``cutoff`` Å (None: everything) of one of the points (points, 3), and more."""
        shifts, atoms = _shifts_near(system, points, cutoff or 0.0), len(system.numbers)
        positions = (system.positions[None] + (shifts @ system.cell)[:, None]).reshape(-1, 3)
        atom = np.tile(np.arange(atoms), len(shifts))
        cutoff = np.inf if cutoff is None else cutoff
        return cls(positions, atom, shifts.repeat(atoms, axis=0), cutoff, cKDTree(positions))

    def probes_at_once(self, points: np.ndarray) -> int:
        """How many probes stay within the bounds on probes and pairs, judged by every hundredth point."""
        sample = points[:: max(len(points) // 100, 1)]
        most = int(self.tree.query_ball_point(sample, self.cutoff, return_length=True).max())
        return max(min(PROBES_PER_CHUNK, PAIRS_PER_CHUNK // max(most, 1)), 1)

    def heard(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pairs (point, image) within the cutoff, ordered by both, and each point's distance from the nearest image.

        In a crystal with nothing within the cutoff the distance is that to the nearest image looked at, or farther.
        """
        if len(self.positions) > FEW_IMAGES and self.cutoff < np.inf:
            found = cKDTree(points).sparse_distance_matrix(self.tree, self.cutoff, output_type="ndarray")
            key = found["i"] * len(self.positions) + found["j"]
            point, image = np.divmod(np.sort(key[found["v"] < self.cutoff]), len(self.positions))
            return point, image, self.tree.query(points)[0]
        # |p - q|² by matrix product would round near zero; a loop over axes needs no (points, images, 3) array.
        distances = np.sqrt(sum((points[:, None, axis] - self.positions[None, :, axis]) ** 2 for axis in range(3)))
        point, image = np.nonzero(distances < self.cutoff)
        return point, image, distances.min(axis=1)


def with_probes(molecule: Batch, around: Surroundings, points: np.ndarray, number: int) -> tuple[Batch, np.ndarray]:
    """A batch of one structure with probe atoms appended: each hears the structure, none is heard.

    Args:
        molecule: the structure as a batch of its own.
        around: what probes can hear of it.
        points: (probes, 3) in Å.
        number: atomic number of the probes.

    Returns:
        The batch, and each probe's distance from the nearest atom, (probes,) in Å.
    """
    atoms, probes = molecule.numbers.shape[0], len(points)
    point, image, nearest = around.heard(points)
    device = molecule.numbers.device

    def joined(old: Tensor, new: np.ndarray) -> Tensor:
        return torch.cat([old, torch.from_numpy(new).to(device=device, dtype=old.dtype)])

    pairs = molecule.pairs
    batch = replace(
        molecule,
        numbers=joined(molecule.numbers, np.full(probes, number)),
        positions=joined(molecule.positions, points),
        system=joined(molecule.system, np.zeros(probes)),
        pairs=Pairs(
            centre=joined(pairs.centre, point + atoms),
            neighbour=joined(pairs.neighbour, around.atom[image]),
            shift=None if pairs.shift is None else joined(pairs.shift, around.shift[image]),
        ),
    )
    return batch, nearest


def _shifts_near(system: AtomicSystem, points: np.ndarray, reach: float) -> np.ndarray:
    """Lattice shifts (shifts, 3) that can bring an atom within ``reach`` of a point; zero where nothing repeats."""
    cell = np.asarray(complete_cell(system.cell))
    inverse = np.linalg.inv(cell)
    # Planes of constant fractional coordinate lie 1/|row of the reciprocal cell| apart.
    extent = reach * np.linalg.norm(inverse, axis=0)
    of_points, of_atoms = points @ inverse, system.positions @ inverse
    lowest = np.floor(of_points.min(axis=0) - extent - of_atoms.max(axis=0))
    highest = np.ceil(of_points.max(axis=0) + extent - of_atoms.min(axis=0))
    axes = [np.arange(a, b + 1) if repeats else [0] for a, b, repeats in zip(lowest, highest, system.pbc, strict=True)]
    return np.array(list(product(*axes)), dtype=np.float64)


def _probe_number(model: Model, probe: str) -> int:
    number = int(atomic_numbers.get(str(probe).capitalize(), 0))
    if number not in model.elements:
        seen = ", ".join(symbol(known) for known in model.elements)
        raise InputError(f"the probe {probe} is an element that the model never saw; choose one of {seen}")
    return number
