"""Two scheduled nights of the real wine-quality data, trained both times, by Airflow."""

from datetime import UTC, datetime

from understudy import Gate, Metric, Project, pipeline

dag = pipeline(
    "wine",
    schedule="@daily",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime(2026, 1, 2, tzinfo=UTC),
    catchup=True,
    skip_unchanged=False,
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    parameters={"dataset": "wine_quality", "model": "random_forest", "n_estimators": 50},
    gate=Gate(
        primary=Metric("rmse", min_gain=0.0, confidence=0.95),
        guardrails=[Metric("r2", at_least=0.25), Metric("mae", max_loss=0.02, relative=True)],
    ),
)
