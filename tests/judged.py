"""A pipeline's nights on a real tracking server, without an Airflow: opened, fed and judged."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from tests.pinned import pinned_night

from understudy.artifacts import artifacts_of
from understudy.contract import PREDICTIONS_ARTIFACT, Kind, Tag
from understudy.decision import Court, Validation
from understudy.gate import Gate, Metric
from understudy.judging import child, exchange
from understudy.judging.exchange import Answer, Request
from understudy.judging.gathering import Gatherer
from understudy.night import Night, NightBook
from understudy.steps.scratch import Scratch
from understudy.tracking import RunStore

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

GAINS = Gate(
    Metric("rmse", confidence=0.95), [Metric("mae", max_loss=0.05, relative=True, confidence=0.95)]
)
ROWS = 400
NOISE = np.random.default_rng(5).normal(0, 1, (2, ROWS))
TRUTH = np.random.default_rng(6).normal(0, 10, ROWS)


def frame(error: float, model: int = 0) -> pd.DataFrame:
    """Return predictions whose errors are normal with that standard deviation."""
    columns = {"row_id": np.arange(ROWS), "target": TRUTH, "region": ["a", "b"] * (ROWS // 2)}
    return pd.DataFrame({**columns, "prediction": TRUTH + error * NOISE[model]})


@dataclass(frozen=True)
class Pipeline:
    """A pipeline on a real server, without an Airflow."""

    client: MlflowClient
    runs: RunStore
    experiment: str

    def court(self) -> Court:
        """Return a court, as each task has one of its own."""
        return Court(self.client, self.runs)

    def night(self, as_of: str, gate: Gate = GAINS) -> Night:
        """Open a night."""
        tags = {Tag.PIPELINE.value: self.experiment, Tag.MODEL.value: self.experiment}
        tags[Tag.AS_OF.value] = as_of
        book = NightBook(self.client, self.runs)
        run_id = book.open(self.experiment, uuid.uuid4().hex, as_of, tags)
        return pinned_night(run_id, self.experiment, as_of=as_of, rules=gate.to_dict())

    def validated(
        self, model: str, predictions: pd.DataFrame | None, **metrics: float
    ) -> Validation:
        """Log a validation."""
        run = self.client.create_run(self.experiment, tags={Tag.KIND.value: Kind.STEP.value})
        for name, value in metrics.items():
            self.client.log_metric(run.info.run_id, name, value)
        if predictions is not None:
            self.log(run.info.run_id, predictions)
        return Validation(model, run.info.run_id)

    def version(self, night: str, **tags: str) -> str:
        """Register a model of a training; of a night's, if one is named. Return its version."""
        parent = {"mlflow.parentRunId": night} if night else {}
        trained = self.client.create_run(self.experiment, tags={**parent, **tags}).info.run_id
        with contextlib.suppress(MlflowException):  # it is there already
            self.client.create_registered_model(self.experiment)
        source = f"runs:/{trained}/model"
        return str(self.client.create_model_version(self.experiment, source, trained).version)

    def rows(self, train: slice, holdout: slice, size: float = 0.0) -> str:
        """Log some rows, larger by so much, as a preprocessing would; return their address."""
        known = frame(0).drop(columns="prediction").assign(row_id=[f"r{n}" for n in range(ROWS)])
        table = known.assign(size=TRUTH + 5 * NOISE[0] + size)
        return self.table(train=table.iloc[train], holdout=table.iloc[holdout])

    def table(self, **parts: pd.DataFrame) -> str:
        """Log tables as a preprocessing would; return their address."""
        run = self.client.create_run(self.experiment)
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "dataset.json").write_text('{"target": "target"}', encoding="utf-8")
            for name, part in parts.items():
                part.to_parquet(Path(folder) / f"{name}.parquet", index=False)
            self.client.log_artifacts(run.info.run_id, folder, "data")
        return f"runs:/{run.info.run_id}/data"

    def log(self, run_id: str, predictions: pd.DataFrame) -> None:
        """Log predictions to a run, in place of those it has."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / PREDICTIONS_ARTIFACT
            predictions.to_parquet(path, index=False)
            self.client.log_artifact(run_id, str(path))

    def forget(self, run_id: str) -> None:
        """Delete a validation's predictions."""
        run = self.client.get_run(run_id)
        artifacts_of(self.client, run).delete_artifacts(PREDICTIONS_ARTIFACT)

    def tags(self, night: Night) -> Mapping[str, str]:
        """Return the tags of a night's run."""
        return dict(self.client.get_run(night.run_id).data.tags)


def gathered_here(
    _gatherer: Gatherer, requests: Sequence[Request], scratch: Scratch, _on_line: object
) -> list[Answer]:
    """Answer within this process, where the start of the gate's own is not what is tested."""
    answers = scratch.folder / "answers.json"
    exchange.write(answers, [child.answered(request) for request in requests])
    return exchange.read(answers, Answer)
