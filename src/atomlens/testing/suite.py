"""The list of properties, and the call that checks them all."""

from __future__ import annotations

from collections.abc import Sequence

from atomlens.model import Model, Structure
from atomlens.ops.threads import threads_for
from atomlens.testing import autograd, bookkeeping, derivatives, limits, multipoles, openings, symmetry, tables
from atomlens.testing.result import Check, CheckResult
from atomlens.testing.subject import Subject

CHECKS: dict[str, Check] = {
    check.name: check
    for check in (
        Check("translation", "moving all atoms together changes nothing", symmetry.translation),
        Check("rotation", "turning a structure turns vectors and leaves scalars alone", symmetry.rotation),
        Check("reflection", "mirroring a structure mirrors vectors and leaves scalars alone", symmetry.reflection),
        Check("permutation", "reordering atoms reorders their outputs and nothing else", symmetry.permutation),
        Check("lattice shift", "moving single atoms by lattice vectors changes nothing", symmetry.lattice_shift),
        Check("supercell", "a repeated cell has the same properties per cell, forces and stress", symmetry.supercell),
        Check("batching", "a batch gives what its structures give one by one", symmetry.batching),
        Check("isolation", "no gradient flows between structures of a batch", limits.isolation),
        Check("single atom", "an atom alone has finite properties, no force and no moment", limits.single_atom),
        Check("far apart", "atoms beyond the cutoff are worth what they are worth alone", limits.far_apart),
        Check("cutoff value", "properties are continuous at the cutoff", limits.cutoff_value),
        Check(
            "cutoff slope", "slopes of properties, forces among them, are continuous at the cutoff", limits.cutoff_slope
        ),
        Check("cutoff curvature", "curvatures of properties are continuous at the cutoff", limits.cutoff_curvature),
        Check("forces", "forces equal extrapolated differences of the energy", derivatives.forces_error),
        Check("forces order", "differences of the energy approach forces with order 2", derivatives.forces_order),
        Check("stress", "stress times volume equals extrapolated differences by strain", derivatives.stress_error),
        Check("stress order", "differences by strain approach the stress with order 2", derivatives.stress_order),
        Check("gradcheck", "first derivatives in autograd equal numerical ones", autograd.gradcheck),
        Check("gradgradcheck", "second derivatives in autograd equal numerical ones", autograd.gradgradcheck),
        Check("tables", "tabulated functions give what the exact ones give", tables.tables),
        Check("additivity", "atom terms add up to the total", bookkeeping.additivity),
        Check("charge conservation", "latent charges add up to the structure's charge", multipoles.charge_conservation),
        Check("symmetric tensor", "tensors equal their transposes", multipoles.symmetric_tensor),
        Check("inputs unchanged", "predicting changes no input and no weight", bookkeeping.inputs_unchanged),
        Check("precision kept", "dtype and device stay, outputs are float64", bookkeeping.precision_kept),
        Check("rounding", "float32 agrees with float64 to single precision", bookkeeping.rounding),
        Check("saving", "a saved and loaded model is the same bit for bit", bookkeeping.saving),
        Check("probe", "an atom that hears and is not heard changes nothing for the others", openings.probe),
        Check("listening", "probes that only listen get the features of atoms that nobody hears", openings.listening),
        Check("vanishing", "an atom of weight zero is as good as absent", openings.vanishing),
        Check("given features", "element features given from outside replace those looked up", openings.given_features),
    )
}


def check_model(model: Model, *, cases: Sequence[Structure] | None = None, strict: bool = True) -> list[CheckResult]:
    """Measure every property that a model must have, in its own precision and in float64.

    The model itself is not touched: checks work on copies, and torch's settings and random state stay as they are.

    Args:
        model: any model, trained or not.
        cases: structures to check it on, with elements that it knows; they replace the made ones of their kind
            (molecules, crystals, partly periodic). Keep them small: second derivatives are taken too.
        strict: raise if a property is violated.

    Returns:
        One result per property, in the order of `CHECKS`, with the measured value and its limit.

    Raises:
        AssertionError: some property is violated and ``strict`` is set; every one is listed with value and limit.
        InputError: a case that no model could take.
    """
    subject = Subject.of(model, cases)
    with threads_for(0):  # the structures are small
        results = [check.run(subject) for check in CHECKS.values()]
    violated = [str(result) for result in results if result.passed is False]
    if strict and violated:
        raise AssertionError(
            f"the model violates {len(violated)} of {len(results)} properties:\n" + "\n".join(violated)
        )
    return results
