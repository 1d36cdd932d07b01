"""Learning rates as pure functions of how far training is, so that a resumed run needs no state for them."""

from __future__ import annotations

import math

from atomlens.training.config import TrainingConfig

FINAL_SHARE = 0.01  # of the highest rate, at the end of a cosine decay


def learning_rate(config: TrainingConfig, step: int, progress: float) -> float:
    """The learning rate of a step.

    Args:
        config: highest rate, kind of schedule, warm-up.
        step: steps done before.
        progress: share of the whole training done before, 0 to 1.
    """
    top = config.learning_rate
    if config.schedule == "constant":
        return top
    if config.schedule == "exponential":  # thesis 4.4: ratio 0.96 per 100,000 steps
        return float(top * 0.96 ** (step / 100_000))
    if progress < config.warmup:
        return top * max(progress / config.warmup, FINAL_SHARE)
    decayed = (progress - config.warmup) / (1.0 - config.warmup)
    return top * (FINAL_SHARE + (1.0 - FINAL_SHARE) * 0.5 * (1.0 + math.cos(math.pi * min(decayed, 1.0))))
