"""A pipeline of the project ``number`` whose file a test edits while its night runs."""

from airflow.sdk import DAG, Param

from understudy import Gate, Metric, Pipeline, Project, Search, Steps
from understudy.airflow.builder import build

EDITED = False
RIGHT = Pipeline(
    "edited",
    Project("git://127.0.0.1/models#project", version="main"),
    Gate(Metric("rmse", min_gain=0.0, at_most=10)),
    parameters={"broken": Param("no", type="string")},
    rehearsal=None,
    retries=0,
)
WRONG = Pipeline(
    "edited",
    Project("git://127.0.0.1/models-that-are-not#elsewhere"),
    Gate(Metric("mae", min_gain=0.0, at_most=0), shadow_nights=9),
    steps=Steps(train="fit", validate="score", raw="lost", data="found", inputs={"data": "rows"}),
    search=Search(entry_point="seek"),
    reuse={"download": True},
    env_manager="conda",
    environment=["NOBODY_HAS_SET_THIS"],
    promote="never",
    rehearsal=None,
    retries=0,
)
dag: DAG = build(WRONG if EDITED else RIGHT)
