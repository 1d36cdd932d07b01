"""When the tables of models in training are measured, and refined before the weights have outgrown them."""

from __future__ import annotations

from atomlens.errors import InputError
from atomlens.model import Model

# Measuring costs about as much as a step, so not every step does it. In 100 steps on ethanol the error grew by 15 %
# at most: a table that meets half of the bound is good until the next time, and what is kept `save_model` measures once
# more. The rhythm follows the count of steps alone, so that a resumed run takes up the same tables.
STEPS_BETWEEN = 100
MARGIN = 0.5


def refine(model: Model, step: int) -> list[int]:
    """Raise the number of knots where the weights ask for it.

    Args:
        model: whose tables are measured.
        step: steps done, for the message.

    Returns:
        Intervals of each table.

    Raises:
        InputError: no table is good enough, as for weights that grow beyond all bounds.
    """
    try:
        return [found.intervals for found in model.refine_tables(MARGIN)]
    except InputError as error:
        raise InputError(
            f"training diverged by step {step}, or its filters became too steep: {error.problem}; or lower "
            "training.learning_rate and start anew"
        ) from None
