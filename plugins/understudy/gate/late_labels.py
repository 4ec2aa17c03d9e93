"""Whether a gate chose right, seen once the rows after its night have their targets. Pure.

The same two models are judged again by the night's own rules, on rows that nobody could know then.
The night's decision record stays as it is; this is a document beside it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from understudy.errors import DecisionError
from understudy.gate.evidence import Comparison
from understudy.gate.learning import Lesson, least_tolerance
from understudy.gate.record import DecisionRecord, as_json, comparison_of, replay
from understudy.gate.verdict import Check, Score, Verdict
from understudy.spec.rules import Gate, Unscorable

SCHEMA: Final = "understudy/matured/1"
"""The form that is written."""


class Choice(StrEnum):
    """What became of a verdict."""

    RIGHT = "right"
    WRONG = "wrong"
    UNDECIDED = "undecided"


def choice(then: Verdict, later: Verdict) -> Choice:
    """Return whether a verdict was right.

    A gate chooses between two models: PROMOTE takes the challenger, HOLD and REJECT keep the
    champion. It was right where the later rows make the same choice for sure.

    Args:
        then: The night's verdict.
        later: The verdict of the same rules on the rows that came after the night.
    """
    # Later rows that do not decide prove neither choice wrong.
    if later is Verdict.HOLD:
        return Choice.UNDECIDED
    same = (then is Verdict.PROMOTE) == (later is Verdict.PROMOTE)
    return Choice.RIGHT if same else Choice.WRONG


def rules_of_rows(gate: Gate) -> Gate:
    """Return the rules that rows alone can answer.

    What the guards saw and what a model cost belong to its night. A champion that cannot be scored
    leaves the question open, whatever the pipeline does with its challenger.
    """
    kept = replace(gate, guards=None, budgets=None, shadow_nights=0, learn=None)
    return replace(kept, unscored_champion=Unscorable.HOLD.value)


@dataclass(frozen=True, slots=True)
class Previous:
    """The version that the night's champion had replaced, on the same rows.

    Attributes:
        model: Its version.
        reason: Why it has no numbers; empty where it has.
        comparisons: It in the challenger's place, against the champion: a gain above zero says
            that it would have served better than the champion.
    """

    model: str
    reason: str = ""
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, slots=True)
class LateLabelContext:
    """Which night it is about, and what looked at it again when.

    Attributes:
        pipeline: The pipeline's name.
        model: The registered model.
        night: MLflow run of the night.
        as_of: ISO time of the night.
        verdict: The night's own verdict.
        outcome: How the night ended, such as ``PROMOTED``; empty where that is not known.
        seen_by: MLflow run of the night that had the rows.
        seen_as_of: ISO time of that night.
        until: ISO time: rows count that came after ``as_of`` and not after this.
    """

    pipeline: str
    model: str
    night: str
    as_of: str
    verdict: Verdict
    outcome: str
    seen_by: str
    seen_as_of: str
    until: str


@dataclass(frozen=True, slots=True)
class LateLabelRecord:
    """A night seen again.

    Attributes:
        about: Which night, and what looked at it again.
        hindsight: The same two models judged on the later rows; None where that could not be.
        obstacle: Why it could not be; empty where it could.
        previous: The version that the champion had replaced; None where there was none.
    """

    about: LateLabelContext
    hindsight: DecisionRecord | None
    obstacle: str = ""
    previous: Previous | None = None

    @property
    def choice(self) -> Choice:
        """Whether the gate chose right."""
        if self.hindsight is None:
            return Choice.UNDECIDED
        return choice(self.about.verdict, self.hindsight.verdict)

    @property
    def reason(self) -> str:
        """Why, as one line."""
        return self.obstacle if self.hindsight is None else self.hindsight.decision.why

    @property
    def rows(self) -> int:
        """How many rows it rests on."""
        evidence = None if self.hindsight is None else self.hindsight.evidence
        return 0 if evidence is None else evidence.rows

    @property
    def check(self) -> Check | None:
        """The primary metric on all of the later rows; None where it could not be computed."""
        if self.hindsight is None or not self.rows:
            return None
        name = self.hindsight.gate.primary.name
        found = [one for one in self.hindsight.decision.checks if one.metric == name]
        return next((one for one in found if not one.slice and one.gain is not None), None)

    @property
    def cost(self) -> float | None:
        """How much better the model that was not chosen did, in the unit of the primary metric.

        Above zero it would have served better. None where the two were not compared.
        """
        gain = None if self.check is None else self.check.gain
        if gain is None:
            return None
        return -gain if self.about.verdict is Verdict.PROMOTE else gain

    def lesson(self, then: DecisionRecord) -> Lesson | None:
        """Return what the night says of the gate's tolerance; None where it says nothing.

        Args:
            then: The night's own record.
        """
        check, metric = self.check, then.gate.decisive
        gain = None if check is None else check.gain
        compared = isinstance(then.champion, Score) and metric.tolerance is not None
        if not compared or gain is None or not math.isfinite(gain):
            return None
        asked = then.challenger, then.champion, then.basis, then.evidence
        least = least_tolerance(then.gate, *asked)
        return Lesson(self.about.as_of, self.about.seen_as_of, least, gain)

    def summary(self) -> str:
        """Return it as a sentence for a log."""
        on = f" on {self.rows} rows that came after it" if self.rows else ""
        head = f"Night of {self.about.as_of[:16]}, {self.about.verdict}: {self.choice}{on}"
        return f"{head}. {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """Return the record as strict JSON values."""
        hindsight = None if self.hindsight is None else self.hindsight.to_dict()
        parts = {
            "schema": SCHEMA,
            "about": self.about,
            "choice": self.choice.value,
            "reason": self.reason,
            "cost": self.cost,
            "hindsight": hindsight,
            "obstacle": self.obstacle,
            "previous": self.previous,
        }
        return {name: as_json(part) for name, part in parts.items()}

    def to_json(self) -> str:
        """Return the record as strict JSON; numbers that are not finite are written as strings."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True, allow_nan=False)

    @classmethod
    def of(cls, document: str) -> LateLabelRecord:
        """Return a stored record; its verdict is recomputed from the stored numbers.

        Raises:
            DecisionError: when the document is no such record of a schema that we know.
        """
        try:
            stored = json.loads(document)
            if stored["schema"] != SCHEMA:
                raise _unreadable(f"a document of schema {stored['schema']!r}")
            return _record(stored)
        except (ValueError, KeyError, TypeError) as error:
            raise _unreadable(f"no such record ({type(error).__name__}: {error})") from error


def _record(stored: Mapping[str, Any]) -> LateLabelRecord:
    about, previous, hindsight = stored["about"], stored["previous"], stored["hindsight"]
    context = LateLabelContext(**{**about, "verdict": Verdict(about["verdict"])})
    # Replayed and not believed: choice and cost follow from the numbers, as in every record.
    judged = None if hindsight is None else replay(json.dumps(hindsight))
    obstacle, before = stored["obstacle"], None
    if previous is not None:
        found = tuple(comparison_of(one) for one in previous["comparisons"])
        before = Previous(**{**previous, "comparisons": found})
    return LateLabelRecord(context, judged, obstacle, before)


def _unreadable(found: str) -> DecisionError:
    return DecisionError(
        f"Found {found}",
        allowed=f"a JSON document of the schema {SCHEMA!r}",
        action="name the decision/matured.json of a night's parent run",
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of many verdicts.

    Attributes:
        counts: Nights by choice.
        metric: The primary metric; empty where nights had several, whose costs do not add up.
        costs: What each wrong choice cost, in that metric's unit.
    """

    counts: Mapping[Choice, int]
    metric: str = ""
    costs: Sequence[float] = field(default_factory=tuple)

    @classmethod
    def of(cls, records: Sequence[LateLabelRecord]) -> Tally:
        """Count nights."""
        counts = {one: sum(record.choice is one for record in records) for one in Choice}
        metrics = {one.hindsight.gate.primary.name for one in records if one.hindsight is not None}
        # Costs in different units do not add up.
        if len(metrics) != 1:
            return cls(counts)
        wrong = (record.cost for record in records if record.choice is Choice.WRONG)
        costs = tuple(cost for cost in wrong if cost is not None)
        return cls(counts, metrics.pop(), costs)

    def summary_lines(self) -> Iterator[str]:
        """Yield lines for a person."""
        decided = self.counts[Choice.RIGHT] + self.counts[Choice.WRONG]
        yield (
            f"{decided + self.counts[Choice.UNDECIDED]} nights: {self.counts[Choice.RIGHT]} right, "
            f"{self.counts[Choice.WRONG]} wrong, {self.counts[Choice.UNDECIDED]} undecided"
        )
        if decided:
            share = self.counts[Choice.RIGHT] / decided
            yield f"The gate chose right in {share:.0%} of the {decided} nights that are decided"
        if self.costs:
            mean, worst = sum(self.costs) / len(self.costs), max(self.costs)
            yield (
                f"Where it was wrong, the other model's {self.metric} was better by {mean:.6g} on "
                f"average, {worst:.6g} at most"
            )
