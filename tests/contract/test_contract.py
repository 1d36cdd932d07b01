"""Every model against every property."""

from functools import lru_cache

import pytest
from contract_models import MATRIX, READOUTS, VARIANTS, make_subject

from atomlens.testing import CHECKS, Subject

PERIODIC = {"lattice shift", "supercell", "stress", "stress order"}
CUTOFF = {"cutoff value", "cutoff slope", "cutoff curvature"}
FORCES = {"forces", "forces order", "stress", "stress order"}
OF_REPRESENTATIONS = {
    "no cutoff": PERIODIC | CUTOFF,
    "cosine cutoff": {"cutoff curvature"},
    "dtnn": PERIODIC | CUTOFF,
    "dtnn, cosine cutoff": {"cutoff curvature"},
    "symmetry functions": {"cutoff curvature", "tables"},
    "weighted symmetry functions": {"cutoff curvature", "tables"},
    "smooth symmetry functions": {"tables"},
    "mean aggregation": CUTOFF,
    "mean, cosine, shared": CUTOFF,
    "no interactions": {"forces order", "stress order", "listening"},
}


def not_applicable(variant, readouts):
    """The checks that have nothing to test on this model, by what it is made of."""
    names = {entry["name"] for entry in READOUTS[readouts]}
    conserves = any(entry == {"name": "dipole"} for entry in READOUTS[readouts])
    open_only = bool(names & {"dipole", "electronic_spatial_extent"}) or VARIANTS[variant].get("cutoff", 5.0) is None
    open_only = open_only or variant == "dtnn"
    left_out = set(OF_REPRESENTATIONS.get(variant, ()))
    # A polarisability has a range of its own, where it must be smooth.
    left_out -= CUTOFF if "polarizability" in names else set()
    left_out |= PERIODIC if open_only else set()
    left_out |= set() if "energy" in names else FORCES
    left_out |= set() if conserves else {"charge conservation"}
    left_out |= {"probe"} if conserves and names == {"dipole"} else set()
    has_tensor = "polarizability" in names or ("energy" in names and not open_only)
    return left_out | (set() if has_tensor else {"symmetric tensor"})


@lru_cache(maxsize=1)
def subject(variant: str, readouts: str) -> Subject:
    return make_subject(variant, readouts)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("variant", "readouts"), [(variant, "energy") for variant in VARIANTS] + MATRIX)
def test_model_keeps_the_contract(variant, readouts, check):
    result = CHECKS[check].run(subject(variant, readouts))
    expected = None if check in not_applicable(variant, readouts) else True
    assert result.passed is expected, str(result)
    assert result.value is None or result.value >= 0.0
