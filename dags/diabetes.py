"""Six nights of the diabetes data, replayed: an Airflow Dag that `make demo` runs.

The data set is bundled with scikit-learn. As of a date only the rows that had "arrived" by then
exist, so each night sees other rows; on Sundays none arrive.
"""

from datetime import UTC, datetime

from airflow.sdk import Param

from understudy import Gate, Metric, Project, pipeline

dag = pipeline(
    "diabetes",
    schedule="@daily",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    end=datetime(2026, 1, 6, tzinfo=UTC),
    catchup=True,
    project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
    parameters={
        "dataset": "diabetes",
        "model": Param("random_forest", enum=["random_forest", "elastic_net", "decision_tree"]),
        "n_estimators": Param(100, type="integer", minimum=10, maximum=1000),
    },
    gate=Gate(
        primary=Metric("rmse", min_gain=0.0),
        guardrails=[Metric("r2", at_least=0.1), Metric("mae", max_loss=0.02, relative=True)],
    ),
)
