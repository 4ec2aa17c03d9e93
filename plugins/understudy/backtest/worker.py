"""A process that runs nights, one after another: ``python -m understudy.backtest.worker``.

It reads tasks from stdin, one JSON document per line, and writes as many results to stdout. It
ends, and ends what it runs, when stdin does: so it does not outlive the backtest that started it.
Steps log to a tracking store of its own, so that workers never wait for each other's database.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from understudy.backtest.answers import run_in_gate_python
from understudy.backtest.place import ABOUT, PREDICTIONS, ROWS, BacktestFolder, made, write
from understudy.backtest.plan import (
    HOLDOUT_DAYS,
    MONTH,
    STEPS,
    Fault,
    Plan,
    moment,
    written,
)
from understudy.contract import DataTag
from understudy.errors import ProjectError, StepFailedError, UnderstudyError
from understudy.runner.runner import StepRunner
from understudy.runner.settings import TERMINAL_GRACE, Settings
from understudy.runner.step import StepRequest
from understudy.spec.entry_points import AS_OF, DATA, MODEL_URI, RAW, REFIT, YES, Role
from understudy.store import tracking
from understudy.store.tracking import RunStore, tracking_errors

HOLDOUT_FILE: Final = "holdout.parquet"
TRAIN_FILE: Final = "train.parquet"
# Lines of the steps' output that a failure shows.
_LAST_LINES: Final = 40
_EXPERIMENT: Final = "backtest"


class BacktestWorker:
    """Runs a plan's steps in a store of its own."""

    def __init__(self, plan: Plan, place: BacktestFolder, number: int) -> None:
        self._plan, self._place, self._number = plan, place, number
        work = place.work(number)
        work.mkdir(parents=True, exist_ok=True)
        self._artifacts = work / "artifacts"
        # Without a server, which takes 13 to 51 s to start on a busy machine (MLflow 3.17). A
        # worker runs one step at a time, so SQLite's single writer holds nobody up.
        client = tracking.client(f"sqlite:///{work}/mlflow.db")
        self._client, self._runs = client, RunStore(client)
        with tracking_errors():
            self._experiment = client.create_experiment(
                _EXPERIMENT, artifact_location=self._artifacts.as_uri()
            )
        settings = replace(Settings.from_environment(), grace=TERMINAL_GRACE)
        self._runner = StepRunner(self._runs, client, settings)
        self._declared = self._runner.pin(plan.project, plan.commit).entry_points
        self.output: deque[str] = deque(maxlen=_LAST_LINES)

    def stop(self) -> None:
        """End what runs."""
        self._runner.stop()

    def newest(self) -> str:
        """Return the time of the newest row there is, '' where the project does not report it."""
        run = self._step(Role.DOWNLOAD, {})
        tags = self._runs.get(run).data.tags
        self._forget()
        return str(tags.get(DataTag.NEWEST.value, ""))

    def pool(self) -> None:
        """Prepare the rows of all holdouts, as one folder of the project's own making."""
        plan = self._plan
        days = None if plan.holdout_days is None else plan.pool_days
        prepared = self._prepared(plan.end, days)
        with made(self._place.pool(plan.pool)) as folder:
            self._fetch(prepared, STEPS.data, folder / STEPS.data)
        self._forget()

    def rows(self, as_of: str) -> None:
        """Keep the rows of a night's holdout."""
        self._keep_rows(as_of, self._prepared(as_of, self._plan.holdout_days))
        self._forget()

    def night(self, as_of: str) -> None:
        """Train a night's model and score it on the pool."""
        prepared = self._prepared(as_of, self._plan.holdout_days)
        self._keep_rows(as_of, prepared)
        self._train(as_of, f"runs:/{prepared}/{STEPS.data}")

    def refit(self, as_of: str) -> None:
        """Train a night's model once more, on all of its rows, and score it on the pool."""
        prepared = self._prepared(as_of, self._plan.holdout_days)
        self._train(as_of, f"runs:/{prepared}/{STEPS.data}", REFIT)

    def faulty(self, as_of: str, fault: str) -> str:
        """Train a night's model once more, with a fault; return why it has none, '' if it has.

        Raises:
            ProjectError: when there can be no such fault in this project's rows.
        """
        asked = written(moment(as_of) - MONTH) if fault == Fault.MONTH else as_of
        try:
            if fault == Fault.MEAN:
                with made(self._place.night(self._plan.night(as_of, fault))) as folder:
                    self._inject((as_of, fault), Path(), folder / PREDICTIONS)
                return ""
            prepared = self._prepared(asked, self._plan.holdout_days)
            data = f"runs:/{prepared}/{STEPS.data}"
            if fault != Fault.MONTH:
                # Among what the steps logged, and so removed with it.
                folder = self._artifacts / "spoilt"
                self._fetch(prepared, STEPS.data, folder)
                self._inject((as_of, fault), folder / TRAIN_FILE, folder / TRAIN_FILE)
                data = str(folder)
            self._train(as_of, data, fault)
        except StepFailedError as error:
            self._forget()
            return str(error)
        return ""

    def _inject(self, night: tuple[str, str], train: Path, out: Path) -> None:
        as_of, fault = night
        question = self._place.work(self._number) / "fault.json"
        asked = {
            "night": as_of,
            "fault": fault,
            "rows": str(self._place.rows(self._plan.rows(as_of)) / ROWS),
            "predictions": str(self._place.night(self._plan.night(as_of)) / PREDICTIONS),
            "train": str(train),
            "out": str(out),
        }
        write(question, asked)
        run_in_gate_python("understudy.backtest.faults", [question], "A fault cannot be injected")

    def _train(self, as_of: str, data: str, fault: str = "") -> None:
        again = {REFIT: YES} if fault == REFIT else {}
        trained = self._step(Role.TRAIN, {DATA: data, **again})
        # A model that has learned from the rows that judge it would win over every other.
        seen = self._runs.get(trained).data.tags.get(DataTag.HOLDOUT_TRAINED.value, "0")
        if (seen != "0") != bool(again):
            raise ProjectError(
                f"The training learned from {seen} rows of the holdout by its tag "
                f"{DataTag.HOLDOUT_TRAINED}",
                allowed="all of them for a refit, and none for a model that they are to judge",
                action=f"see docs/refit.md for what a project has to do; give no -P {REFIT}=...",
            )
        # All models predict the same rows, so any of them can be compared with any other later.
        pool = self._place.pool(self._plan.pool) / STEPS.data
        scoring = {DATA: str(pool), MODEL_URI: f"runs:/{trained}/{STEPS.model}"}
        validated = self._step(Role.VALIDATE, scoring)
        with made(self._place.night(self._plan.night(as_of, fault))) as folder:
            self._fetch(validated, PREDICTIONS, folder / PREDICTIONS)
            about = {"as_of": as_of, "train": dict(self._runs.get(trained).data.metrics)}
            write(folder / ABOUT, about)
        self._forget()

    def _prepared(self, as_of: str, holdout_days: float | None) -> str:
        """Return the run that has prepared the data as of a moment."""
        downloaded = self._step(Role.DOWNLOAD, {AS_OF: as_of})
        window = {} if holdout_days is None else {HOLDOUT_DAYS: f"{holdout_days:g}"}
        raw = {RAW: f"runs:/{downloaded}/{STEPS.raw}"}
        return self._step(Role.PREPROCESS, {**raw, **window})

    def _step(self, role: Role, filled_in: Mapping[str, str]) -> str:
        entry_point = STEPS.by_role[role]
        declared = self._declared[entry_point]
        given = {n: v for n, v in self._plan.parameters.items() if n in declared}
        request = StepRequest(
            project=self._plan.project,
            version=self._plan.commit,
            entry_point=entry_point,
            parameters={**given, **{n: v for n, v in filled_in.items() if n in declared}},
            experiment_id=self._experiment,
            # A new key for each step: a folder that exists stands for a finished night, not a run.
            key=uuid.uuid4().hex,
            name=entry_point,
            env_manager=self._plan.env_manager,
        )
        return self._runner.run(request, self.output.append).run_id

    def _keep_rows(self, as_of: str, prepared: str) -> None:
        target = self._place.rows(self._plan.rows(as_of))
        if target.is_dir():
            return
        with made(target) as folder:
            self._fetch(prepared, f"{STEPS.data}/{HOLDOUT_FILE}", folder / ROWS)

    def _fetch(self, run_id: str, artifact: str, to: Path) -> None:
        """Copy an artifact, a file or a folder, to a place.

        Raises:
            ProjectError: when the step did not log it.
        """
        source = self._artifacts / run_id / "artifacts" / artifact
        if source.is_dir():
            shutil.copytree(source, to)
        elif source.is_file():
            shutil.copyfile(source, to)
        else:
            raise ProjectError(
                f"The step logged no {artifact!r}",
                allowed="data/holdout.parquet by preprocess, predictions.parquet by validate",
                action="let the project log it: a backtest needs to know single rows",
            )

    def _forget(self) -> None:
        """Remove what the steps logged: models and raw rows of years need much room."""
        for one in self._artifacts.iterdir():
            shutil.rmtree(one)


def main(arguments: list[str]) -> int:
    """Do the tasks on stdin until it ends."""
    folder, number = arguments
    place = BacktestFolder(Path(folder))
    # Results get a descriptor of their own. What else is printed, by MLflow or a child, goes to the
    # log: a stray line on stdout would be taken for a result.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    # Ctrl-C is for the backtest, which closes stdin and waits.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = BacktestWorker(
        Plan.from_json(place.plan.read_text(encoding="utf-8")), place, int(number)
    )
    # A thread reads, because the main one is busy in a step when stdin ends.
    questions: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(questions, worker), daemon=True).start()
    while line := questions.get():
        answer = json.dumps(_answered(worker, json.loads(line)))
        # The backtest may have been killed meanwhile.
        with contextlib.suppress(BrokenPipeError):
            answers.write(f"{answer}\n")
    return 0


def _listen(questions: SimpleQueue[str], worker: BacktestWorker) -> None:
    """Pass tasks on; at the end of them end what runs."""
    for line in sys.stdin:
        questions.put(line)
    worker.stop()
    questions.put("")


def _answered(worker: BacktestWorker, task: Mapping[str, Any]) -> dict[str, Any]:
    """Do a task; a step that fails is a result, too."""
    worker.output.clear()
    try:
        done = getattr(worker, task["do"])(*task["with"])
    except UnderstudyError as error:
        return {"failed": str(error), "said": list(worker.output)}
    return {"done": done}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
