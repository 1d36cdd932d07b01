"""What simple methods reach on the same data and the same split, so that a network never stands alone."""

from atomlens.baselines.descriptor import Descriptor
from atomlens.baselines.descriptors import DESCRIPTORS
from atomlens.baselines.result import BaselineResult
from atomlens.baselines.suite import BASELINES, Baseline, run_baselines

__all__ = ["BASELINES", "DESCRIPTORS", "Baseline", "BaselineResult", "Descriptor", "run_baselines"]
