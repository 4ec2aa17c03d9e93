"""Nights of tests/ugly_table.py on a running Airflow, and a champion of theirs over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pandas as pd
from tests import ugly_table
from tests.loopback import free_port

if TYPE_CHECKING:
    from tests.integration.conftest import Installation

BEFORE, AFTER = 45, 50
"""The days of the first night's rows, and of the later ones'."""
WEAK = {"model": "decision_tree", "max_depth": 1}
ALIKE = 0.000001
"""Relative difference of numbers that are the same; what the declared rehearsal allows."""


@dataclass(frozen=True)
class Table:
    """One of the pipelines of tests/dags/ugly.py.

    Attributes:
        dag_id: Its Dag, experiment and model.
        target: The column that it predicts.
        file: Gives the file of a day.
        good, similar: Parameters of two models that are as good, and better than ``WEAK``.
        truth: How its rows hold a truth value: as texts, or as such.
    """

    dag_id: str
    target: str
    file: Callable[[int], bytes]
    good: Mapping[str, Any]
    similar: Mapping[str, Any]
    truth: Callable[[bool], object]

    @property
    def nights(self) -> list[tuple[str, int, Mapping[str, Any], str]]:
        """Each night: its name, the day of its rows, its parameters, and how it has to end."""
        return [
            ("first", BEFORE, WEAK, "PROMOTED"),
            ("again", BEFORE, WEAK, "SKIPPED"),
            ("better", AFTER, self.good, "PROMOTED"),
            ("similar", AFTER, self.similar, "HELD"),
            ("worse", AFTER, WEAK, "REJECTED"),
        ]

    def rows(self, day: int) -> pd.DataFrame:
        """Return the rows of a day as JSON can hold them, with None for what is missing."""
        rows = ugly_table.rows(day).drop(columns=self.target)
        truths = {name: rows[name].map(self.truth, na_action="ignore") for name in _TRUTHS}
        times = {name: rows[name].astype("str").mask(rows[name].isna()) for name in _TIMES}
        texts = rows.astype("object").assign(**truths, **times).astype("object")
        return texts.where(rows.notna(), None)


_TRUTHS = (ugly_table.BALCONY, ugly_table.GARAGE)
_TIMES = (ugly_table.TIME, ugly_table.ENTERED, ugly_table.CHECKED)


@dataclass(frozen=True, eq=False)
class Nights:
    """The nights of a table, on a server whose file is that of the night.

    Attributes:
        installation: Where they run.
        table: Whose they are.
        content: What the server of the table has.
        address: Its address.
    """

    installation: Installation
    table: Table
    content: dict[str, bytes]
    address: str

    def run(self) -> None:
        """Run all of them, one after another."""
        for name, day, parameters, _ in self.table.nights:
            self.content["/table"] = self.table.file(day)
            asked = {"as_of": ugly_table.as_of(day), "source": f"{self.address}/table"}
            self.installation.trigger(self.table.dag_id, name, **asked, **parameters)
            ended = self.installation.wait(self.table.dag_id, name)
            assert ended == "success", self.installation.tasks(self.table.dag_id, name)

    def of(self, name: str, kind: str = "night", **tags: str) -> Any:  # noqa: ANN401 -- MLflow's
        """Return the one MLflow run of a night that has these tags."""
        wanted = {"dag_run_id": name, "kind": kind, **tags}
        told = " and ".join(f"tags.`understudy.{key}` = '{one}'" for key, one in wanted.items())
        (found,) = self.installation.runs(self.table.dag_id, told)
        return found

    def step(self, name: str, task: str, role: str = "-1") -> Any:  # noqa: ANN401 -- MLflow's
        """Return the MLflow run of a night's step."""
        return self.of(name, "step", task_id=task, map_index=role)

    def file(self, run: Any, path: str) -> Path:  # noqa: ANN401 -- MLflow's
        """Return a copy of an artifact."""
        return Path(self.installation.client.download_artifacts(run.info.run_id, path))

    def strict(self, run: Any, path: str) -> Any:  # noqa: ANN401 -- JSON
        """Return a JSON artifact."""
        return strict(self.file(run, path))

    @cache  # noqa: B019 -- ends with the tests
    def offline(self, name: str) -> pd.Series:
        """Return what a night's challenger said about its holdout, by the identity of the rows."""
        held = pd.read_parquet(self.file(self.step(name, "preprocess"), "data/holdout.parquet"))
        run = self.step(name, "validate", "0")
        said = pd.read_parquet(self.file(run, "predictions.parquet"))
        joined = held.merge(said[["row_id", "prediction"]], on="row_id", validate="1:1")
        once = joined.drop_duplicates(ugly_table.IDENTITY)
        return once.set_index(ugly_table.IDENTITY)["prediction"]


def strict(file: Path) -> Any:  # noqa: ANN401 -- JSON
    """Return the content of a JSON file, in which NaN and infinity are none."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in {file}")

    return json.loads(file.read_text(), parse_constant=refuse)


class Served:
    """A running ``understudy serve`` of a pipeline's model."""

    def __init__(self, nights: Nights, folder: Path) -> None:
        port = free_port()
        self.address, self.log = f"http://127.0.0.1:{port}", folder / "serve.log"
        model, place = nights.table.dag_id, nights.installation.stack.place
        command = [sys.executable, "-m", "understudy", "serve", model, f"--port={port}"]
        variables = {
            "MLFLOW_TRACKING_URI": nights.installation.stack.addresses().mlflow,
            "UNDERSTUDY_CACHE": str(place.cache),
            "TMPDIR": str(folder),
        }
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "--poll=0.2"],
                env={**os.environ, **variables},
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def await_version(self, version: str) -> None:
        """Wait until a version answers."""
        end = time.monotonic() + 240
        while self._version() != version:
            assert time.monotonic() < end, self.log.read_text()[-5000:]
            assert self.process.poll() is None, self.log.read_text()[-5000:]
            time.sleep(0.1)

    def _version(self) -> object:
        try:
            return httpx.get(f"{self.address}/champion", trust_env=False).json()["version"]
        except httpx.TransportError:
            return None

    def asked(self, kind: str, rows: pd.DataFrame) -> list[Any]:
        """Return predictions for rows sent as ``split``, ``records`` or ``csv``."""
        if kind == "csv":
            text, header = rows.to_csv(index=False), {"content-type": "text/csv"}
            answer = self._post(content=text.encode(), headers=header)
        elif kind == "records":
            answer = self._post(json={"dataframe_records": rows.to_dict("records")})
        else:
            cells = {"columns": list(rows.columns), "data": rows.to_numpy().tolist()}
            answer = self._post(json={"dataframe_split": cells})
        assert answer.is_success, answer.text
        return list(answer.json()["predictions"])

    def _post(self, **body: Any) -> httpx.Response:
        """Post as httpx does: strict JSON."""
        return httpx.post(f"{self.address}/invocations", trust_env=False, timeout=60, **body)
