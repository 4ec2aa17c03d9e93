"""Nights of bundled data that search their parameters, by Airflow: a table, and images."""

from datetime import timedelta

from airflow.sdk import Param

from understudy import Gate, Metric, Project, Rehearsal, Search, pipeline

dag = pipeline(
    "searching",
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    parameters={
        "dataset": "diabetes",
        "model": "random_forest",
        "n_estimators": 60,
        "folds": 3,
        "trials": Param(10, type="integer", minimum=1),
    },
    search=Search(
        workers=2,
        space={"max_depth": {"low": 1, "high": 8}, "min_samples_leaf": [1, 5, 20]},
    ),
    gate=Gate(Metric("rmse", min_gain=0.0)),
    rehearsal=None,
    retry_delay=timedelta(seconds=1),
)

searching_images = pipeline(
    "searching_images",
    project=Project("{{ var.value.understudy_repository }}#mlproject/images"),
    parameters={
        "dataset": "digits",
        "epochs": 3,
        "batch_size": 32,
        "pruner": "halving",
        "unseen_fraction": 0,  # so that the trials are fitted on the images that `train` has
    },
    search=Search(workers=2, trials=4, space={"learning_rate": [0.01, 0.001, 0.0001, 0.00001]}),
    gate=Gate(Metric("accuracy", min_gain=0.0)),
    rehearsal=Rehearsal(latency=timedelta(seconds=30)),  # whatever else the machine does
    retry_delay=timedelta(seconds=1),
)
