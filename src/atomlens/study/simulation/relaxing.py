"""``atomlens simulate relax``: structures of a file at rest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ase
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.extxyz import write_extxyz

from atomlens.data.system import AtomicSystem
from atomlens.errors import InputError, Interrupted
from atomlens.files import check_folder, made_at_once, replacing
from atomlens.panel import Panel, Topic
from atomlens.report.simulation import Tile
from atomlens.simulate.relaxation import RelaxationConfig, Relaxed, relax
from atomlens.simulate.relaxation_panel import TOPIC, relaxation_panel, relaxed_panel
from atomlens.study.simulation.page import Told, write_page
from atomlens.study.simulation.subject import SHOWN, Simulated
from atomlens.wording import counted

RELAXED = "relaxed.extxyz"


def relax_file(simulated: Simulated, out: str | Path, config: RelaxationConfig, *, command: str = "") -> dict[str, Any]:
    """Relax all structures of a file into a new folder: ``relaxed.extxyz``, ``summary.json`` and ``report.html``.

    Args:
        simulated: what to relax, see `atomlens.study.simulation.subject.read_simulated`.
        out: a new or empty folder.
        config: settings.
        command: by which this was asked for, for the page.

    Returns:
        What is in ``summary.json``.

    Raises:
        InputError: the model refuses a structure, or the folder is not empty.
        Interrupted: stopped by the user; structures that were at rest by then are written.
    """
    folder = check_folder(out, resumable=False)
    done: dict[int, Relaxed] = {}
    with made_at_once(folder) as temporary:
        try:
            found = relax(simulated.model, simulated.atoms, config, title="relax", keep=done.__setitem__)
        except InputError as error:
            raise error.at(file=simulated.file) from None
        except KeyboardInterrupt:
            kept = folder.with_name(f"{folder.name}-interrupted.extxyz")
            _write(kept, {place: done.get(place) for place in range(len(simulated.systems))}, simulated.atoms)
            raise Interrupted(
                f"{len(done)} of {counted(len(simulated.systems), 'structure')} were done; all are in {kept}, the "
                "others as they came: relax that file to go on"
            ) from None
        _write(temporary / RELAXED, dict(enumerate(found)), simulated.atoms)
        shown = list(enumerate(found))[:SHOWN]
        return write_page(
            temporary,
            _told(found, config),
            simulated,
            [(simulated.names[place], AtomicSystem.from_ase(result.atoms)) for place, result in shown],
            _panels(simulated, found, config),
            command,
        )


def _panels(simulated: Simulated, found: Sequence[Relaxed], config: RelaxationConfig) -> Iterator[tuple[Topic, Panel]]:
    yield TOPIC, relaxation_panel(simulated.names, found, config)
    for place, (start, result) in enumerate(zip(simulated.atoms[:SHOWN], found[:SHOWN], strict=True)):
        yield TOPIC, relaxed_panel(simulated.model, place, start, result)


def _told(found: Sequence[Relaxed], config: RelaxationConfig) -> Told:
    rest = sum(result.converged for result in found)
    return Told(
        kind="relax",
        title="Relaxation",
        headline=f"{rest} of {counted(len(found), 'structure')} came to rest with no force above {config.force:g} eV/Å",
        settings=config,
        tiles=[
            Tile("At rest", f"{rest} of {len(found)}", note="structures within the limits"),
            Tile("Steps", max(result.steps for result in found), note="most that a structure took"),
            Tile("Largest force", max(result.force for result in found), "eV/Å", note="that is left anywhere"),
        ],
        facts={"converged": rest, "relaxed": [result.to_dict() for result in found], "out": RELAXED},
    )


def _write(path: Path, found: dict[int, Relaxed | None], start: Sequence[ase.Atoms]) -> None:
    """All structures in their order, relaxed where they are, with energies in eV."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for place, result in found.items():
            atoms = start[place].copy() if result is None else result.atoms.copy()
            atoms.info["converged"] = result is not None and result.converged
            if result is not None and result.problem is None:
                atoms.calc = SinglePointCalculator(atoms, energy=result.energy)
            write_extxyz(file, atoms)
