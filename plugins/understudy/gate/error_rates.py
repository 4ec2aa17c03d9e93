"""How much error each comparison may spend: over nights, and over the rules of one night. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def alpha_of(alpha: float, judged_before: int) -> float:
    """Return the one-sided error rate that the next challenger on an unchanged holdout may spend.

    The k-th challenger, ``k = judged_before + 1``, gets ``alpha * 6 / (pi^2 k^2)``. The sum over
    all k is ``alpha`` (Basel problem), so the chance that any of them, however many, is promoted
    by luck stays at or below ``alpha`` by the union bound. A holdout that changed starts anew.
    This is Bonferroni's rule for a sequence of unknown length, named Alpha-Spending in Tian and
    Ramdas, "Online control of the familywise error rate", Stat. Methods Med. Res. 30 (2021).

    Args:
        alpha: The error rate over all challengers.
        judged_before: How many were compared on this very holdout before.
    """
    return alpha * 6 / (math.pi * (judged_before + 1)) ** 2


def violations(evidence: Sequence[tuple[float, float]]) -> tuple[bool, ...]:
    """Return which of several rules are violated beyond chance, all errors taken together.

    Holm's step-down procedure ("A simple sequentially rejective multiple test procedure", Scand.
    J. Statist. 6, 1979): with m rules, the j-th smallest p-value must reach alpha / (m - j + 1).
    The chance that any rule is called violated that is not stays at or below alpha. Where rules
    state different error rates, each p-value is measured by its own, which keeps the chance at or
    below the largest of them.

    Args:
        evidence: For each rule the one-sided p-value of the hypothesis that it is kept, and the
            error rate that it states.
    """
    order = sorted(range(len(evidence)), key=lambda i: evidence[i][0] / evidence[i][1])
    rejected = [False] * len(evidence)
    for place, index in enumerate(order):
        p_value, alpha = evidence[index]
        if p_value > alpha / (len(evidence) - place):
            break
        rejected[index] = True
    return tuple(rejected)
