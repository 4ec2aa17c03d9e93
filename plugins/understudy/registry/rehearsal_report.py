"""How a version did in its rehearsal, and whether that is good enough. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from understudy.errors import ServingError
from understudy.serving.answers import Question, difference, quantile, shown
from understudy.spec.pipeline import Rehearsal

# Differences in a message, which becomes a tag and a line of a log.
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class ModelResponse:
    """What a served model said to a question, and after how many milliseconds."""

    question: Question
    milliseconds: float
    said: object


@dataclass(frozen=True, slots=True)
class RehearsalReport:
    """One rehearsal.

    Attributes:
        model: The registered model.
        version: Its version.
        manager: What built the environment that it was served in.
        environment: That environment's identity.
        source: Where the questions come from.
        startup_s: Seconds from the server's start to its first answer.
        answers: To each question; none where the model has no example and no holdout was found.
        unasked: Why nothing, or some of it, was not asked; '' where all was.
    """

    model: str
    version: str
    manager: str
    environment: str
    source: str
    startup_s: float
    answers: tuple[ModelResponse, ...]
    unasked: str = ""

    def latency(self, share: float) -> float | None:
        """Return the milliseconds that a share of the answers did not exceed; None without any."""
        times = [answer.milliseconds for answer in self.answers]
        return quantile(times, share) if times else None

    def differences(self, terms: Rehearsal) -> tuple[str, ...]:
        """Return how answers differ from what was said offline."""
        found = (difference(one.question, one.said, terms.tolerance) for one in self.answers)
        return tuple(filter(None, found))

    def record(self, terms: Rehearsal) -> Mapping[str, Any]:
        """Return the numbers as JSON values; times of requests in milliseconds."""
        return {
            "model": self.model,
            "version": self.version,
            "manager": self.manager,
            "environment": self.environment,
            "source": self.source,
            "questions": len(self.answers),
            "unasked": self.unasked,
            "startup_s": self.startup_s,
            "p50_ms": self.latency(0.5),
            "p95_ms": self.latency(0.95),
            "differences": self.differences(terms),
            "terms": {
                "rows": terms.rows,
                "tolerance": terms.tolerance,
                "startup_s": terms.startup.total_seconds(),
                "latency_s": terms.latency.total_seconds(),
            },
        }

    def summary_lines(self) -> tuple[str, ...]:
        """Return what a log says about it."""
        ready = f"{self.model} version {self.version}: ready after {self.startup_s:.1f} s"
        half, most = self.latency(0.5), self.latency(0.95)
        if half is None or most is None:
            return (
                f"Not rehearsed, only started, {ready}",
                f"Rehearsal: it only started, no row was asked or compared: {self.unasked}",
            )
        rest = (f"Not asked: {self.unasked}",) if self.unasked else ()
        return (
            f"Rehearsed {ready}",
            f"{len(self.answers)} questions from {self.source}: all answers as offline",
            f"An answer took {half:.1f} ms (median), {most:.1f} ms (95th percentile)",
            *rest,
        )

    @staticmethod
    def terms_of(record: Mapping[str, Any]) -> Rehearsal:
        """Return the terms of a rehearsal that was kept."""
        kept = record["terms"]
        return Rehearsal(
            rows=kept["rows"],
            tolerance=kept["tolerance"],
            startup=timedelta(seconds=kept["startup_s"]),
            latency=timedelta(seconds=kept["latency_s"]),
        )

    def check(self, terms: Rehearsal) -> None:
        """Refuse what is not good enough.

        Raises:
            ServingError: when answers differ or take too long.
        """
        if wrong := self.differences(terms):
            first = next(
                one for one in self.answers if difference(one.question, one.said, terms.tolerance)
            )
            advice = first.question.advice
            before = f"{advice}, and train again; else " if advice else ""
            raise ServingError(
                f"{len(wrong)} of {len(self.answers)} answers differ from what the model said"
                f" offline: {'; '.join(wrong[:_SHOWN])}; asked for the first one:"
                f" {shown(first.question.body)}",
                allowed=f"equal labels, and numbers within {terms.tolerance:g}",
                action=f"{before}look at what differs between the training's environment and the"
                " one that the model records",
            )
        allowed, slow = terms.latency.total_seconds() * 1000, self.latency(0.95)
        if slow is not None and slow > allowed:
            raise ServingError(
                f"Asked {len(self.answers)} rows one at a time, the 95th percentile of the answers"
                f" took {slow:.0f} ms",
                allowed=f"at most {allowed:g} ms, by Rehearsal(latency=...)",
                # The answers were right: another time, on a quieter machine, may do.
                action="make the model quicker, or allow more; a busy machine is slow too",
                can_retry=True,
            )
