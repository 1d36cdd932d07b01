"""GFN2-xTB charges and dipole moments of molecules, to hold latent charges against.

They are computed in a child process: tblite is up to ten times slower on small molecules with more threads than one,
and what ends a Fortran program must not end ours.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomlens.data.system import AtomicSystem
from atomlens.data.units import parse_unit
from atomlens.errors import InputError
from atomlens.explain.probes.field import as_system
from atomlens.model import Structure
from atomlens.progress import track

XTB = "GFN2-xTB"
_BOHR = parse_unit("bohr")[0]  # Å
_CHARGE_ERROR = 1e-3  # e; by which tblite's charges may miss the charge that was asked for
_PROGRAM = Path(__file__).with_name("xtb_process.py")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class XtbMolecule:
    """What GFN2-xTB says of one molecule."""

    charges: np.ndarray  # (atoms,) e, Mulliken charges of its density
    dipole: np.ndarray  # (3,) e·Å, about the origin; of its density, not of the charges alone


@dataclass(frozen=True)
class XtbMolecules:
    """Results by the place of a molecule, and the reasons why others have none."""

    found: Mapping[int, XtbMolecule]
    failed: Mapping[int, str]


def has_tblite() -> bool:
    """Whether tblite is installed."""
    return importlib.util.find_spec("tblite") is not None


def xtb_charges(structures: Sequence[Structure], *, title: str = "") -> XtbMolecules:
    """GFN2-xTB charges and dipole moments.

    A molecule that tblite cannot treat (periodic, an element beyond Rn, a fractional or impossible charge, an SCF
    that fails) is left out with its reason. Molecules are closed-shell, or have one unpaired electron.

    Args:
        structures: open molecules with their total charges.
        title: of a progress bar; none without it.

    Raises:
        InputError: tblite is not installed.
    """
    if not has_tblite():
        raise InputError("GFN2-xTB charges need tblite, which is not installed: pip install 'atomlens[xtb]'")
    systems = [as_system(structure) for structure in structures]
    failed = {place: problem for place, system in enumerate(systems) if (problem := _refused(system))}
    waiting = [place for place in range(len(systems)) if place not in failed]
    found: dict[int, XtbMolecule] = {}
    with track(title, len(waiting), "molecules") as bar:
        while waiting:
            answers = _answers([_described(systems[place]) for place in waiting], bar.advance)
            if len(answers) < len(waiting):  # the child died over the next one
                answers.append({"problem": "tblite broke down"})
            for place, answer in zip(waiting, answers, strict=False):
                problem = answer.get("problem") or _wrong(answer, systems[place].charge)
                if problem:
                    failed[place] = problem
                else:
                    dipole = _BOHR * np.array(answer["dipole"])
                    found[place] = XtbMolecule(np.array(answer["charges"]), dipole)
            waiting = waiting[len(answers) :]
    return XtbMolecules(found, failed)


def _refused(system: AtomicSystem) -> str:
    """Why a molecule is not even tried; empty if it is."""
    if system.pbc.any():
        return "it is periodic"
    return "" if system.charge == round(system.charge) else f"its charge {system.charge:g} e is no whole number"


def _wrong(answer: Mapping[str, Any], charge: float) -> str:
    """What is wrong with an answer: tblite takes charges that a molecule cannot have without a word."""
    values = np.array([*answer["charges"], *answer["dipole"]])
    if not np.isfinite(values).all():
        return "a result is not finite"
    if abs(sum(answer["charges"]) - charge) > _CHARGE_ERROR:
        return f"its charges do not add up to {charge:g} e"
    return ""


def _described(system: AtomicSystem) -> dict[str, Any]:
    """A molecule for the child, in atomic units."""
    charge = round(system.charge)
    # The 4f electrons of lanthanides belong to the core of GFN-xTB: each counts as La.
    protons = int(np.where((system.numbers >= 57) & (system.numbers <= 71), 57, system.numbers).sum())
    positions = (system.positions / _BOHR).tolist()
    unpaired = (protons - charge) % 2
    return {"numbers": system.numbers.tolist(), "positions": positions, "charge": charge, "unpaired": unpaired}


def _answers(molecules: Sequence[Mapping[str, Any]], advance: Any) -> list[dict[str, Any]]:
    """The child's answers in the order asked; fewer if it died on the way."""
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1"), "PYTHONPATH": path}
    # -P: files beside the program must not pass for installed packages.
    command = [sys.executable, "-P", str(_PROGRAM)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        encoding="utf-8",
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with child.stdin:
                child.stdin.write(json.dumps(list(molecules)))
        except BrokenPipeError:
            return []
        answers = []
        for line in child.stdout:
            answers.append(json.loads(line))
            advance(1)
        return answers
