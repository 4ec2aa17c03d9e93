"""Retrains a network on handwritten digits, or on clothes, every night, with Airflow.

The public files hardly ever change, so most nights end SKIPPED within seconds: trigger the Dag with
another data set or learning rate, or with "Run although nothing changed", to train anew. Digits are
bundled with scikit-learn, need no network and train in a minute: as of a date in the first two
weeks of 2026 they are fewer. docs/tutorials/images.md shows the line that hands each new champion
to TensorFlow Serving.
"""

from datetime import UTC, datetime

from airflow.sdk import Param

from understudy import Gate, Metric, Project, pipeline

dag = pipeline(
    "mnist",
    schedule="@daily",
    start=datetime(2026, 1, 1, tzinfo=UTC),
    project=Project("{{ var.value.understudy_repository }}#mlproject/images"),
    parameters={
        "dataset": Param(
            "mnist",
            type="string",
            enum=["mnist", "fashion_mnist", "digits"],
            description="Images to learn.",
        ),
        "learning_rate": Param(
            0.002, type="number", exclusiveMinimum=0, maximum=10, description="Of Adam."
        ),
        "epochs": Param(5, type="integer", minimum=1, description="How often each image is seen."),
        "filters": Param(16, type="integer", minimum=1, description="Width of the network."),
        "dropout": Param(0.3, type="number", minimum=0, exclusiveMaximum=1),
    },
    gate=Gate(
        primary=Metric("accuracy"),
        guardrails=[
            Metric("accuracy", at_least=0.85),
            Metric("log_loss", max_loss=0.10, relative=True),
        ],
    ),
)
