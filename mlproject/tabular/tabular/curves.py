"""Logs learning curves. Touches the active MLflow run."""

import time
from collections.abc import Mapping, Sequence

MOST_POINTS = 500
"""Points of a learning curve that are logged; of longer ones every second, third, ... round."""


def log_curves(curves: Mapping[str, Sequence[float]]) -> None:
    """Log learning curves as metrics `rounds/<name>`, whose step is the round, from 1.

    Args:
        curves: name of a metric to its value after each round.
    """
    import mlflow
    from mlflow.entities import Metric

    now, run = int(time.time() * 1000), mlflow.active_run() or mlflow.start_run()
    for name, values in curves.items():
        every = -(-len(values) // MOST_POINTS)
        kept = [*range(every - 1, len(values) - 1, every), len(values) - 1]
        points = [Metric(f"rounds/{name}", values[at], now, at + 1) for at in kept]
        mlflow.MlflowClient().log_batch(run.info.run_id, metrics=points)
