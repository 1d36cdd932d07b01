"""Explanations with their figures: the part that a study and ``atomlens explain`` share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np

from atomlens import figures
from atomlens.data.quantities import quantity
from atomlens.data.system import AtomicSystem, symbol
from atomlens.errors import InputError
from atomlens.explain import AtomContributions, Plane, PotentialCut, atom_contributions, potential_cut, probe_reach
from atomlens.files import check_folder, replacing, write_json
from atomlens.model import Model
from atomlens.progress import say

# Nearer to a nucleus no training frame ever had an atom, and Ω runs off the scale of the figure.
_MASKED_RADIUS = 0.6
# Features of probes in learned representations reach 1 to 2 times as far as those of atoms.
_FAR = 10.0


def default_probe(model: Model) -> str:
    """Hydrogen where the model knows it, else its lightest element."""
    return symbol(1 if 1 in model.elements else model.elements[0])


def check_explainable(model: Model) -> None:
    """Refuse models without energies: contributions and the probe's potential are terms of the energy.

    Raises:
        InputError: says what the model has instead.
    """
    if model.has_energy:
        return
    terms = [name for name in model.predicted if quantity(name).per == "atom"]
    raise InputError(
        f"predicts no energies, whose atom terms are what is explained; use a model with an energy readout, or look at "
        f"this one's own atom terms ({', '.join(terms)}) by atomlens predict"
    )


def cut_through(
    model: Model, system: AtomicSystem, probe: str | None, plane_atoms: tuple[int, int, int] | None, *, title: str
) -> PotentialCut:
    """The local chemical potential over a plane: of three atoms, of the heavy atoms, or nearest to all atoms.

    Raises:
        InputError: the model never saw the probe, or the plane is impossible.
    """
    heavy = np.flatnonzero(system.numbers > 1)
    if plane_atoms is None and len(heavy) == 3 and not _on_a_line(system.positions[heavy]):
        plane_atoms = (int(heavy[0]), int(heavy[1]), int(heavy[2]))
    plane = Plane.through(system, plane_atoms)
    return potential_cut(model, system, probe or default_probe(model), plane=plane, title=title)


def explanation_figures(
    system: AtomicSystem, values: np.ndarray, contributions: AtomContributions, cut: PotentialCut, folder: Path
) -> dict[str, Path]:
    """Draw one structure's contributions (atoms,) in eV, all structures' distributions, and the cut."""
    symbols = [symbol(int(number)) for number in system.numbers]
    label = f"energy contribution, relative to {contributions.relative_to}"
    near = figures.atoms_near_plane(symbols, system.positions, cut.plane.origin, cut.plane.u, cut.plane.v)
    shown = np.where(cut.nearest_atom < _MASKED_RADIUS, np.nan, cut.values - cut.isolated)
    drawn = {
        "atom_contributions": figures.atom_contributions(symbols, system.positions, values, label),
        "potential_cut": figures.potential_cut(
            cut.x, cut.y, shown, near, cut.probe, relative_to=f"the isolated {cut.probe}"
        ),
    }
    if len(contributions.sizes) > 1:
        drawn["contribution_distributions"] = figures.contribution_distributions(dict(contributions.per_element))
    return {name: figures.save_figure(figure, folder, name) for name, figure in drawn.items()}


def explain_structures(
    model: Model,
    structures: Sequence[ase.Atoms | AtomicSystem],
    out: str | Path,
    *,
    probe: str | None = None,
    plane_atoms: tuple[int, int, int] | None = None,
    chosen: int = 0,
) -> dict[str, Any]:
    """Write ``explanation.json``, ``potential.npz`` and figures into a new folder.

    Args:
        model: with an energy readout.
        structures: all of them enter the distributions of contributions.
        out: a new or empty folder.
        probe: element of the probe atom; None: see `default_probe`.
        plane_atoms: three atoms of the chosen structure that span the cut.
        chosen: the structure to draw and to cut through.

    Returns:
        What is in ``explanation.json``: energies in eV, lengths in Å.

    Raises:
        InputError: the model predicts no energies, the folder is not empty, a structure is refused, or probe or plane
            are impossible.
    """
    check_explainable(model)
    if not 0 <= chosen < len(structures):
        raise InputError(f"there is no structure {chosen} (the last one is {len(structures) - 1}); choose another")
    systems = [AtomicSystem.from_ase(entry) if isinstance(entry, ase.Atoms) else entry for entry in structures]
    folder = check_folder(out)
    contributions = atom_contributions(model, systems, title="contributions")
    cut = cut_through(model, systems[chosen], probe, plane_atoms, title="probe")
    reach = probe_reach(model, systems[chosen], cut)
    if reach > _FAR:
        say(
            f"note: the probe's features reach {reach:,.0f} times beyond those of the atoms, where the network has "
            "learned nothing: do not read its potential (symmetry functions are made for places where atoms are)"
        )
    facts = {
        "atom_energies": contributions.to_dict()
        | {"structures": [_of_structure(*pair) for pair in zip(systems, contributions.per_structure, strict=True)]},
        "local_chemical_potential": {"structure": chosen, **cut.to_dict(), "feature_reach": reach},
    }
    with replacing(folder / "potential.npz") as temporary:
        np.savez(temporary, x=cut.x, y=cut.y, values=cut.values - cut.isolated, nearest_atom=cut.nearest_atom)
    explanation_figures(systems[chosen], contributions.per_structure[chosen], contributions, cut, folder)
    write_json(folder / "explanation.json", facts)
    return facts


def _of_structure(system: AtomicSystem, values: np.ndarray) -> dict[str, Any]:
    return {"symbols": [symbol(int(number)) for number in system.numbers], "values": values.tolist()}


def _on_a_line(positions: np.ndarray) -> bool:
    first, second = positions[1] - positions[0], positions[2] - positions[0]
    sine = np.linalg.norm(np.cross(first, second)) / (np.linalg.norm(first) * np.linalg.norm(second))
    return bool(sine < 0.05)
