"""Writes each trial of a study as an MLflow run below the search's own, without keeping it waiting.

One thread in the background does it, three calls for a trial: make the run, log everything in one
batch, end it. A trial that was ended before its time is a run that was KILLED, with its curve. A
study knows nothing of MLflow, so what a killed process did not write is found by comparing the
study with the runs, and written by who goes on. Touches MLflow runs.
"""

import os
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from optuna.trial import FrozenTrial, TrialState

from shared.study import CURVE, ERROR, METRICS, WORKER, died_of, has_died, is_dead
from shared.tracking import ERROR_TAG, LONGEST_TAG
from shared.workers import GONE_AFTER

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

STUDY_TAG, TRIAL_TAG, PRUNED_TAG = "search.study", "search.trial", "search.pruned"
_INHERITED = (
    "mlflow.user",
    "mlflow.source.name",
    "mlflow.source.type",
    "mlflow.source.git.commit",
)
_PAGE, _MOST_POINTS = 1000, 1000
_STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}
_OVER = frozenset(_STATUS.values())
_NO_LINKS = "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"


class TrialRuns:
    """The MLflow runs of one study, below one search's run.

    Args:
        client: speaks to the tracking server.
        parent: the search's run.
        study: the study's name, which every run has as a tag.
        common: params that all trials have in common.
    """

    def __init__(
        self, client: "MlflowClient", parent: "Run", study: str, common: Mapping[str, object]
    ) -> None:
        self._client, self._parent, self._study = client, parent, study
        self._common = dict(common)
        self._waiting: queue.SimpleQueue[FrozenTrial | None] = queue.SimpleQueue()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._write_all, daemon=True)
        self._thread.start()

    def add(self, trial: FrozenTrial) -> None:
        """Have a finished trial written soon.

        Raises:
            Exception: what kept an earlier one from being written; the search cannot go on.
        """
        self._check()
        self._waiting.put(trial)

    def close(self) -> None:
        """Wait until everything is written.

        Raises:
            Exception: what kept a trial from being written.
        """
        self._waiting.put(None)
        self._thread.join()
        self._check()

    def write_missing(self, trials: Iterable[FrozenTrial]) -> int:
        """Write the finished trials of dead processes that have no finished run; return how many.

        Two processes may do so at once: each then removes its own run of a trial that has another
        one with a smaller id.
        """
        known = self._known()
        lacking = [
            trial
            for trial in trials
            if _is_left(trial)
            and not any(run.info.status in _OVER for run in known.get(trial.number, []))
        ]
        own = set[str]()
        for trial in lacking:
            half = known.get(trial.number)
            own.add(self._write(trial, half[0].info.run_id if half else ""))
        for runs in self._known().values() if lacking else ():
            for double in runs[1:]:
                if double.info.run_id in own:
                    self._client.delete_run(double.info.run_id)
        return len(lacking)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _write_all(self) -> None:
        while (trial := self._waiting.get()) is not None:
            try:
                self._write(trial)
            except Exception as error:  # noqa: BLE001 - raised where the search goes on
                self._failure = error
                return

    def _write(self, trial: FrozenTrial, run_id: str = "") -> str:
        """Write one trial, into a run that was begun and not ended if there is one; return it."""
        info = self._parent.info
        moments: list[Any] = [trial.datetime_start, trial.datetime_complete or trial.datetime_start]
        start, end = (int(1000 * moment.timestamp()) for moment in moments)
        if not run_id:
            name = f"trial {trial.number}"
            made = self._client.create_run(info.experiment_id, start, self._tags(trial), name)
            run_id = made.info.run_id
        self._log(run_id, trial, end)
        self._client.set_terminated(run_id, _STATUS[trial.state], end)
        return run_id

    def _log(self, run_id: str, trial: FrozenTrial, end: int) -> None:
        from mlflow.entities import Metric, Param

        measured = trial.user_attrs.get(METRICS, {})
        points = [Metric(name, value, end, 0) for name, value in measured.items()]
        for step, seconds, figures in trial.user_attrs.get(CURVE, ()):
            stamp = int(1000 * seconds)
            points += [Metric(name, value, stamp, step) for name, value in figures.items()]
        params = {**self._common, **trial.params}
        self._client.log_batch(
            run_id,
            metrics=points[:_MOST_POINTS],
            params=[Param(name, str(value)) for name, value in params.items() if value != ""],
        )
        for start in range(_MOST_POINTS, len(points), _MOST_POINTS):
            self._client.log_batch(run_id, metrics=points[start : start + _MOST_POINTS])

    def _tags(self, trial: FrozenTrial) -> dict[str, str]:
        parents = self._parent.data.tags
        error = died_of(trial) if has_died(trial) else trial.user_attrs.get(ERROR, "")
        tags = {
            **{name: parents[name] for name in _INHERITED if name in parents},
            "mlflow.parentRunId": self._parent.info.run_id,
            STUDY_TAG: self._study,
            TRIAL_TAG: str(trial.number),
        }
        if trial.state == TrialState.PRUNED:
            tags[PRUNED_TAG] = f"after step {trial.last_step}"
        return {**tags, ERROR_TAG: error[:LONGEST_TAG]} if error else tags

    def _known(self) -> dict[int, list["Run"]]:
        """Return the study's runs by the number of their trial, those with smaller ids first."""
        found: dict[int, list[Run]] = {}
        token = ""
        while True:
            page = self._client.search_runs(
                [self._parent.info.experiment_id],
                f"tags.`{STUDY_TAG}` = '{self._study}'",
                max_results=_PAGE,
                page_token=token or None,
            )
            for run in page:
                number = run.data.tags.get(TRIAL_TAG)
                if number is not None:
                    found.setdefault(int(number), []).append(run)
            token = page.token or ""
            if not token:
                return {
                    n: sorted(runs, key=lambda run: str(run.info.run_id))
                    for n, runs in found.items()
                }


@contextmanager
def without_links() -> Iterator[None]:
    """Let MLflow print no link to each trial's run: for its name it would ask the server again."""
    before = os.environ.get(_NO_LINKS)
    os.environ[_NO_LINKS] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_LINKS]
        else:
            os.environ[_NO_LINKS] = before


def _is_left(trial: FrozenTrial) -> bool:
    """Return whether nobody is going to write a trial's run.

    One that died is written by who found it: soon, unless that process died, too.
    """
    if not trial.state.is_finished():
        return False
    if has_died(trial):
        ended = trial.datetime_complete
        return ended is None or (datetime.now() - ended).total_seconds() > GONE_AFTER  # noqa: DTZ005 - as Optuna's
    return WORKER not in trial.user_attrs or is_dead(trial)
