"""The sentences of a page, and how it shows text and numbers. Pure."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from understudy.errors import sentences
from understudy.gate.checks import sure
from understudy.report.document import CheckView, RecordView, finite

PASSED: Final = "passed"
FAILED: Final = "failed"
UNDECIDED: Final = "undecided"
NOT_APPLICABLE: Final = "not applicable"
_FIRST: Final = "first model"
_TRAININGS: Final = "metrics that the training runs logged"
_MOST_REASONS: Final = 3
"""Reasons that the opening repeats; the rest is one click away."""

_HEADLINES: Final = {
    "PROMOTE": "The challenger has earned the place of the champion.",
    "REJECT": "The champion stays: the challenger broke a rule.",
}
_FIRST_HEADLINES: Final = {
    "PROMOTE": "The challenger may become the first champion.",
    "HOLD": "There is no champion yet, and nobody knows whether the challenger is good enough.",
    "REJECT": "There is no champion yet, and the challenger is not good enough.",
}
_TOLERANCE: Final = "tolerance"
_PROMOTES_BY_CHANCE: Final = (
    "A challenger is promoted only if every check passes. That makes it an intersection-union "
    "test: the chance to promote a model that breaks a rule is at most the error rate of one "
    "check, however many there are."
)
_REJECTS_BY_CHANCE: Final = (
    "The other error, to reject by chance, would grow with the number of checks. So a comparison "
    "counts as failed only if it still does after a correction for all {0} together (Holm)."
)
_AS_LOGGED: Final = (
    "The two models\u2019 numbers were compared as they were logged. No interval is claimed: a "
    "difference may be luck."
)
_REPEATED: Final = (
    "This is the {0} challenger that was judged on these very rows. Whoever tries often enough on "
    "the same rows wins by luck at last, so each further one must be more convincing than the one "
    "before. "
)
_OVERLAPPING: Final = (
    "Many of these rows judged challengers before: as if {0} had been judged on all of them. "
    "Whoever tries often enough on the same rows wins by luck at last, so each further one must be "
    "more convincing. {1}"
)


def undrawn(what: str, error: Exception) -> str:
    """Return that something could not be drawn, and why; the numbers are there all the same."""
    # An error's text may repeat the data that caused it.
    why = shown(f"{type(error).__name__}: {error}", 200)
    return (
        f"{what} could not be drawn ({why}). The record has every number, and the verdict stands."
    )


def headline(record: RecordView) -> str:
    """Return what the verdict means, in one sentence."""
    if record.verdict == "PROMOTE" and shadow(record):
        return "The challenger would have been promoted. Nothing moves tonight."
    if record.case == _FIRST:
        return _FIRST_HEADLINES.get(record.verdict, shown(record.verdict))
    if record.verdict == "HOLD":
        return f"The champion stays: {_why_held(record)}."
    return _HEADLINES.get(record.verdict, shown(record.verdict))


def _why_held(record: RecordView) -> str:
    if record.champion is not None and record.champion.reason:
        return "it could not be scored, so nothing was compared"
    if record.evidence.get("blockers"):
        return "the two models cannot be compared"
    if any(check.result == UNDECIDED for check in record.checks):
        return "the evidence does not decide"
    return "the challenger is held back"


def opening(record: RecordView) -> str:
    """Return who met whom, on what, and how many checks came out which way."""
    return f"{_meeting(record)} {tally(record.checks)}"


def _meeting(record: RecordView) -> str:
    challenger = f"challenger for {shown(record.context.get('model', 'the model'), 80)}"
    rows = finite(record.fact("rows"))
    if record.champion is None:
        return f"The first {challenger} was measured{f' on {count(rows)} rows' if rows else ''}."
    if record.champion.reason:
        return f"The {challenger} had nobody to compare with."
    if record.basis == _TRAININGS:
        where = ", each on rows of its own training"
    else:
        where = f" on the same {count(rows)} rows" if rows else ""
    return f"The {challenger} met champion {shown(record.champion.name, 80)}{where}."


def shadow(record: RecordView) -> str:
    """Return that a night moves nothing; '' for one that does."""
    stored = record.document.get("shadow")
    if not stored:
        return ""
    night, nights = count(finite(stored.get("night"))), count(finite(stored.get("nights")))
    return (
        f"Shadow night {night} of {nights}: the gate only says what it would have done, and "
        "moves nothing."
    )


def tally(checks: tuple[CheckView, ...]) -> str:
    """Return how many checks came out which way."""
    found = Counter(check.result for check in checks)
    if not checks:
        return "Nothing could be checked."
    if found[PASSED] == len(checks):
        return "Its one check passed." if len(checks) == 1 else f"All {len(checks)} checks passed."
    results = (FAILED, UNDECIDED, PASSED, NOT_APPLICABLE)
    parts = [f"{found[result]} {result}" for result in results if found[result]]
    return f"Of {len(checks)} check{'s' * (len(checks) > 1)}: {', '.join(parts)}."


def told(record: RecordView, above: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the reasons that the opening repeats, and those that are folded away.

    Args:
        record: What was decided.
        above: What stands above the decision already; '' for nothing. Of a verdict of HOLD that is
            the sentence in plain words, and only the statistics behind it are told again.
    """
    reasons = list(record.reasons)
    if record.verdict == "HOLD" and above:
        for place, reason in enumerate(reasons):
            sentence, _, statistics = reason.partition("; ")
            if above.endswith(sentence):
                reasons[place] = statistics
                break
    left = tuple(filter(None, reasons))
    return left[:_MOST_REASONS], left[_MOST_REASONS:]


def said_above(reason: str, told_below: Iterable[str]) -> tuple[str, ...]:
    """Return the sentences of a night's reason that its decision below does not tell.

    The first one always: it says in plain words how the night ended.

    Args:
        reason: Why the night ended so; its sentences are set apart by semicolons.
        told_below: The decision's reasons.
    """
    first, *others = sentences(reason)
    known = [part for one in told_below for part in sentences(one)]

    def is_below(sentence: str) -> bool:
        # Of a night that was held all the same; a tag of MLflow may end in the middle.
        told_there = sentence.removeprefix("verdict PROMOTE: ")
        return any(part.startswith(told_there) for part in known)

    return (first, *(one for one in others if not is_below(one)))


def notes(record: RecordView) -> tuple[str, ...]:
    """Return the record's notes without those that repeat what a guard found."""
    shown_already = {f"{finding.guard}: {finding.reason}" for finding in record.findings}
    return tuple(note for note in record.notes if note not in shown_already)


def testing(record: RecordView) -> Iterator[str]:
    """Yield what the record claims about its own errors, and what repeated testing costs."""
    compared = sum(check.excess is not None for check in record.checks)
    if not compared:
        if record.champion is not None and not record.champion.reason:
            yield _AS_LOGGED
        return
    before = finite(record.fact("judged_before"))
    part = finite(record.fact("overlapping")) or 0.0
    if before is not None and part:
        rates = _rates(record.checks, before + part)
        yield _OVERLAPPING.format(f"{before + part:.2g}", rates).rstrip()
    elif before is not None:
        yield repeated(int(before), _rates(record.checks, before))
    yield _PROMOTES_BY_CHANCE
    if compared > 1:
        yield _REJECTS_BY_CHANCE.format(compared)


def _rates(checks: tuple[CheckView, ...], before: float) -> str:
    """Return what the comparisons may err, after so many challengers on the same rows."""
    falls = _error_rate(check for check in checks if check.rule != _TOLERANCE)
    stays = _error_rate(check for check in checks if check.rule == _TOLERANCE)
    if falls is None or stays is None or not before:
        return _rate(stays, 0) if falls is None else _rate(falls, before)
    return (
        f"{_rate(falls, before)} A tolerance is checked with {sure(stays)} % however many there "
        "were: with more, its wider interval would be passed more easily."
    )


def _error_rate(checks: Iterable[CheckView]) -> float | None:
    """Return the one-sided error rate of the first comparison: its interval has it at each end."""
    for check in checks:
        if check.excess is not None and check.excess.confidence is not None:
            return (1 - check.excess.confidence) / 2
    return None


def repeated(before: int, rates: str) -> str:
    """Return the 1-based index of this challenger on unchanged rows, and what it means.

    Args:
        before: How many were judged on them before.
        rates: What this one's comparisons may err, in words; '' where that is not known.
    """
    if not before:
        return f"This is the first challenger that was judged on these rows. {rates}".rstrip()
    place = before + 1
    ending = {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    if place % 100 in {11, 12, 13}:
        ending = "th"
    return f"{_REPEATED.format(f'{count(place)}{ending}')}{rates}".rstrip()


def _rate(alpha: float | None, before: float) -> str:
    """Return what one comparison may err, and why that is less than the rules allow in all."""
    if alpha is None:
        return ""
    # As the gate spends it: the k-th challenger on the same rows gets 6 / (pi k)^2 of the whole.
    share = 6 / (math.pi * (before + 1)) ** 2
    said = (
        f"It was judged at an error rate of {stated(100 * alpha, 3)} %: each bound of an interval"
        f" holds with {sure(alpha)} % confidence."
    )
    if alpha >= share:  # a record of somebody else's arithmetic
        return said
    asked = stated(100 * (1 - alpha / share), 3)
    return (
        f"{said} That is more than the {asked} % that the rules ask for, because what they allow "
        f"is for all challengers on these rows together, and this one's share is {share:.2g} of it."
    )


def smallest_seen(checks: tuple[CheckView, ...]) -> str:
    """Return what an undecided comparison on all rows could have shown; '' where none is."""
    for check in checks:
        least = finite(check.smallest_detectable)
        if check.result == UNDECIDED and least is not None and not check.slice:
            return (
                f"Rows like these show a gain in {shown(check.metric, 80)} of {number(least)} four "
                "times out of five, and a smaller one less often."
            )
    return ""


LONGEST: Final = 600
"""Characters of one text that a page shows; the record has all of them."""

_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")
_CONTROLS: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Control and format characters, those of the bidirectional algorithm among them (Unicode TR 9,
TR 36). The two joiners stay: Persian, Hindi and families of emoji are written with them."""
_MINUS: Final = "\u2212"
_SCIENTIFIC_FROM: Final = 1e7
_SCIENTIFIC_BELOW: Final = 1e-4


def shown(value: object, longest: int = LONGEST) -> str:
    """Return a text with every unseen character made visible, its middle cut out if too long."""
    text = str(value)
    cut = len(text) - longest
    if cut > 0:
        tail = longest // 3
        text = f"{text[: longest - tail]} [... {cut:,} more characters ...] {text[-tail:]}"
    # A lone surrogate cannot be encoded as UTF-8, so the page could not be written with it.
    encodable = _SURROGATES.sub("\ufffd", text)
    return _CONTROLS.sub(lambda found: f"[U+{ord(found[0]):04X}]", encodable)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits; a dash for None, NaN by its name."""
    if value is None:
        return "\u2013"
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else f"{_MINUS}infinite"
    return _typeset(_rounded(value, digits))


def signed(value: float | None, digits: int = 4) -> str:
    """Return a difference: like ``number``, with a plus sign where it is above zero."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and math.isfinite(value) else text


def stated(value: float | None, digits: int = 6) -> str:
    """Return a number as a person would write it: without zeros at its end."""
    if value is None or not math.isfinite(value):
        return number(value)
    return _typeset(f"{value:.{digits}g}")


def count(value: float | None) -> str:
    """Return a whole number with its thousands set apart."""
    return "\u2013" if value is None else f"{value:,.0f}"


def percent(share: float | None, digits: int = 3) -> str:
    """Return a share of one as a percentage."""
    return "\u2013" if share is None else f"{number(100 * share, digits)} %"


def probability(value: float | None) -> str:
    """Return a p-value: never as exactly 0, which no test can give."""
    smallest = 1e-4
    if value is None:
        return "\u2013"
    return f"< {smallest:g}" if value < smallest else number(value, 3)


def size(octets: float) -> str:
    """Return a number of bytes in the unit (powers of 1000) that reads best."""
    steps = ("B", "kB", "MB", "GB", "TB")
    power = min(int(math.log(max(abs(octets), 1), 1000)), len(steps) - 1)
    return f"{number(octets / 1000**power, 3)} {steps[power]}"


def _rounded(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    if _SCIENTIFIC_BELOW <= abs(value) < _SCIENTIFIC_FROM:
        places = digits - 1 - math.floor(math.log10(abs(value)))
        return f"{value:,.{max(places, 0)}f}"
    return f"{value:.{digits - 1}e}"


def _typeset(text: str) -> str:
    return text.replace("-", _MINUS)
