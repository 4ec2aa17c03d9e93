"""Nights by Airflow whose challengers are trained again on all rows once they have passed."""

from datetime import UTC, datetime

from understudy import Gate, Guards, Metric, Project, Refit, pipeline

dag = pipeline(
    "refitting",
    schedule="@daily",
    start=datetime(2026, 1, 2, tzinfo=UTC),
    end=datetime(2026, 1, 3, tzinfo=UTC),
    catchup=True,
    refit=Refit(max_change=0.5),
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    parameters={"dataset": "diabetes", "model": "linear_regression"},
    gate=Gate(Metric("rmse", max_loss=1.0, relative=True), guards=Guards()),
)
deaf = pipeline(
    "deaf",
    refit=Refit(),
    project=Project("git://127.0.0.1/models#project", version="main"),
    rehearsal=None,
    gate=Gate(Metric("rmse", min_gain=0.1)),
)
