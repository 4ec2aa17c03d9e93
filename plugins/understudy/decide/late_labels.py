"""Completes the records of nights whose later rows have got their targets. Touches MLflow only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from understudy.contract import DECISION_RECORD, MATURED_RECORD, Kind, Tag
from understudy.decide.digests import check
from understudy.decide.evaluator import EvaluationRequest, EvaluationResult, Evaluator
from understudy.decide.inputs import cause_of, lesson_tag
from understudy.errors import DecisionError, StepFailedError, StepStoppedError, UnderstudyError
from understudy.gate import DecisionRecord, Score, Unscored, Verdict, replay
from understudy.gate.late_labels import LateLabelContext, LateLabelRecord, Previous, rules_of_rows
from understudy.runner.process.process import OnLine
from understudy.store.artifacts import log_sealed, read_text
from understudy.store.night import Night
from understudy.store.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

Replaced = Callable[[str, str], str | None]
"""Returns the version that a version of a model replaced, or None."""
Validate = Callable[[str], str]
"""Scores the model at an address on the current rows; returns the MLflow run of it."""

_REMEMBERED: Final = 1000
"""Nights that are looked back over."""
_A_NIGHT: Final = 4
"""Nights that one night completes: each costs up to three validations."""
# Characters; MLflow refuses tag values above its own limit.
_REASON_LIMIT: Final = 5000


@dataclass(frozen=True, slots=True)
class JudgedNight:
    """A night that has a verdict.

    Attributes:
        as_of: The moment of its data.
        run_id: Its parent run.
        completed: Whether it was seen again.
    """

    as_of: datetime
    run_id: str
    completed: bool = False


def due(nights: Sequence[JudgedNight], now: datetime, delay: timedelta) -> list[JudgedNight]:
    """Return the nights to be seen again, the earliest first.

    Older ones than twice the delay are left alone, because their rows have gone out of the newest
    holdout; but the last mature night is due however long ago it was, where nights are rare.

    Args:
        nights: Those with a verdict, in any order.
        now: The moment of the data that there are.
        delay: How long after a night its later rows have their targets.
    """
    mature = sorted((one for one in nights if one.as_of + delay <= now), key=lambda one: one.as_of)
    recent = [one for one in mature if one.as_of + 2 * delay > now] or mature[-1:]
    return [one for one in recent if not one.completed][:_A_NIGHT]


class LateLabels:
    """Sees nights of the past again on the rows of a night that has their targets.

    Args:
        client: A client of the tracking server.
        runs: Its runs.
        night: The night that has the rows.
        delay: How long after a night its later rows have their targets.
        replaced: Knows what the champions of the past replaced.
    """

    def __init__(
        self,
        client: MlflowClient,
        runs: RunStore,
        night: Night,
        delay: timedelta,
        replaced: Replaced,
    ) -> None:
        self._client, self._runs, self._night, self._delay = client, runs, night, delay
        self._replaced = replaced
        self._evaluator = Evaluator(client)

    def due(self) -> list[JudgedNight]:
        """Return the nights of this pipeline that are to be seen again, the earliest first.

        Raises:
            TrackingUnavailableError: when the server does not answer.
        """
        night = self._night
        tags = {Tag.PIPELINE: night.pipeline, Tag.KIND: Kind.NIGHT.value}
        judged = f"tags.`{Tag.VERDICT}` != ''"
        runs = self._runs.search(night.experiment_id, tags, also=judged, limit=_REMEMBERED)
        others = [
            JudgedNight(
                _moment(run.data.tags[Tag.AS_OF.value]),
                str(run.info.run_id),
                completed=bool(run.data.tags.get(Tag.MATURED.value, "")),
            )
            for run in runs
            if run.info.run_id != night.run_id
        ]
        return due(others, _moment(night.as_of), self._delay)

    def complete(self, judged: JudgedNight, validate: Validate, on_line: OnLine) -> LateLabelRecord:
        """See one night again and store what is seen with that night's run.

        What cannot be seen (a model that is gone, no rows) is stored, too, as undecided.

        Args:
            judged: The night.
            validate: Scores a model on the rows of the current night.
            on_line: Takes progress messages.

        Raises:
            UnderstudyError: for what may be otherwise another night; nothing is stored then.
        """
        run = self._runs.get(judged.run_id)
        about = self._about(run, judged)
        lesson = ""
        try:
            then = self._record(run)
            record = self._seen(about, then, validate, on_line)
            lesson = lesson_tag(then.gate, record.lesson(then))
        except DecisionError as error:
            record = LateLabelRecord(about, None, str(error))
        # The record before its tags: a night is completed when the tag says so, and then the record
        # is there. Killed in between, it is simply completed again.
        log_sealed(self._client, run, {MATURED_RECORD: record.to_json()})
        tags = {
            Tag.MATURED_REASON: record.reason[:_REASON_LIMIT],
            Tag.LESSON: lesson,
            Tag.MATURED: record.choice.value,
        }
        self._runs.tag(judged.run_id, tags, dict(_numbers(record)))
        return record

    def stop(self) -> None:
        """End the gate's process; safe in a signal handler."""
        self._evaluator.stop()

    def _about(self, run: Run, judged: JudgedNight) -> LateLabelContext:
        tags, until = run.data.tags, judged.as_of + self._delay
        return LateLabelContext(
            pipeline=self._night.pipeline,
            model=tags.get(Tag.MODEL.value, self._night.model),
            night=judged.run_id,
            as_of=judged.as_of.isoformat(timespec="seconds"),
            verdict=Verdict(tags[Tag.VERDICT.value]),
            outcome=tags.get(Tag.OUTCOME.value, ""),
            seen_by=self._night.run_id,
            seen_as_of=self._night.as_of,
            until=until.isoformat(timespec="seconds"),
        )

    def _record(self, run: Run) -> DecisionRecord:
        """Return a night's stored record.

        Raises:
            DecisionError: when it is gone, or is none.
        """
        from mlflow.exceptions import MlflowException

        try:
            return replay(read_text(self._client, run, DECISION_RECORD))
        except (MlflowException, OSError) as error:
            raise DecisionError(
                f"The decision record of the night is gone: {str(error)[:300]}",
                allowed=f"{DECISION_RECORD} in the night's run, which names its models",
                action="nothing; this night cannot be seen again",
            ) from error

    def _seen(
        self, about: LateLabelContext, then: DecisionRecord, validate: Validate, on_line: OnLine
    ) -> LateLabelRecord:
        """Score the night's models on the current rows, and judge them again."""
        check(self._client, then.model_digests)
        challenger = self._scored(then.challenger.model, then.challenger.model, validate)
        if isinstance(challenger, Unscored):
            reason = f"the challenger {challenger.model}: {challenger.reason}"
            return LateLabelRecord(about, None, reason)
        champion, earlier = None, None
        if then.champion is not None:
            champion = self._version(about.model, then.champion.model, validate)
            # The model before the champion, on rows that neither had seen: whether that earlier
            # promotion has paid off, too.
            before = self._replaced(about.model, then.champion.model)
            if before is not None and isinstance(champion, Score):
                earlier = self._version(about.model, before, validate)
        return self._evaluated(about, then, (challenger, champion, earlier), on_line)

    def _evaluated(
        self,
        about: LateLabelContext,
        then: DecisionRecord,
        models: tuple[Score, Score | Unscored | None, Score | Unscored | None],
        on_line: OnLine,
    ) -> LateLabelRecord:
        challenger, champion, earlier = models
        # Only rows after the night's data, as far as they have targets by now: neither model was
        # trained on them.
        rules, span = rules_of_rows(then.gate), (about.as_of, about.until)
        requests = [EvaluationRequest(rules, challenger, champion, span=span)]
        if isinstance(earlier, Score):
            requests.append(EvaluationRequest(rules, earlier, champion, span=span))
        evaluated, *others = self._evaluator.evaluate_all(requests, on_line)
        if evaluated.evidence is None:
            raise DecisionError(
                "The validation left no predictions, so nobody knows which rows came after a night",
                allowed="predictions.parquet with a column 'time', logged by validate",
                action="let validate log it, or take label_delay out of the pipeline file",
            )
        again = DecisionRecord.of(
            then.context,
            rules,
            evaluated.challenger,
            evaluated.champion,
            basis=evaluated.basis,
            evidence=evaluated.evidence,
            software=evaluated.software,
        )
        return LateLabelRecord(about, again, previous=_compared(earlier, others))

    def _version(self, model: str, version: str, validate: Validate) -> Score | Unscored:
        return self._scored(version, f"models:/{model}/{version}", validate, model)

    def _scored(
        self, name: str, address: str, validate: Validate, model: str = ""
    ) -> Score | Unscored:
        """Return a model's numbers on the current rows, or why it has none for good.

        The current challenger was scored on these rows by the same code: what fails here is the
        model.
        """
        from mlflow.exceptions import MlflowException

        try:
            # Its metrics are of all rows of the holdout: only its predictions are of use.
            return Score(name, {}, validate(address))
        except StepStoppedError:
            raise
        except UnderstudyError as error:
            if error.can_retry and not isinstance(error, StepFailedError):
                raise
            return Unscored(name, error.found, cause=cause_of(self._client, error, model, name))
        except MlflowException as error:
            return Unscored(name, f"it is gone: {error.message[:300]}")


def _compared(
    earlier: Score | Unscored | None, evaluated: Sequence[EvaluationResult]
) -> Previous | None:
    """Return what is known of the version that the champion had replaced."""
    if earlier is None:
        return None
    if isinstance(earlier, Unscored):
        return Previous(earlier.model, earlier.reason)
    found = next(iter(evaluated), None)
    if found is None or found.evidence is None:
        return Previous(earlier.model, "its validation left no predictions")
    return Previous(earlier.model, "; ".join(found.evidence.blockers), found.evidence.comparisons)


def _moment(text: str) -> datetime:
    # Records of times without a zone are UTC, as a person's `as_of` without one is.
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def _numbers(record: LateLabelRecord) -> Iterator[tuple[str, float]]:
    """Yield the compared numbers, which MLflow's table of nights then shows."""
    if (check := record.check) is None:
        return
    named = {"challenger": check.challenger, "champion": check.champion, "gain": check.gain}
    if check.interval is not None:
        named |= {"gain_low": check.interval.low, "gain_high": check.interval.high}
    if record.previous is not None:
        values = (one for one in record.previous.comparisons if one.metric == check.metric)
        named["previous"] = next((one.challenger for one in values if not one.slice), None)
    for name, value in named.items():
        if value is not None:
            yield f"matured_{name}_{check.metric}", value
