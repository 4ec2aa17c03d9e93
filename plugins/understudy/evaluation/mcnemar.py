"""McNemar's test: do two classifiers make errors at different rates on the same rows?"""

from __future__ import annotations

from collections.abc import Mapping

from scipy import special

from understudy.evaluation.pairing import Rows


def mcnemar(challenger: Rows, champion: Rows) -> Mapping[str, float]:
    """Return the counts that differ and the two-sided mid-p value.

    ``b`` is how many rows only the champion got right, ``c`` only the challenger. Under the
    hypothesis of equal rates, min(b, c) is binomial of b + c and one half; the mid-p value counts
    half of what was observed, which keeps its size in all but the smallest samples (Fagerland,
    Lydersen and Laake, "The McNemar test for binary matched-pairs data", BMC Med. Res. Methodol.
    13, 2013). Rows are taken as independent and unweighted.
    """
    ours = challenger.guessed_class == challenger.true_class
    theirs = champion.guessed_class == champion.true_class
    b, c = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    return {"b": b, "c": c, "p": mid_p(b, c)}


def mid_p(b: int, c: int) -> float:
    """Return the two-sided mid-p value of two discordant counts."""
    if b == c:
        return 1.0
    fewer, both = min(b, c), b + c
    at_most = float(special.bdtr(fewer, both, 0.5))
    below = float(special.bdtr(fewer - 1, both, 0.5)) if fewer else 0.0
    return at_most + below
