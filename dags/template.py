"""A pipeline of your own: copy this file, change what is marked, and unpause the Dag in Airflow.

As it stands it is loaded and never runs by itself: it has no schedule. Every field is explained in
docs/pipelines.md; a wrong one is an import error that says what to do.
"""

from datetime import UTC, datetime

from airflow.sdk import Param

from understudy import Gate, Guards, Metric, Project, pipeline

dag = pipeline(
    # CHANGE: the name of the Dag, and of the model and the experiment in MLflow.
    "template",
    # CHANGE: when to retrain: "@daily", a cron expression, a timetable, assets; None: by hand.
    schedule=None,
    # The first night, with its time zone. Nights that are past are not made up for (catchup=True).
    start=datetime(2026, 1, 1, tzinfo=UTC),
    # CHANGE: a Git repository with an MLproject (and version="a branch, tag or commit"). Its entry
    # points are download, preprocess, train and validate; with others, say which: steps=Steps(...).
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    # CHANGE: what the entry points take. A Param becomes a field of the trigger form, with bounds.
    parameters={
        "dataset": "diabetes",
        "model": Param(
            "random_forest",
            type="string",
            enum=["random_forest", "hist_gradient_boosting", "xgboost"],
            description="Kind of model to train.",
        ),
        "tags": "author=you",
    },
    # CHANGE: when a new model may replace the one in production. By `primary` it must not be shown
    # to be worse (min_gain=0.0: it must be better beyond chance); the guardrails must hold. Metrics
    # are those that validate logs.
    gate=Gate(
        primary=Metric("rmse"),
        guardrails=[
            Metric("r2", at_least=0.2),
            Metric("mae", max_loss=0.05, relative=True),
        ],
        # Looks at the night's rows before anything is compared; leave it out to compare anyway.
        guards=Guards(),
    ),
    # Variables of the worker that the steps may see, such as the key of a data source.
    environment=[],
    # "auto": the verdict decides; "ask": a person approves in Airflow; "never": only judge.
    promote="ask",
)
