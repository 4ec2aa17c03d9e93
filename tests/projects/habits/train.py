"""Trains a constant, and logs it in one of the ways that repositories have; rmse is |1 - alpha|."""

import pathlib
import sys
import warnings

import mlflow


def log(alpha: float, name: str = "model") -> None:
    """Log the numbers and the model, under the name that the parameter had until MLflow 2."""
    from mlflow.pyfunc import PythonModel

    class Constant(PythonModel):
        def predict(self, model_input):  # noqa: ANN001, ANN202 - MLflow takes hints for a schema
            return [alpha] * len(model_input)

    mlflow.log_param("alpha", alpha)
    mlflow.log_metric("rmse", abs(1 - alpha))
    warnings.simplefilter("ignore")
    model = Constant()
    mlflow.pyfunc.log_model(artifact_path=name, python_model=model, pip_requirements=["mlflow"])


def log_plain(alpha: float, name: str = "model") -> None:
    """Log the numbers, and a model as a folder among the run's artifacts."""
    mlflow.log_metric("rmse", abs(1 - alpha))
    mlflow.log_text("flavors: {}\n", f"{name}/MLmodel")


def search() -> None:
    """Train two models, each in a run of its own."""
    for trial in (0.1, 0.9):
        with mlflow.start_run(run_name=f"trial {trial}", nested=True):
            log(trial)


def nested(alpha: float) -> None:
    """Train in a run within the run."""
    mlflow.log_metric("seconds", 2)
    with mlflow.start_run(run_name="inner", nested=True):
        log(alpha)


def fit(alpha: float, folder: str) -> None:
    """Train on what an earlier step left."""
    mlflow.log_metric("rows", len(pathlib.Path(folder, "rows.csv").read_text().split()))
    log_plain(alpha, "als-model")


def load(day: str) -> None:
    """Log rows as an artifact with a name of its own."""
    mlflow.log_text(f"{day}\n1\n2\n", "ratings-csv-dir/rows.csv")


def project(alpha: str) -> None:
    """Run another entry point of this project."""
    mlflow.run(".", "inner", parameters={"alpha": alpha}, env_manager="local")


def two(alpha: float) -> None:
    """Log two models in one run."""
    log(alpha, "small")
    log(alpha, "large")


WAYS = {
    "old": lambda alpha, *_: log(float(alpha)),
    "plain": lambda alpha: log_plain(float(alpha)),
    "nested": lambda alpha: nested(float(alpha)),
    "project": project,
    "search": search,
    "two": lambda: two(0.5),
    "none": lambda: None,
    "load": load,
    "fit": lambda alpha, folder: fit(float(alpha), folder),
}

if __name__ == "__main__":
    with mlflow.start_run():
        WAYS[sys.argv[1]](*sys.argv[2:])
