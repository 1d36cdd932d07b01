"""Made-up explanations of small molecules: analytic fields and random values in every kind of view that a panel has."""

from dataclasses import replace
from functools import partial

import numpy as np
from ase.build import bulk, molecule

from atomlens import figures
from atomlens.data.system import AtomicSystem, symbol
from atomlens.data.units import KCAL_PER_MOL
from atomlens.explain.analysis import Analysis
from atomlens.explain.probes.field import Grid
from atomlens.figures import style
from atomlens.files import write_json
from atomlens.panel import AtomValues, Chart, Check, Distribution, Panel, Series, Surface, Table, Volume

CONTRIBUTIONS = Analysis(
    "contributions",
    "What each atom adds",
    "The energy is a sum over atoms, E = Σ E_i.",
    "Thesis 3.6.1; insights paper eq. 2",
)
POTENTIAL = Analysis(
    "potential", "The local chemical potential", "Ω(r) is what a probe atom at r adds.", "Thesis eq. 3.11-3.13"
)
STABILITY = Analysis("stability", "How stable it is", "Models of other splits are compared.", "Thesis fig. B.1")
CHARGES = Analysis("charges", "Latent charges", "The dipole moment is μ = Σ q_i r_i.", "Thesis eq. 3.3")
TEN = ["CH4", "C6H6", "CH3CH2OH", "H2O", "C4H4O", "CH3CN", "C5H5N", "CH3COOH", "C4H4NH", "trans-butane"]
DEPTHS = {"H": -8.0, "C": 14.0, "O": 22.0, "N": 18.0, "Si": 14.0}  # kcal/mol, of made-up wells around atoms
EV = KCAL_PER_MOL
HISTORY = [
    {"epoch": epoch, "step": epoch, "seconds": epoch, "learning_rate": 1e-3, "train_loss": 1 / (epoch + 1),
     "validation_loss": 1.1 / (epoch + 1), "validation_energy_mae": 0.1 / (epoch + 1)} for epoch in range(9)
]  # fmt: skip


def systems(names):
    return [AtomicSystem.from_ase(bulk("Si", cubic=True) if name == "Si" else molecule(name)) for name in names]


def linear_field(points):
    """A field that interpolation reproduces, in kcal/mol."""
    return points @ np.array([3.0, -2.0, 5.0]) + 1.0


def wells(system, probe, points):
    """Shells of favourable places around atoms, in kcal/mol; nothing near nuclei."""
    away = np.linalg.norm(points[:, None] - system.positions, axis=-1)
    depths = (
        np.array([DEPTHS[symbol(int(number))] for number in system.numbers]) * {"H": 1.0, "C": -0.7, "O": 1.6}[probe]
    )
    values = (30.0 * np.exp(-4.0 * away**2) - depths * np.exp(-((away - 1.4) ** 2) / 0.4)).sum(axis=1)
    return np.where(away.min(axis=1) < 0.5, np.nan, values)


def volume(system, name, field, points=30, unit="eV"):
    grid = Grid.around(system, points=points)
    values = EV * field(grid.points).reshape(grid.shape)
    return Volume(name, unit, grid.origin, grid.steps, values, 25.0 * EV)


def surface(system, name, field, cells=24):
    """A wavy ball around the structure, of about 2 cells² triangles."""
    angle, turn = np.meshgrid(np.linspace(0.01, np.pi - 0.01, cells), np.linspace(0, 2 * np.pi, cells), indexing="ij")
    ball = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], axis=-1)
    centre = system.positions.mean(axis=0)
    reach = np.linalg.norm(system.positions - centre, axis=1).max() + 1.2
    vertices = (centre + reach * ball * (1 + 0.05 * np.sin(3 * turn))[..., None]).reshape(-1, 3)
    first = (np.arange(cells - 1)[:, None] * cells + np.arange(cells - 1)).ravel()
    triangles = np.concatenate([np.stack([first, first + 1, first + cells], axis=1),
                                np.stack([first + 1, first + cells + 1, first + cells], axis=1)])  # fmt: skip
    return Surface(name, "eV", vertices, triangles, EV * field(vertices))


def contributions(system, place, rng):
    values = EV * (10.0 * rng.normal(size=len(system.numbers)) - 2.0 * system.numbers)
    symbols = [symbol(int(number)) for number in system.numbers]
    return Panel(
        "contributions",
        place,
        reading=f"{values.sum() / EV:.1f} kcal/mol are shared out, at most {values.max() / EV:.1f} as one E_i.",
        trust="Two models agree within 0.4 kcal/mol.",
        checks=(Check("sum", "the terms E_i add up to the energy", 3e-8, "below 1e-6 eV", "eV", True),),
        facts={"values": values.tolist()},
        figures={"atom_contributions": figures.atom_contributions(symbols, system.positions, values)},
        views=(AtomValues("energy contribution", "eV", values),
               Chart("Contribution by atom", "atom", "E_i (kcal/mol)",
                     (Series("this model", np.arange(len(values)), values / EV, "markers", tuple(symbols)),
                      Series("another model", np.arange(len(values)), 0.95 * values / EV, "dashed")))),
        tables=(Table("Contributions", ("atom", "E_i (kcal/mol)"), tuple(zip(symbols, values / EV, strict=True))),),
    )  # fmt: skip


def potential(system, place):
    probes = ("H", "C", "O")
    fields = {probe: partial(wells, system, probe) for probe in probes}
    return Panel(
        "potential",
        place,
        reading="A hydrogen probe is drawn to the shell around oxygen.",
        trust="One model.",
        checks=(Check("far away", "Ω there is that of the isolated probe", 2e-7, "below 1e-5 eV", "eV", True),),
        views=tuple(surface(system, f"chemical potential, probe {probe}", fields[probe]) for probe in probes)
        + tuple(volume(system, f"chemical potential, probe {probe}", fields[probe]) for probe in probes)
        + (volume(system, "test field", linear_field),),
    )  # fmt: skip


def charges(system, place, rng):
    if place == 1:
        return Panel("charges", place, unavailable="no model here predicts dipole moments; give one that does")
    return Panel("charges", place, reading="Oxygen is negative.", trust="One model.",
                 views=(AtomValues("latent charge", "e", 0.3 * rng.normal(size=len(system.numbers))),))  # fmt: skip


def stability(rng):
    x = rng.normal(size=300)
    centres = {"H": -2.0, "C": -12.0, "O": -16.0, "N": -14.0, "Si": -28.0}
    per_element = {name: EV * (10 * rng.normal(size=4000) + centre) for name, centre in centres.items()}
    return Panel(
        "stability",
        None,
        reading="Two models agree: r = 0.98 over 300 atoms.",
        trust="Two models, two splits.",
        checks=(Check("correlation", "between the models", 0.98, "above 0.9", "", True),
                Check("baseline", "shuffled atoms do not correlate", 0.31, "below 0.1", "", False)),
        figures={"learning": figures.learning_curve(HISTORY)},
        views=(Chart("Model against model", "first model (kcal/mol)", "second model (kcal/mol)",
                     (Series("atoms", x, x + 0.1 * rng.normal(size=300), "markers"),), equal=True),
               Distribution("energy contribution", "eV", per_element),
               Distribution("latent charge", "e", {name: 0.3 * rng.normal(size=2000) for name in centres})),
    )  # fmt: skip


@style.styled
def heavy_figure():
    """A figure whose SVG and PNG take some hundred kilobytes, as cuts through fields do."""
    x, y = np.meshgrid(np.linspace(-4, 4, 160), np.linspace(-4, 4, 160))
    field = sum(np.cos(k * x + np.sin(k * y)) / k for k in range(1, 12))
    figure = style.new_figure(4.6)
    axes = figure.add_subplot()
    axes.contourf(x, y, field, 60, cmap=style.DIVERGING)
    axes.contour(x, y, field, 20, colors=style.INK, linewidths=0.4)
    return figure


def explained(names, seed=3):
    """Systems, names and panels of these molecules."""
    rng = np.random.default_rng(seed)
    shown = systems(names)
    panels = [(STABILITY, stability(rng))]
    for place, system in enumerate(shown):
        panels += [(CONTRIBUTIONS, contributions(system, place, rng)), (POTENTIAL, potential(system, place)),
                   (CHARGES, charges(system, place, rng))]  # fmt: skip
    labels = [f"{place} {system.formula}" for place, system in enumerate(shown)]
    return shown, labels, panels


MODELS = [
    {"name": "schnet_0", "representation": {"name": "schnet", "features": 64, "interactions": 3},
     "predicts": ["energy"], "elements": ["H", "C", "O"], "parameters": 12345},
    {"name": "schnet_1", "representation": {"name": "schnet", "features": 64}, "predicts": ["energy"],
     "elements": ["H"]},
]  # fmt: skip
ABOUT = {"atomlens_version": "0.1.0", "created": "2026-11-20T12:00:00+00:00", "command": "atomlens explain a b --out c",
         "data": {"structures": 130, "file": "qm9.npz", "labels": ["energy"]}}  # fmt: skip


def written(folder, names):
    """Save figures and numbers as a study does, and hand over what `write_explanations` takes."""
    shown, labels, panels = explained(names)
    pictures, stripped = {}, []
    for row, panel in panels:
        where = folder / row.name / ("models" if panel.structure is None else str(panel.structure))
        for name, figure in panel.figures.items():
            pictures[row.name, panel.structure, name] = figures.save_figure(figure, where, name)
            write_json(where / "panel.json", panel.to_dict())
        stripped.append((row, replace(panel, figures={})))
    return {
        "title": "Made-up molecules, explained",
        "systems": shown,
        "names": labels,
        "panels": stripped,
        "pictures": pictures,
        "models": MODELS,
        "about": ABOUT,
    }
