"""``atomlens simulate pimd --converge``: how many beads are enough."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from atomlens.errors import InputError
from atomlens.report.simulation import Tile
from atomlens.simulate.path_integrals import PathIntegralConfig, bead_convergence, convergence_panel
from atomlens.simulate.path_integrals.panel import CONVERGENCE
from atomlens.study.simulation.page import Told, write_page
from atomlens.study.simulation.subject import Simulated
from atomlens.wording import counted


def converge_file(
    simulated: Simulated,
    out: str | Path,
    config: PathIntegralConfig,
    beads: Sequence[int],
    *,
    place: int | None = None,
    resume: bool = False,
    command: str = "",
) -> dict[str, Any]:
    """Run a structure with several numbers of beads, and extrapolate its energy to quantum nuclei.

    Args:
        simulated: see `atomlens.study.simulation.moving.run_file`, also for the arguments that follow.
        out: a new or empty folder, in which each number of beads gets one of its own.
        config: of every run, but for the number of beads.
        beads: three numbers or more.
        place: of the structure.
        resume: go on with runs in ``out``.
        command: for the page.

    Returns:
        What is in ``summary.json``.

    Raises:
        InputError: fewer than three numbers, or as of `run_path_integrals`.
        Interrupted: stopped by the user; the runs can go on.
    """
    chosen, system = simulated.one(place)
    try:
        found = bead_convergence(
            simulated.model, system.to_ase(), out, config, beads=beads, resume=resume, title="paths"
        )
    except InputError as error:
        raise error.at(file=simulated.file, structure=chosen) from None
    limit = found.extrapolation
    told = Told(
        kind="pimd",
        title="Convergence with the number of beads",
        headline=f"{system.formula} at {config.temperature:g} K with {counted(len(found.beads), 'number')} of beads",
        settings=config,
        tiles=[
            Tile("Beads", f"{found.beads[0]} to {found.beads[-1]}", note="of each path"),
            Tile("Still missing", 1e3 * (limit.energy - found.energies[-1]) / len(system.numbers), "meV/atom",
                 error=1e3 * limit.error / len(system.numbers), note="with the most beads"),
        ],
        facts={"convergence": found.to_dict()},
    )  # fmt: skip
    panels = [(CONVERGENCE, convergence_panel(found, structure=0))]
    return write_page(Path(out), told, simulated, [(simulated.names[chosen], system)], panels, command)
