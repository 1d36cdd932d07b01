"""Structures at rest as plain pictures: for paper, and for browsers that show nothing in three dimensions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from matplotlib.figure import Figure

from atomlens.data.system import AtomicSystem, symbol
from atomlens.figures import molecule, save_figure, style
from atomlens.report.pictures import Picture, pictures

_MOST_LABELS = 60  # atoms; more labels cannot be read
_MOST_ATOMS = 300  # more make a drawing that takes long and shows little


def stills(systems: Sequence[AtomicSystem], budget: int) -> list[Picture | None]:
    """A drawing of each structure, its atoms in their elements' colours and with their numbers; None of large ones.

    Args:
        systems: structures.
        budget: bytes of the page that all of them may take, see `atomlens.report.pictures.pictures`.
    """
    with tempfile.TemporaryDirectory() as folder:
        drawn = {
            place: save_figure(_drawn(system), folder, f"structure_{place}")
            for place, system in enumerate(systems)
            if len(system.numbers) <= _MOST_ATOMS
        }
        found = pictures(drawn.values(), budget)
    return [found[drawn[place]] if place in drawn else None for place in range(len(systems))]


@style.styled
def _drawn(system: AtomicSystem) -> Figure:
    symbols = [symbol(int(number)) for number in system.numbers]
    numbered = len(symbols) <= _MOST_LABELS
    labels = [f"{name}{atom}" if numbered else "" for atom, name in enumerate(symbols)]
    figure = style.new_figure(3.8)
    colours = [style.element_colour(name) for name in symbols]
    molecule.draw_atoms(figure.add_subplot(), symbols, system.positions, colours, labels)
    return figure
