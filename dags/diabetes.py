"""Six nights of the diabetes data, replayed: the Airflow Dag that ``make demo`` runs.

The 442 rows are bundled with scikit-learn. As of a date only the rows that had "arrived" by then
exist, so each night sees other rows; on Sundays none arrive, and the night is skipped.
"""

from datetime import UTC, datetime

from airflow.sdk import Param

from understudy import Gate, Guards, Metric, Project, pipeline

dag = pipeline(
    "diabetes",
    schedule="@daily",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime(2026, 1, 6, tzinfo=UTC),
    catchup=True,
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    parameters={
        "dataset": "diabetes",
        "model": Param(
            "decision_tree",
            type="string",
            enum=["decision_tree", "random_forest"],
            description="Kind of model to train.",
        ),
        "max_depth": Param(
            2, type="integer", minimum=0, maximum=50, description="Deepest tree; 0 for no limit."
        ),
    },
    gate=Gate(
        primary=Metric("rmse"),
        guardrails=[
            Metric("r2", at_least=0.1),
            Metric("mae", max_loss=0.05, relative=True),
        ],
        guards=Guards(),
    ),
)
