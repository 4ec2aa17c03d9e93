"""How far two distributions are apart, and whether that can be chance. By SciPy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.special import rel_entr
from scipy.stats import chi2_contingency, false_discovery_control

from understudy.evaluation.guards.profile import Counts

ALPHA: Final = 0.01
"""The share of false alarms among the columns that are said to have changed, in expectation."""
FEWEST_EXPECTED: Final = 5
"""Rows that a cell is expected to have for the chi-squared distribution to hold (Cochran, "Some
methods for strengthening the common chi-squared tests", Biometrics 10, 1954)."""


def distance(then: Counts, now: Counts) -> float:
    """Return the Jensen-Shannon distance of two distributions over the same cells.

    The square root of the Jensen-Shannon divergence in bits: 0 for the same distribution, 1 for two
    that have nothing in common (Endres and Schindelin, "A new metric for probability
    distributions", IEEE Trans. Inf. Theory 49, 2003).

    Args:
        then: Rows by cell; at least one.
        now: The same for other rows.

    Raises:
        ValueError: when either has no rows: nothing is not the same as nothing changed.
    """
    if not np.sum(then) or not np.sum(now):
        raise ValueError(f"{np.sum(then)} rows cannot be compared with {np.sum(now)}")
    shares = [np.asarray(counts, dtype="float64") / np.sum(counts) for counts in (then, now)]
    middle = np.mean(shares, axis=0)
    divergence = float(sum(rel_entr(share, middle).sum() for share in shares)) / 2 / np.log(2)
    return float(np.sqrt(min(max(divergence, 0.0), 1.0)))  # rounding may leave -1e-17


def chance(then: Counts, now: Counts) -> float:
    """Return the p-value of the hypothesis that both are samples of one distribution.

    Pearson's chi-squared test of homogeneity; cells too rare for it are taken together. Rows count
    as independent: where days or customers hang together the value is too small, and where both
    hold the same rows it is too large. So it never decides alone.
    """
    table = _pooled(np.vstack([then, now]).astype("float64"))
    if table.shape[1] < 2:  # noqa: PLR2004 -- one cell is always distributed alike
        return 1.0
    return float(chi2_contingency(table, correction=False).pvalue)


def credible(chances: Sequence[float]) -> list[bool]:
    """Return which of several changes are no chance, the number of those looked at considered.

    Benjamini and Yekutieli's procedure ("The control of the false discovery rate in multiple
    testing under dependency", Ann. Statist. 29, 2001), as columns depend on each other.
    """
    if not chances:
        return []
    return [bool(p <= ALPHA) for p in false_discovery_control(chances, method="by")]


def _pooled(table: Counts | np.ndarray) -> np.ndarray:
    """Return a table of two rows whose cells are expected to have enough, the rare ones pooled."""
    table = table[:, table.sum(axis=0) > 0]
    share = table.sum(axis=1, keepdims=True) / max(table.sum(), 1.0)
    rare = (share * table.sum(axis=0)).min(axis=0) < FEWEST_EXPECTED
    pooled = table[:, rare].sum(axis=1, keepdims=True)
    return np.hstack([table[:, ~rare], pooled]) if rare.any() else table
