"""Pipelines of a project that was not written for us: one entry point, and two with other names."""

from datetime import timedelta

from airflow.sdk import DAG

from understudy import Gate, Metric, Project, Steps, pipeline

single: DAG = pipeline(
    "single",
    project=Project("git://127.0.0.1/models#habits"),
    steps=Steps.single("plain"),
    parameters={"alpha": "0.5"},
    gate=Gate(Metric("rmse", min_gain=0.1)),
    env_manager="local",
    retries=0,
    rehearsal=None,
)
renamed: DAG = pipeline(
    "renamed",
    project=Project("git://127.0.0.1/models#habits"),
    steps=Steps(
        download="load_raw_data",
        preprocess=None,
        train="fit",
        validate=None,
        raw="ratings-csv-dir",
        model="als-model",
        inputs={"raw": "ratings_csv", "as_of": "day"},
    ),
    parameters={"als_alpha": 0.1},
    gate=Gate(Metric("rmse", min_gain=0.0), [Metric("rows", at_least=3, lower_is_better=False)]),
    env_manager="local",
    retries=0,
    rehearsal=None,
    step_timeout=timedelta(minutes=5),
)
