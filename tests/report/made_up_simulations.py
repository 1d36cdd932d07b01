"""Made-up simulations of small molecules: springs between all atoms, whose motions and runs look like real ones."""

import numpy as np
from made_up_explanations import MODELS, systems

from atomlens.figures import style
from atomlens.panel import Chart, Check, Motion, Panel, Series, Table, Topic, Trajectory
from atomlens.report.simulation import Tile
from atomlens.study.panels import write_panels

MODES = Topic("modes", "Normal modes", "ω_k² are eigenvalues of M^-1/2 H M^-1/2.", "Wilson, Decius, Cross, ch. 2.")
RUN = Topic("run", "The run", "Temperatures T = 2 E_kin / (f k_B).", "Thesis section 5.3.")
DISTANCES = Topic("distances", "Distances", "g(r) counts pairs at a distance.", "Thesis figure 5.6.")
ABOUT = {
    "atomlens_version": "0.1.0",
    "created": "2026-11-21T12:00:00+00:00",
    "command": "atomlens simulate md model.safetensors ethanol.xyz --out run",
    "data": {"name": "Training data", "structures": 1000, "labels": ["energy", "forces"]},
}
SETTINGS = {"temperature": "300 K", "time_step": "0.5 fs", "steps": 20_000, "friction": 0.00125, "replicas": 4,
            "save_every": None, "stop_on_alarm": False}  # fmt: skip
TILES = (
    Tile("Temperature", 300.123, "K", 1.24, "asked for: 300 K"),
    Tile("Drift", 3.2e-6, "eV/atom/ps", note="of the conserved energy"),
    Tile("Speed", 812.0, "steps/s", note="35.1 ns/day"),
    Tile("Wall time", "1 min 12 s", note="on one core"),
)
WARNINGS = (
    "frame 120 at 60 fs: the distance of atoms 0 and 3 (0.91 Å) is shorter than any in the training data (0.95 Å)",
    "frame 121 at 60.5 fs: the temperature jumped by 210 K within one frame",
)


def spring_modes(system):
    """Frequencies (modes,) in arbitrary units and displacements (modes, atoms, 3) of springs between all atoms."""
    positions, count = system.positions, len(system.numbers)
    hessian = np.zeros((count, 3, count, 3))
    for first in range(count):
        for second in range(first):
            along = positions[first] - positions[second]
            distance = np.linalg.norm(along)
            spring = np.exp(-distance) * np.outer(along, along) / distance**2
            for a, b, sign in ((first, first, 1), (second, second, 1), (first, second, -1), (second, first, -1)):
                hessian[a, :, b, :] += sign * spring
    masses = np.repeat(2.0 * system.numbers, 3)
    values, vectors = np.linalg.eigh(hessian.reshape(3 * count, 3 * count) / np.sqrt(np.outer(masses, masses)))
    steps = (vectors / np.sqrt(masses)[:, None]).T.reshape(-1, count, 3)[6:]
    return np.sqrt(values[6:]), steps / np.linalg.norm(steps, axis=2).max(axis=1)[:, None, None]


def modes_panel(system, place):
    values, steps = spring_modes(system)
    frequencies = 9000.0 * values
    labels = tuple(f"{number + 1}: {value:.1f} cm⁻¹" for number, value in enumerate(frequencies))
    sticks = np.repeat(frequencies, 3)
    heights = np.tile([0.0, 1.0, np.nan], len(values))
    return Panel(
        "modes",
        place,
        reading=f"{len(values)} motions between {frequencies.min():.0f} and {frequencies.max():.0f} cm⁻¹.",
        trust="One model; the Hessian is exact.",
        checks=(Check("acoustic sum", "rows of the Hessian add up to 0", 2e-12, "below 1e-8 eV/Å²", "eV/Ang^2", True),),
        facts={"frequencies": frequencies.tolist()},
        tables=(Table("Motions", ("motion", "frequency (cm⁻¹)"), tuple(enumerate(frequencies.tolist()))),),
        views=(
            Motion("normal modes", labels, steps),
            Chart("Frequencies", "wavenumber (cm⁻¹)", "modes", (Series("modes", sticks, heights),)),
        ),
    )  # fmt: skip


def run_panel(system, place, frames=450, beads=8, seed=2):
    """A run along all motions at once that drifts through space, with beads around it."""
    rng = np.random.default_rng(seed)
    values, steps = spring_modes(system)
    times = 0.5 * np.arange(frames)
    phases = 2 * np.pi * rng.random(len(values))
    swing = 0.12 * np.sin(2.0 * values * times[:, None] + phases) / np.sqrt(values / values.max())
    positions = system.positions + np.einsum("fm,mad->fad", swing, steps) + 0.01 * times[:, None, None]
    cloud = rng.normal(size=(1, beads, *system.positions.shape)) * (0.3 / np.sqrt(system.numbers))[:, None]
    paths = positions[:, None] + (cloud - cloud.mean(axis=1, keepdims=True)) * np.cos(0.05 * times)[:, None, None, None]
    temperature = 300 + 40 * rng.normal(size=frames)
    return Panel(
        "run",
        place,
        reading=f"{times[-1]:.0f} fs at {temperature.mean():.0f} K on average.",
        trust="Four replicas; errors by block averaging.",
        checks=(
            Check("temperature", "mean against the thermostat's", 0.4, "below 3 standard errors", "", True),
            Check("drift", "slope of the conserved energy", 2e-4, "below 1e-5 eV/atom/ps", "eV/atom/ps", False),
        ),
        figures={"temperature": temperature_figure(times, temperature)},
        views=(
            Trajectory("one replica", "fs", times, positions, paths),
            Chart("Temperature", "time (fs)", "temperature (K)", (Series("replica 0", times, temperature),)),
        ),
    )


@style.styled
def temperature_figure(times, temperature):
    figure = style.new_figure(2.6)
    axes = figure.add_subplot()
    axes.plot(times, temperature, color=style.BLUE)
    axes.set(xlabel="time (fs)", ylabel="temperature (K)")
    return figure


def simulated(names):
    """Structures, names and panels."""
    shown = systems(names)
    chart = Chart("Pair distribution", "r (Å)", "g(r)", (Series("all", np.linspace(0, 5, 50), np.ones(50)),))
    panels = [(DISTANCES, Panel("distances", reading="Pairs of all frames.", trust="Block averages.", views=(chart,)))]
    for place, system in enumerate(shown):
        panels += [(MODES, modes_panel(system, place)), (RUN, run_panel(system, place))]
    return shown, [f"{place} {system.formula}" for place, system in enumerate(shown)], panels


def written(folder, names, **changed):
    """Write panels as a simulation does, and hand over what `write_simulation` takes."""
    shown, labels, panels = simulated(names)
    done = write_panels(folder, panels, labels)
    return {
        "title": f"{shown[0].formula} at 300 K",
        "kind": "pimd",
        "headline": "C₂H₆O with 8 beads for 10 ps at 300 K: no bond broke.",
        "systems": shown,
        "names": labels,
        "models": MODELS[:1],
        "panels": done.panels,
        "pictures": done.pictures,
        "folders": done.folders,
        "about": ABOUT,
        "tiles": TILES,
        "settings": SETTINGS,
        "warnings": WARNINGS,
    } | changed
