"""Trains a constant, and logs it in one of the ways that repositories have; rmse is |1 - alpha|."""

import pathlib
import sys
import warnings

import mlflow
from mlflow.pyfunc import PythonModel


class Constant(PythonModel):
    """Predicts one number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, context, model_input):
        """Return the number for every row."""
        return [self.value] * len(model_input)


def log(alpha: float, name: str = "model") -> None:
    """Log the numbers and the model, under the name that the parameter had until MLflow 2."""
    mlflow.log_param("alpha", alpha)
    mlflow.log_metric("rmse", abs(1 - alpha))
    warnings.simplefilter("ignore")
    model = Constant(alpha)
    mlflow.pyfunc.log_model(artifact_path=name, python_model=model, pip_requirements=["mlflow"])


def main(way: str, alpha: float, *rest: str) -> None:
    """Train in one of the ways."""
    with mlflow.start_run():
        if way in {"old", "fit"}:
            log(alpha, "als-model" if way == "fit" else "model")
        elif way == "nested":
            mlflow.log_metric("seconds", 2)
            with mlflow.start_run(run_name="inner", nested=True):
                log(alpha)
        elif way == "project":
            mlflow.run(".", "inner", parameters={"alpha": alpha}, env_manager="local")
        elif way == "search":
            for trial in (0.1, 0.9):
                with mlflow.start_run(run_name=f"trial {trial}", nested=True):
                    log(trial)
        elif way == "two":
            log(alpha, "small")
            log(alpha, "large")
        elif way == "plain":
            mlflow.log_metric("rmse", alpha)
            mlflow.log_text("flavors: {}\n", "model/MLmodel")
        if way == "fit":
            mlflow.log_metric("rows", len(pathlib.Path(rest[0], "rows.csv").read_text().split()))


def load(day: str) -> None:
    """Download: log rows as an artifact with a name of its own."""
    with mlflow.start_run():
        mlflow.log_text(f"{day}\n1\n2\n", "ratings-csv-dir/rows.csv")


if __name__ == "__main__":
    if sys.argv[1] == "load":
        load(sys.argv[2])
    else:
        main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:])
