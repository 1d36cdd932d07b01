"""``atomlens simulate vibrations``: harmonic vibrations of structures of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from atomlens.config import Config
from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError
from atomlens.files import check_folder, made_at_once
from atomlens.model import Model
from atomlens.panel import Panel, Topic
from atomlens.progress import track
from atomlens.report.simulation import Tile
from atomlens.simulate.relaxation import RelaxationConfig, relax
from atomlens.simulate.relaxation_panel import changed_bonds
from atomlens.simulate.vibrations.harmonic import Vibrations, harmonic_vibrations
from atomlens.simulate.vibrations.panel import TOPIC, vibrations_panel
from atomlens.simulate.vibrations.spectrum import WIDTH
from atomlens.study.simulation.page import Told, write_page
from atomlens.study.simulation.subject import SHOWN, Simulated
from atomlens.wording import counted


class VibrationsConfig(Config):
    """Settings of vibrations."""

    relax: bool = Field(True, description="whether the structures are relaxed first, with this model")
    force: float = Field(1e-4, gt=0, description="the largest force left by that relaxation, in eV/Å")
    force_limit: float = Field(
        1e-2, gt=0, description="structures with a larger force on an atom, in eV/Å, are refused: they are no minima"
    )
    width: float = Field(WIDTH, gt=0, description="of the lines of the spectrum, full width at half maximum in cm⁻¹")


def vibrations_file(
    simulated: Simulated,
    out: str | Path,
    config: VibrationsConfig,
    *,
    places: Sequence[int] | None = None,
    dipole_model: Model | None = None,
    command: str = "",
) -> dict[str, Any]:
    """Frequencies and normal modes of structures into a new folder, with ``summary.json`` and ``report.html``.

    Args:
        simulated: the structures, see `atomlens.study.simulation.subject.read_simulated`.
        out: a new or empty folder.
        config: settings.
        places: of the structures wanted; None: all, up to the first ten.
        dipole_model: for infrared intensities, where the model has no dipole readout itself.
        command: by which this was asked for, for the page.

    Returns:
        What is in ``summary.json``. A structure that cannot be served says why on its panel.

    Raises:
        InputError: a place does not exist, none of the structures can be served, or the folder is not empty.
    """
    folder = check_folder(out, resumable=False)
    chosen = list(range(min(len(simulated.systems), SHOWN))) if places is None else list(dict.fromkeys(places))
    systems = [simulated.one(place)[1] for place in chosen]
    try:
        relaxed = _relaxed(simulated.model, systems, config)
    except InputError as error:
        raise error.at(file=simulated.file) from None
    found: dict[int, Vibrations | InputError] = {}
    with track("vibrations", len(chosen), "structures") as bar:
        for place, system in enumerate(relaxed):
            found[place] = _vibrations(simulated.model, system, config, dipole_model)
            bar.advance()
    problems = [error for error in found.values() if isinstance(error, InputError)]
    if len(problems) == len(found):
        raise InputError(problems[0].problem, file=simulated.file, structure=chosen[0], atom=problems[0].atom)
    shown = [(simulated.names[place], system) for place, system in zip(chosen, relaxed, strict=True)]
    with made_at_once(folder) as temporary:
        return write_page(
            temporary,
            _told(config, found, [name for name, _ in shown]),
            simulated,
            shown,
            _panels(found, config, systems, relaxed),
            command,
        )


def _relaxed(model: Model, systems: Sequence[AtomicSystem], config: VibrationsConfig) -> list[AtomicSystem]:
    if not config.relax:
        return list(systems)
    limits = RelaxationConfig(force=config.force)
    found = relax(model, [system.to_ase() for system in systems], limits, title="relax")
    return [AtomicSystem.from_ase(result.atoms) for result in found]


def _vibrations(
    model: Model, system: AtomicSystem, config: VibrationsConfig, dipole_model: Model | None
) -> Vibrations | InputError:
    if len(system.numbers) == 1:
        return InputError("a single atom has no vibrations; give a molecule, or a crystal's larger cell")
    try:
        return harmonic_vibrations(
            model, system, dipole_model=dipole_model, force_limit=config.force_limit, title=system.formula
        )
    except InputError as error:
        return error


def _panels(
    found: dict[int, Vibrations | InputError],
    config: VibrationsConfig,
    before: Sequence[AtomicSystem],
    after: Sequence[AtomicSystem],
) -> Iterator[tuple[Topic, Panel]]:
    for place, result in found.items():
        if isinstance(result, InputError):
            yield TOPIC, Panel(TOPIC.name, place, unavailable=str(result))
        else:
            panel = vibrations_panel(result, structure=place, width=config.width)
            yield TOPIC, replace(panel, reading=_reaction(before[place], after[place]) + panel.reading)


def _reaction(before: AtomicSystem, after: AtomicSystem) -> str:
    """A warning where relaxation made another molecule."""
    if before.pbc.any():
        return ""
    broken, made = changed_bonds(before.to_ase(), after.to_ase())
    if not broken and not made:
        return ""
    return (
        f"Beware: while the structure relaxed, {counted(len(broken), 'bond')} broke and {counted(len(made), 'bond')} "
        "formed, so that what follows is not about the molecule that was handed in. "
    )


def _told(config: VibrationsConfig, found: dict[int, Vibrations | InputError], names: Sequence[str]) -> Told:
    named = [(names[place], result) for place, result in found.items() if isinstance(result, Vibrations)]
    served = [result for _, result in named]
    frequencies = np.concatenate([result.modes.frequencies for result in served])
    unstable = sum(result.modes.imaginary > 0 for result in served)
    resting = "at a minimum" if len(served) == 1 else "all at minima"
    words = f", {resting}" if not unstable else f", {unstable} of them not at a minimum"
    return Told(
        kind="vibrations",
        title="Vibrations",
        headline=(
            f"{counted(len(frequencies), 'vibration')} of {counted(len(served), 'structure')}{words}, "
            f"from {frequencies.min():.0f} to {frequencies.max():.0f} cm⁻¹"
        ),
        settings=config,
        tiles=[
            Tile("Lowest", float(frequencies.min()), "cm⁻¹", note="negative: imaginary, downhill"),
            Tile("Highest", float(frequencies.max()), "cm⁻¹"),
        ],
        facts={"vibrations": [{"structure": name, **result.to_dict()} for name, result in named]},
    )
