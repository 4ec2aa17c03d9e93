"""When a trial that has no prospect is ended before its time. Touches nothing.

Both compare a trial with what the others had at the same step. The median's judges are finished
trials only, so that nothing depends on who works beside whom, and the first five run to their end.
Halving lets only the better half of all that came so far go on at steps 1, 2, 4, 8, ...: sooner,
and harder on those that learn slowly (Li et al. 2020, "A System for Massively Parallel
Hyperparameter Tuning").
"""

from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

MEDIAN, HALVING, NONE = "median", "halving", "none"
NAMES = (MEDIAN, HALVING, NONE)

FIRST_TRIALS = 5
"""Finished trials before the median is worth anything (Optuna's number, too)."""
FIRST_STEP = 2
"""The first step, from 1, at which the median ends a trial: before, there is mostly chance."""
HALF = 2


def pruner(name: str) -> BasePruner:
    """Return the pruner of a study.

    Args:
        name: one of `NAMES`.
    """
    if name == MEDIAN:
        return MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=FIRST_STEP)
    if name == HALVING:
        return SuccessiveHalvingPruner(min_resource=1, reduction_factor=HALF)
    return NopPruner()
