"""Ten nights of bike sharing, hour by hour: data that drifts as production does, run by Airflow.

The newest fortnight is the holdout, the two months before it are trained on. The rows end with
2012, so the Dag makes up for the last ten nights of that year; move ``start`` back to replay more
of them. Hours of one day resemble each other, so a day counts as one piece of evidence.
"""

from datetime import UTC, datetime

from airflow.sdk import Param

from understudy import Gate, Guards, Metric, Project, pipeline

dag = pipeline(
    "bike_sharing",
    schedule="@daily",
    start=datetime(2012, 12, 22, tzinfo=UTC),
    end=datetime(2012, 12, 31, tzinfo=UTC),
    catchup=True,
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    parameters={
        "dataset": "bike_sharing",
        "model": Param(
            "hist_gradient_boosting",
            type="string",
            enum=["hist_gradient_boosting", "random_forest", "elastic_net"],
            description="Kind of model to train.",
        ),
        "holdout_days": Param(
            14, type="number", exclusiveMinimum=0, description="Days of the newest window."
        ),
        "training_days": Param(
            60, type="number", exclusiveMinimum=0, description="Days before it to train on."
        ),
    },
    gate=Gate(
        primary=Metric("mae"),
        guardrails=[Metric("r2", at_least=0.3), Metric("rmse", max_loss=0.05, relative=True)],
        time_block="1D",
        guards=Guards(),
    ),
)
