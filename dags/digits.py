"""A week of nights on handwritten digits, replayed: a classifier's Dag, run by Airflow.

The 1,797 images are bundled with scikit-learn. As of a date only the rows that had "arrived" by
then exist; on Sundays none arrive, and the night is skipped.
"""

from datetime import UTC, datetime

from airflow.sdk import Param

from understudy import Gate, Guards, Metric, Project, pipeline

dag = pipeline(
    "digits",
    schedule="@daily",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime(2026, 1, 7, tzinfo=UTC),
    catchup=True,
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    parameters={
        "dataset": "digits",
        "model": Param(
            "logistic_regression",
            type="string",
            enum=["logistic_regression", "random_forest", "hist_gradient_boosting"],
            description="Kind of model to train.",
        ),
    },
    gate=Gate(
        primary=Metric("accuracy"),
        guardrails=[
            Metric("accuracy", at_least=0.85),
            Metric("log_loss", max_loss=0.10, relative=True),
        ],
        guards=Guards(),
    ),
)
