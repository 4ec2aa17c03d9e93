"""Pipelines of tests/fixtures/ugly_table.py: of its prices from CSV, its conditions from Parquet.

What a night does is in its form: where its rows are, as of when, and what is trained.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from understudy import Gate, Guards, Metric, Project, Rehearsal, pipeline


def ugly(name: str, gate: Gate, **parameters: object) -> DAG:
    """Return a Dag of the table."""
    return pipeline(
        name,
        project=Project("{{ var.value.understudy_repository }}#mlproject/tabular"),
        parameters={
            "source": Param("", type="string"),
            "time_column": "Bestellt am",
            "identity": "Auftrags-Nr.",
            "slices": 'Energie=Klasse,Balkon?,Straße "Lage"',
            "model": Param("decision_tree", type="string"),
            "max_depth": Param(0, type="integer"),
            "alpha": Param(1.0, type="number"),
            "n_estimators": Param(100, type="integer"),
            "random_state": Param(42, type="integer"),
            **parameters,
        },
        gate=gate,
        rehearsal=Rehearsal(latency=timedelta(seconds=30)),  # whatever else the machine does
        retries=0,
    )


price: DAG = ugly(
    "ugly_price",
    Gate(
        Metric("rmse", min_gain=0.0),
        [Metric("mae", max_loss=0.05, relative=True), Metric("r2", at_least=0.1)],
        slices=["Energie=Klasse"],
        time_block="1D",
        guards=Guards(),
    ),
    dataset="csv",
    separator=";",
    target="Preis in €",
)


condition: DAG = ugly(
    "ugly_condition",
    Gate(
        Metric("log_loss", min_gain=0.0),
        [Metric("accuracy", at_least=0.5)],
        slices=["Balkon?"],
        cluster='Straße "Lage"',
        guards=Guards(),
    ),
    dataset="parquet",
    target="Zustand",
)
