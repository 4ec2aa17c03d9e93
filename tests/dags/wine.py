"""Nights of the real wine-quality data by Airflow: two scheduled ones, others that have budgets."""

from datetime import UTC, datetime

from understudy import Budgets, Gate, Limit, Metric, Project, pipeline

PROJECT = Project("{{ var.value.understudy_repository }}#mlproject/tabular")
PARAMETERS = {"dataset": "wine_quality", "model": "random_forest", "n_estimators": 50}

dag = pipeline(
    "wine",
    schedule="@daily",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime(2026, 1, 2, tzinfo=UTC),
    catchup=True,
    skip_unchanged=False,
    project=PROJECT,
    parameters=PARAMETERS,
    gate=Gate(
        primary=Metric("rmse", min_gain=0.0, confidence=0.95),
        guardrails=[Metric("r2", at_least=0.25), Metric("mae", max_loss=0.02, relative=True)],
    ),
)
costly = pipeline(
    "wine_costs",
    project=PROJECT,
    parameters={**PARAMETERS, "n_estimators": 10},
    rehearsal=None,
    gate=Gate(
        primary=Metric("rmse", max_loss=1.0),
        budgets=Budgets(
            size=Limit(growth=1.0, level="block"),
            memory=Limit("8GB"),
            latency_p50=Limit("1m"),
            latency_p95=Limit("1m"),
        ),
    ),
)
