"""Every model against every property."""

from functools import lru_cache

import pytest
from contract_models import VARIANTS, make_model

from atomlens.testing import CHECKS, Subject

PERIODIC = {"lattice shift", "supercell", "stress", "stress order"}
CUTOFF = {"cutoff value", "cutoff slope", "cutoff curvature"}
NOT_APPLICABLE = {
    "no cutoff": PERIODIC | CUTOFF,
    "cosine cutoff": {"cutoff curvature"},
    "dtnn": PERIODIC | CUTOFF,
    "dtnn, cosine cutoff": {"cutoff curvature"},
    "symmetry functions": {"cutoff curvature", "tables"},
    "weighted symmetry functions": {"cutoff curvature", "tables"},
    "smooth symmetry functions": {"tables"},
    "mean aggregation": CUTOFF,
    "mean, cosine, shared": CUTOFF,
    "no interactions": {"forces order", "stress order"},
}


@lru_cache(maxsize=1)
def subject(variant: str) -> Subject:
    return Subject.of(make_model(variant))


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_model_keeps_the_contract(variant, check):
    result = CHECKS[check].run(subject(variant))
    expected = None if check in NOT_APPLICABLE.get(variant, ()) else True
    assert result.passed is expected, str(result)
    assert result.value is None or result.value >= 0.0
