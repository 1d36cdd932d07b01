"""The contract that every model must satisfy, as a check for anyone's model.

    from atomlens.testing import check_model
    check_model(model)

Each property is one row in `CHECKS`: a name, a sentence, and a pure function that measures it.
"""

from atomlens.testing.result import Check, CheckResult, Measurement, NotApplicable
from atomlens.testing.subject import Subject
from atomlens.testing.suite import CHECKS, check_model

__all__ = ["CHECKS", "Check", "CheckResult", "Measurement", "NotApplicable", "Subject", "check_model"]
