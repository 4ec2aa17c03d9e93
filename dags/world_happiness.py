"""Retrains a decision tree on the World Happiness Report once a year, with Airflow.

The report needs a login, so the file is yours: the variable WORLD_HAPPINESS of the worker, or
``source`` in the form, says where it is. Its 150 countries leave some thirty to judge by: a tree
has to be much better to be promoted, and most nights end HELD.
"""

from datetime import UTC, datetime

from airflow.sdk import Param

from understudy import Gate, Metric, Project, pipeline

dag = pipeline(
    "world_happiness",
    schedule="@yearly",
    start=datetime(2022, 1, 1, tzinfo=UTC),
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    environment=["WORLD_HAPPINESS"],
    parameters={
        "dataset": "world_happiness",
        "source": Param(
            "env:WORLD_HAPPINESS",
            type="string",
            description="Path or URL of the CSV file, or env:NAME for the worker's variable.",
        ),
        "model": Param(
            "decision_tree",
            type="string",
            enum=["decision_tree", "random_forest"],
            description="Kind of model to train.",
        ),
        "criterion": Param(
            "squared_error",
            type="string",
            enum=["squared_error", "absolute_error", "poisson"],
            description="Quality of a split.",
        ),
        "max_depth": Param(
            4, type="integer", minimum=0, maximum=50, description="Deepest tree; 0 for no limit."
        ),
        "min_samples_leaf": Param(
            5, type="integer", minimum=1, maximum=100, description="Fewest countries in a leaf."
        ),
    },
    gate=Gate(
        primary=Metric("mae"),
        guardrails=[
            Metric("r2", at_least=0.4),
            Metric("mse", max_loss=0.1, relative=True),
        ],
    ),
)
