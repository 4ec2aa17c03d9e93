"""Our way, for the same Airflow: the file that a user writes; its gate lets every night promote."""

from datetime import timedelta

from understudy import Gate, Metric, Project, pipeline

dag = pipeline(
    "bench_ours",
    skip_unchanged=False,
    retries=0,
    rehearsal=None,  # the other ways serve nothing
    step_timeout=timedelta(minutes=5),
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    parameters={
        "dataset": "wine_quality",
        "source": "",
        "target": "",
        "model": "random_forest",
        "n_estimators": 50,
    },
    # The same data and seed give the same model: not worse is what it has to be.
    gate=Gate(Metric("rmse", at_most=1.0, max_loss=0.01, relative=True)),
)
