"""The program of a child process: GFN2-xTB charges and dipole moments by tblite, one line of JSON per molecule.

It is started by its path, so that it need not wait for torch, and imports nothing of ours. The other end is
`atomlens.explain.electrostatics.xtb_charges`. Everything is in atomic units.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any


def answer(molecule: Mapping[str, Any]) -> dict[str, Any]:
    """Charges and dipole about the origin of one molecule, or the problem that tblite has with it."""
    import numpy as np
    from tblite.interface import Calculator

    try:
        program = Calculator(
            "GFN2-xTB",
            np.array(molecule["numbers"]),
            np.array(molecule["positions"]),
            charge=molecule["charge"],
            uhf=molecule["unpaired"],
        )
        program.set("verbosity", 0)
        result = program.singlepoint()
    except (RuntimeError, ValueError) as error:
        return {"problem": str(error)}
    return {"charges": np.array(result.get("charges")).tolist(), "dipole": np.array(result.get("dipole")).tolist()}


def main() -> None:
    """Answer one line per molecule on standard input, which is a JSON list of them."""
    # Whatever a library prints goes to standard error, so that the answers stay readable.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for molecule in json.load(sys.stdin):
        answers.write(json.dumps(answer(molecule)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
