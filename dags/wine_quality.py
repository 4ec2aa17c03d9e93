"""Retrains the wine-quality model every night, with Airflow, and searches its parameters first.

The two files at the public address hardly ever change, so most nights end SKIPPED within seconds:
trigger the Dag with other parameters, or with "Run although nothing changed", to train anew.
"""

from datetime import UTC, datetime

from airflow.sdk import Param

from understudy import Gate, Guards, Metric, Project, Search, pipeline

dag = pipeline(
    "wine_quality",
    schedule="@daily",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    parameters={
        "dataset": "wine_quality",
        "model": Param(
            "random_forest",
            type="string",
            enum=["random_forest", "elastic_net", "decision_tree", "hist_gradient_boosting"],
            description="Kind of model to train.",
        ),
        "random_state": Param(42, type="integer", minimum=0, description="Seed of the training."),
    },
    # A dozen trials by two workers; leave the line out to train with the parameters above alone.
    search=Search(workers=2, trials=12),
    gate=Gate(
        primary=Metric("rmse"),
        guardrails=[
            Metric("r2", at_least=0.25),
            Metric("mae", max_loss=0.02, relative=True),
        ],
        guards=Guards(),
    ),
)
