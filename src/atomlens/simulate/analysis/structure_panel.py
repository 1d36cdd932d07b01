"""The panel of a run's distances: bonds, nearest neighbours, and the radial distribution function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from atomlens.errors import InputError
from atomlens.figures import dynamics as drawing
from atomlens.panel import Chart, Check, Panel, Table, Topic
from atomlens.simulate.analysis.distributions import Density, common_limits, fitting_bins
from atomlens.simulate.analysis.pairs import (
    Bonds,
    PairDistribution,
    bond_density,
    bond_lengths,
    distance_density,
    find_bonds,
    nearest_density,
    nearest_distances,
    pair_distances,
    pair_distributions,
    pairs_of,
    stretched_bonds,
)
from atomlens.simulate.analysis.settings import RunSettings
from atomlens.simulate.analysis.sizes import diameter_density, largest_distance
from atomlens.simulate.analysis.wording import (
    BY_BLOCKS,
    comparison,
    density_chart,
    density_line,
    density_table,
    error_series,
    halves_check,
    length_check,
    matching,
    told,
    trust,
)
from atomlens.simulate.frames import Frames
from atomlens.wording import counted

TOPIC = Topic(
    "structure",
    "Distances between atoms",
    "Bond lengths: distances between bonded neighbours. Nearest neighbour: for every atom the distance to the one atom "
    "that is closest at that moment. Radial distribution: of a molecule h(r), the density of the distance of a pair of "
    "atoms drawn at random (∫ h dr = 1); of a crystal or liquid g(r) = ρ(r) around an atom / mean ρ, with all images.",
    "thesis 5.3, figure 5.6",
)
Quantities = dict[str, list[Density]]  # kind to the distribution in every run
Radial = list[list[PairDistribution]]  # of every run, of every pair of elements

_HELD = 1.3  # of the length up to which two atoms count as bonded, beyond which a bond is broken
_MOST_KINDS = 6  # pairs of elements that are drawn
_ROUNDING = 1e-9  # Å


def structure_panel(frames: Frames, settings: RunSettings, beside: Frames | None = None) -> Panel:
    """Distances along a run and, if there is one, along a run beside it.

    Raises:
        InputError: a single atom, or runs of different structures.
    """
    frames, beside = matching(frames, beside, settings)
    runs = [frames] if beside is None else [frames, beside]
    names = [settings.name, settings.beside][: len(runs)]
    bonds = _bonds(frames)
    stretched = [stretched_bonds(each) for each in runs]
    quantities = _quantities(runs, bonds, settings)
    radial = [_radial(each, settings) for each in runs] if frames.pbc.all() else []
    kinds = _kinds(runs, bonds, settings)
    main = quantities["bonds" if "bonds" in quantities else "nearest"]
    cautions = [density.caution for densities in quantities.values() for density in densities]
    return Panel(
        TOPIC.name,
        reading=_broken(stretched, names) + _reading(quantities, kinds, bonds, names, radial),
        trust=trust(frames, beside, settings, [*cautions, *(each.caution for part in radial for each in part)], _HOW),
        checks=_checks(runs, names, main, stretched),
        facts=_facts(quantities, radial, bonds, names),
        figures=_figures(quantities, radial, names),
        tables=_tables(quantities, kinds, names),
        views=_charts(quantities, radial, names),
    )


_HOW = (
    BY_BLOCKS + " Bonds are the pairs that are as close as covalent radii allow on average over the run; "
    "they are the nearest neighbours of figure 5.6 here."
)


def _bonds(frames: Frames) -> Bonds | None:
    if len(frames.numbers) < 2 and not frames.pbc.any():
        raise InputError("a single atom has no distances; simulate a structure of two atoms or more")
    try:
        return find_bonds(frames)
    except InputError:  # a gas or an alloy; what is nearest can still be told
        return None


def _quantities(runs: Sequence[Frames], bonds: Bonds | None, settings: RunSettings) -> Quantities:
    """Every distribution, of all runs, on common bins."""
    found: dict[str, list[Density]] = {}
    if bonds is not None:
        limits = common_limits(runs, bond_lengths(bonds))
        bins = fitting_bins(runs, settings.bins, len(bonds))
        found["bonds"] = [bond_density(each, bonds, bins=bins, limits=limits) for each in runs]
    limits = common_limits(runs, nearest_distances(runs[0].pbc))
    bins = fitting_bins(runs, settings.bins, len(runs[0].numbers))
    found["nearest"] = [nearest_density(each, bins=bins, limits=limits) for each in runs]
    if not runs[0].pbc.any():
        limits = common_limits(runs, largest_distance)
        bins = fitting_bins(runs, settings.bins)
        found["diameter"] = [diameter_density(each, bins=bins, limits=limits) for each in runs]
        low, high = common_limits(runs, pair_distances(*np.triu_indices(len(runs[0].numbers), 1)))
        ends = max(low, 0.0), high
        bins = max(settings.bins, int((ends[1] - ends[0]) / 0.02))  # peaks of bonds are a few hundredths of an Å wide
        found["pairs"] = [distance_density(each, bins=bins, limits=ends) for each in runs]
    return found


def _radial(frames: Frames, settings: RunSettings) -> list[PairDistribution]:
    return pair_distributions(frames, settings.reach, bins=max(settings.bins, int(settings.reach / 0.04)))


def _broken(stretched: Sequence[np.ndarray], names: Sequence[str]) -> str:
    """A sentence for each run in which bonds broke."""
    text = ""
    for ratios, name in zip(stretched, names, strict=True):
        broken = int((ratios >= _HELD).sum())
        if broken:
            text += (
                f"In {name} {broken} of the {counted(len(ratios), 'bond')} of its first frame "
                f"{'was' if broken == 1 else 'were'} torn at some time. "
            )
    return text


def _reading(
    quantities: Quantities, kinds: list[list[Density]], bonds: Bonds | None, names: Sequence[str], radial: Radial
) -> str:  # fmt: skip
    if bonds is not None:
        text = f"{counted(len(bonds), 'bond')} of the structure {'is' if len(bonds) == 1 else 'are'} followed. "
        text += told(kinds[0] if kinds else quantities["bonds"], names)
    else:
        text = "No two atoms stay as close as a bond, so only nearest neighbours are followed. "
        text += told(quantities["nearest"], names)
    if "diameter" in quantities:
        text += told(quantities["diameter"], names)
    if radial:
        peaks = [(float(each.centres[each.values.argmax()]), float(each.values.max()), each.pair) for each in radial[0]]
        where, height, pair = min(peaks)
        text += (
            f"Around an atom, the closest shell of others lies at {where:.2f} Å ({pair}), at its peak {height:.1f} "
            "times as dense as if they were spread evenly. "
        )
    return text.strip()


def _checks(
    runs: Sequence[Frames], names: Sequence[str], main: Sequence[Density], stretched: Sequence[np.ndarray]
) -> tuple[Check, ...]:  # fmt: skip
    checks = [_by_ase(runs[0])]
    for name, density, ratios in zip(names, main, stretched, strict=True):
        checks += [*halves_check(density.series, density.name, name), length_check(density, name)]
        if len(ratios):
            ratio = float(ratios.max())
            what = (
                f"The longest that a bond of the first frame of {name} gets in any frame, over the length up to which "
                "two such atoms count as bonded"
            )
            checks.append(Check(f"bonds hold: {name}", what, ratio, f"below {_HELD:g}", "", ratio < _HELD, claim=True))
    return tuple(checks)


def _by_ase(frames: Frames) -> Check:
    """Nearest distances of the last frame against ASE's own neighbour list."""
    positions = np.asarray(frames.positions[-1:, -1], dtype=float)
    own = nearest_distances(frames.pbc)(positions, frames.cells[-1:, -1])[:, 0]
    atoms = Atoms(frames.numbers, positions[0], cell=frames.cells[-1, -1], pbc=frames.pbc)
    first, distances = neighbor_list("id", atoms, 1.01 * float(own.max()) + 1e-3)
    nearest = np.full(len(own), np.inf)
    np.minimum.at(nearest, first, distances)
    worst = float(np.abs(nearest - own).max())
    what = "Largest difference of nearest distances in the last frame from those of ASE's neighbour list"
    return Check("distances by ASE", what, worst, f"below {_ROUNDING:g} Å", "Å", worst < _ROUNDING)


def _facts(
    quantities: Quantities, radial: Radial, bonds: Bonds | None, names: Sequence[str]
) -> dict[str, Any]:  # fmt: skip
    found: dict[str, Any] = {"unit": "Å", "runs": list(names)}
    if bonds is not None:
        found["bonds"] = np.stack([bonds.first, bonds.second], axis=1).tolist()
    for kind, densities in quantities.items():
        found[f"{kind}_distribution"] = dict(zip(names, (each.to_dict() for each in densities), strict=True))
        between = comparison(densities)
        if between is not None:
            found[f"{kind}_comparison"] = between.to_dict()
    if radial:
        parts = ([each.to_dict() for each in part] for part in radial)
        found["radial_distribution"] = dict(zip(names, parts, strict=True))
    return found


def _figures(
    quantities: Quantities, radial: Radial, names: Sequence[str]
) -> dict[str, Any]:  # fmt: skip
    titles = {
        "bonds": "bonded neighbours",
        "nearest": "nearest neighbours",
        "diameter": "diameter",
        "pairs": "all pairs",
    }
    labels = {
        "bonds": "bond length (Å)", "nearest": "nearest neighbour (Å)", "diameter": "largest distance (Å)",
        "pairs": "r (Å)",
    }  # fmt: skip
    chosen = ["bonds", "diameter", "pairs"] if {"bonds", "pairs"} <= set(quantities) else ["bonds", "nearest", "pairs"]
    chosen = [kind for kind in chosen if kind in quantities]
    plots = []
    for kind in chosen:
        lines = [density_line(name, each) for name, each in zip(names, quantities[kind], strict=True)]
        label = "h(r) (1/Å)" if kind == "pairs" else "density (1/Å)"
        plots.append(drawing.Plot(labels[kind], label, lines, titles[kind], x_limits=_shown(quantities[kind])))
    if radial:
        plots += _radial_plots(radial, names)
    found = {"distributions": drawing.curves(plots)}
    if "nearest" not in chosen:
        lines = [density_line(name, each) for name, each in zip(names, quantities["nearest"], strict=True)]
        limits = _shown(quantities["nearest"])
        plot = drawing.Plot(labels["nearest"], "density (1/Å)", lines, titles["nearest"], x_limits=limits)
        found["nearest_neighbours"] = drawing.curves([plot])
    return found


def _shown(densities: Sequence[Density]) -> tuple[float, float]:
    """Where the drawing ends: at the bins that hold anything."""
    filled = np.flatnonzero(sum(each.density for each in densities) > 0)
    edges = densities[0].edges
    return float(edges[filled[0]]), float(edges[filled[-1] + 1])


def _radial_plots(radial: Radial, names: Sequence[str]) -> list[drawing.Plot]:
    plots = []
    for row, own in enumerate(radial[0][:_MOST_KINDS]):
        parts = [part[row] for part in radial]
        lines = [
            drawing.Line(name, each.centres, each.values, each.error)
            for name, each in zip(names, parts, strict=True)
        ]  # fmt: skip
        plots.append(drawing.Plot("r (Å)", "g(r)", lines, own.pair))
    return plots


def _kinds(runs: Sequence[Frames], bonds: Bonds | None, settings: RunSettings) -> list[list[Density]]:
    """Lengths of every kind of bond, the most frequent first, where there is more than one."""
    if bonds is None:
        return []
    parts = sorted(pairs_of(bonds, runs[0].numbers), key=lambda part: -len(part[1]))
    found = []
    for pair, own in parts if len(parts) > 1 else []:
        limits, bins = common_limits(runs, bond_lengths(own)), fitting_bins(runs, settings.bins, len(own))
        name = f"{pair} bond length"
        found.append([bond_density(each, own, name=name, bins=bins, limits=limits) for each in runs])
    return found


def _tables(quantities: Quantities, kinds: list[list[Density]], names: Sequence[str]) -> tuple[Table, ...]:
    rows = [densities for kind, densities in quantities.items() if kind != "pairs"]
    return (density_table("Distances by run, with one standard error", names, [*rows, *kinds]),)


def _charts(
    quantities: Quantities, radial: Radial, names: Sequence[str]
) -> tuple[Chart, ...]:  # fmt: skip
    titles = {
        "bonds": "Bond lengths",
        "nearest": "Nearest neighbours",
        "diameter": "Diameter",
        "pairs": "All pairs, h(r)",
    }
    charts = [
        density_chart(titles[kind], list(zip(names, densities, strict=True))) for kind, densities in quantities.items()
    ]
    for row, own in enumerate(radial[0][:_MOST_KINDS] if radial else []):
        parts = zip(names, (part[row] for part in radial), strict=True)
        series = tuple(error_series(name, each.centres, each.values, each.error) for name, each in parts)
        charts.append(Chart(f"g(r) of {own.pair}", "r (Å)", "g(r)", series))
    return tuple(charts)
