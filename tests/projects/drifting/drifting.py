"""A level that drifts, hour by hour in January 2012; the model is the mean of the newest week.

Artifacts are put where the tracking store says, without MLflow: its import would take longer than
all the rest, four times a night.
"""

import argparse
import json
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

FIRST, DAYS = datetime(2012, 1, 1, tzinfo=UTC), 31


def artifacts(run_id: str) -> Path:
    """Return the folder of a run's artifacts."""
    store = os.environ["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
    with sqlite3.connect(store, timeout=60) as database:
        query = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
        [uri] = database.execute(query, [run_id]).fetchone()
    return Path(uri.removeprefix("file://"))


def logged(uri: str) -> Path:
    """Return the folder of a model, by ``runs:/<run>/<name>`` or ``models:/<name>/<version>``."""
    if uri.startswith("models:/"):
        store = os.environ["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
        with sqlite3.connect(store, timeout=60) as database:
            query = "SELECT source FROM model_versions WHERE name = ? AND version = ?"
            [uri] = database.execute(query, uri.removeprefix("models:/").split("/")).fetchone()
    run_id, _, name = uri.removeprefix("runs:/").partition("/")
    return artifacts(run_id) / name


def tag(name: str, value: str) -> None:
    """Set a tag on this step's run."""
    store = os.environ["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
    with sqlite3.connect(store, timeout=60) as database:
        query = "INSERT OR REPLACE INTO tags (key, value, run_uuid) VALUES (?, ?, ?)"
        database.execute(query, [name, value, os.environ["MLFLOW_RUN_ID"]])


def made(name: str) -> Path:
    """Return a new folder among this run's artifacts."""
    folder = artifacts(os.environ["MLFLOW_RUN_ID"]) / name
    folder.mkdir(parents=True)
    return folder


def hours() -> Iterator[dict[str, Any]]:
    """Yield every hour's row."""
    for hour in range(24 * DAYS):
        time = FIRST + timedelta(hours=hour)
        wobble = (hour * 7919 % 101) / 101 - 0.5
        yield {"row_id": time.isoformat(), "time": time.isoformat(), "target": hour / 24 + wobble}


def download(given: argparse.Namespace) -> None:
    """Log the rows before a moment."""
    day = f"{given.as_of or '2012-02-01'}T00:00:00+00:00"
    rows = [row for row in hours() if row["time"] < day]
    pq.write_table(pa.Table.from_pylist(rows), made("raw") / "rows.parquet")
    tag("data.newest", rows[-1]["time"])


def preprocess(given: argparse.Namespace) -> None:
    """Hold the newest days out."""
    rows = pq.read_table(Path(given.raw, "rows.parquet")).to_pylist()
    newest = datetime.fromisoformat(rows[-1]["time"])
    cut = (newest - timedelta(days=float(given.holdout_days))).isoformat()
    folder = made("data")
    for name, part in (
        ("train", [row for row in rows if row["time"] <= cut]),
        ("holdout", [row for row in rows if row["time"] > cut]),
    ):
        pq.write_table(pa.Table.from_pylist(part), folder / f"{name}.parquet")


def train(given: argparse.Namespace) -> None:
    """Log the mean of the newest week; of a bad night something that is far off."""
    rows = pq.read_table(Path(given.data, "train.parquet")).to_pylist()
    if given.refit == "yes":
        newest = pq.read_table(Path(given.data, "holdout.parquet")).to_pylist()
        tag("data.holdout.trained", str(len(newest)))
        rows += newest
    rows = rows[-7 * 24 :]
    level = sum(row["target"] for row in rows) / len(rows)
    if given.bad_night and rows[-1]["time"] >= given.bad_night:
        level = -50.0 if rows[-1]["time"].startswith(given.bad_night) else level
    (made("model") / "level.json").write_text(json.dumps(level))


def validate(given: argparse.Namespace) -> None:
    """Log what the model says about each row of the holdout."""
    level = json.loads((logged(given.model_uri) / "level.json").read_text())
    rows = pq.read_table(Path(given.data, "holdout.parquet")).to_pylist()
    scored = [{**row, "prediction": level} for row in rows]
    folder = artifacts(os.environ["MLFLOW_RUN_ID"])
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(scored), folder / "predictions.parquet")


def main() -> None:
    """Do one step."""
    steps = {step.__name__: step for step in (download, preprocess, train, validate)}
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=steps)
    for name in ("as_of", "raw", "holdout_days", "data", "bad_night", "refit", "model_uri"):
        parser.add_argument(f"--{name}")
    given = parser.parse_args()
    steps[given.step](given)


if __name__ == "__main__":
    main()
