"""What relaxation did to structures, for the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ase
import numpy as np
from ase import units

from atomlens.data.bonds import bonded_pairs
from atomlens.data.system import symbol
from atomlens.model import Model
from atomlens.panel import Check, Panel, Table, Topic
from atomlens.simulate.relaxation import RelaxationConfig, Relaxed
from atomlens.simulate.symmetry import point_group
from atomlens.wording import counted

TOPIC = Topic(
    "relaxation",
    "Relaxation",
    "Atoms move downhill in energy until no force F_i = -∂E/∂r_i is larger than asked for; with a cell, until the "
    "stress (1/V) ∂E/∂ε balances the pressure as well.",
    "thesis 5.3, figure 5.4",
)
_SAME = 0.01  # Å; bonds closer in length than this are one kind
_STEP = 0.02  # Å, of the distortions that must cost energy


def bond_kinds(atoms: ase.Atoms) -> list[dict[str, Any]]:
    """Bonds of a molecule by elements and length: ``bond``, ``count``, ``shortest`` and ``longest`` in Å.

    Bonds whose lengths follow each other by less than 0.01 Å are one kind, as those of figure 5.4 of the thesis.
    """
    found: dict[str, list[float]] = {}
    for first, second in bonded_pairs(atoms.numbers, atoms.positions):
        name = "-".join(sorted(symbol(int(atoms.numbers[atom])) for atom in (first, second)))
        found.setdefault(name, []).append(float(np.linalg.norm(atoms.positions[first] - atoms.positions[second])))
    return [
        {"bond": name, "count": len(kind), "shortest": float(kind[0]), "longest": float(kind[-1])}
        for name, lengths in sorted(found.items())
        for kind in _kinds(np.sort(lengths))
    ]


def _kinds(lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(lengths, np.flatnonzero(np.diff(lengths) > _SAME) + 1)


def relaxation_panel(names: Sequence[str], found: Sequence[Relaxed], config: RelaxationConfig) -> Panel:
    """All structures in one table: steps, what energy they gained, what force is left.

    Args:
        names: of the structures.
        found: their results.
        config: by which they were relaxed.
    """
    done = [result for result in found if result.converged]
    gains = np.array([result.gain for result in found]) / (units.kcal / units.mol)
    cells = config.cell != "fixed"
    limit = f"{config.force:g} eV/Å" + (f" and {config.stress:g} GPa" if cells else "")
    stuck = len(found) - len(done)
    reading = (
        f"{len(done)} of {counted(len(found), 'structure')} came to rest: no force is larger than {limit}. "
        f"That took {np.mean([result.steps for result in found]):.0f} steps on average, and the energy fell by "
        f"{_span(gains)} kcal/mol."
    )
    if stuck:
        reading += (
            f" {counted(stuck, 'structure')} did not: more steps, or a model in double precision, may help; where "
            "atoms fell into each other the model does not know such structures."
        )
    columns = ["structure", "steps", "energy fell by, kcal/mol", "largest force, eV/Å", "atoms moved by, Å"]
    columns += ["stress off by, GPa", "volume, %"] if cells else []
    rows = [_row(name, result, cells) for name, result in zip(names, found, strict=True)]
    return Panel(
        TOPIC.name,
        reading=reading,
        trust="By ASE's optimisers; every structure by its own forces, whatever the others do.",
        checks=(
            Check(
                "all converged",
                "structures whose largest force (and stress) is within the limit, against all",
                float(stuck),
                "none left out",
                "",
                not stuck,
            ),
        ),
        facts={"structures": [{"name": name, **_plain(result)} for name, result in zip(names, found, strict=True)]},
        tables=(Table("Structures", (*columns, "state"), tuple(rows)),),
    )


def relaxed_panel(model: Model, place: int, start: ase.Atoms, result: Relaxed) -> Panel:
    """One structure: its bonds and symmetry, and whether distortions cost energy.

    Args:
        model: by which it was relaxed.
        place: of the structure among those shown.
        start: where the relaxation began.
        result: where it ended.
    """
    atoms = result.atoms
    moved = f"Its atoms moved by {result.moved:.3f} Å (root mean square)"
    moved += f" and the energy fell by {result.gain / (units.kcal / units.mol):.3g} kcal/mol."
    if result.problem is not None:
        return Panel(TOPIC.name, place, unavailable=f"This structure could not be relaxed: {result.problem}.")
    facts: dict[str, Any] = _plain(result)
    tables: tuple[Table, ...] = ()
    reading = moved
    checks = [] if len(atoms) == 1 else [_uphill(model, result)]
    if not atoms.pbc.any() and len(atoms) > 1:
        kinds, group = bond_kinds(atoms), point_group(atoms)
        before = point_group(start)
        facts |= {"bonds": kinds, "point_group": group.name, "point_group_error": group.error}
        reading += (
            f" Within 0.05 Å it has the symmetry {group.name} ({counted(group.order, 'operation')}"
            + (f"; {before.name} before)." if before.name not in (group.name, "unclear") else ").")
            + (f" Its bonds are of {counted(len(kinds), 'kind')}: {_listed(kinds)}." if kinds else "")
        )
        rows = tuple(
            (kind["bond"], kind["count"], f"{kind['shortest']:.3f}", f"{kind['longest']:.3f}") for kind in kinds
        )
        tables = (Table("Bonds", ("bond", "number", "shortest, Å", "longest, Å"), rows),)
        broken, made = changed_bonds(start, atoms)
        facts |= {"bonds_broken": broken, "bonds_made": made}
        checks.append(_same_bonds(broken, made))
        if broken or made:
            reading += (
                f" Beware: {counted(len(broken), 'bond')} broke and {counted(len(made), 'bond')} formed on the way"
                f"{_pairs(atoms, broken, made)}; that is a reaction, or a model that does not know this molecule."
            )
    return Panel(
        TOPIC.name,
        place,
        reading=reading,
        trust="Bonds are told by covalent radii; lengths that follow each other by less than 0.01 Å are one kind.",
        checks=tuple(checks),
        facts=facts,
        tables=tables,
    )


def changed_bonds(start: ase.Atoms, end: ase.Atoms) -> tuple[list[list[int]], list[list[int]]]:
    """Bonds of a molecule that are gone at the end and those that are new, as pairs of atoms, by covalent radii."""
    before, after = ({tuple(sorted(map(int, pair))) for pair in bonded_pairs(atoms.numbers, atoms.positions)}
                     for atoms in (start, end))  # fmt: skip
    return [list(pair) for pair in sorted(before - after)], [list(pair) for pair in sorted(after - before)]


def _same_bonds(broken: list[list[int]], made: list[list[int]]) -> Check:
    count = len(broken) + len(made)
    what = "bonds, told by covalent radii, that broke or formed while the molecule relaxed"
    return Check("the same molecule", what, float(count), "none", "", not count, claim=True)


def _pairs(atoms: ase.Atoms, *changed: list[list[int]]) -> str:
    """The first few of them in brackets."""
    pairs = [pair for part in changed for pair in part]
    words = ["-".join(f"{symbol(int(atoms.numbers[atom]))} {atom}" for atom in pair) for pair in pairs[:4]]
    return f" ({', '.join(words)}{', ...' if len(pairs) > 4 else ''})"


def _uphill(model: Model, result: Relaxed) -> Check:
    """Whether twenty random distortions cost energy: forces alone vanish on a saddle point as well."""
    rng = np.random.default_rng(0)
    distorted = []
    for _ in range(20):
        step = rng.normal(size=result.atoms.positions.shape)
        moved = result.atoms.copy()
        moved.positions += _STEP * step / np.sqrt((step**2).sum(axis=1).mean())
        distorted.append(moved)
    energies = [float(entry["energy"]) for entry in model.predict(distorted, forces=False, stress=False)]
    least = 1e3 * (min(energies) - result.energy)
    return Check(
        "a minimum",
        f"the least that twenty random distortions by {_STEP:g} Å cost, against nothing",
        least,
        "above 0 meV",
        "meV",
        least > 0.0,
    )


def _row(name: str, result: Relaxed, cells: bool) -> tuple[str | int | float, ...]:
    state = result.problem or ("at rest" if result.converged else "not converged")
    numbers = (result.gain / (units.kcal / units.mol), result.force, result.moved)
    stress = (
        (result.stress if result.stress is not None else "", 100.0 * (result.volume_change or 0.0)) if cells else ()
    )
    return (name, result.steps, *numbers, *stress, state)


def _plain(result: Relaxed) -> dict[str, Any]:
    return {
        name: value if value is None or isinstance(value, bool | int | str) else float(value)
        for name, value in result.to_dict().items()
    }


def _span(values: np.ndarray) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"


def _listed(kinds: Sequence[dict[str, Any]]) -> str:
    words = []
    for kind in kinds[:8]:
        low, high = f"{kind['shortest']:.3f}", f"{kind['longest']:.3f}"
        words.append(f"{kind['count']} {kind['bond']} of {low if low == high else f'{low}-{high}'} Å")
    more = f" and {counted(len(kinds) - 8, 'kind')} more" if len(kinds) > 8 else ""
    return ", ".join(words) + more
