"""Four steps without a library: a night sees its date, and a model is a number, its own error."""

import argparse
import hashlib
import json
import pathlib
import sys
import time

import mlflow

ERRORS = {"01": 5.0, "02": 4.0, "03": 4.5, "05": 3.0}
BAD_INPUT = 65


def download(given: argparse.Namespace) -> None:
    """Log the date; nothing new arrives on the fourth."""
    if given.broken == "download":
        sys.stderr.write("Found an empty file. Allowed: rows. Next: look at it.\n")
        sys.exit(BAD_INPUT)
    while given.broken.startswith("/") and not pathlib.Path(given.broken).exists():
        time.sleep(0.2)  # until a file is there
    day = given.as_of[:10].replace("-04", "-03")
    mlflow.log_text(day, "raw/data.txt")
    mlflow.set_tags({"data.sha256": _digest(day), "data.rows": day[-2:]})


def preprocess(given: argparse.Namespace) -> None:
    """Pass the date on."""
    mlflow.log_text(pathlib.Path(given.raw, "data.txt").read_text(), "data/data.txt")


def train(given: argparse.Namespace) -> None:
    """Log the night's number as a model of the plainest kind."""
    day = pathlib.Path(given.data, "data.txt").read_text()
    error = ERRORS.get(day[-2:], 9.0) * given.factor
    mlflow.log_text(json.dumps(error), "model/value.json")
    mlflow.log_text("flavors: {}\n", "model/MLmodel")


def validate(given: argparse.Namespace) -> None:
    """Log the number of a model as its error."""
    if given.broken == "champion" and not given.model_uri.startswith("runs:"):
        sys.stderr.write("the column that the champion needs is gone\n")
        sys.exit(65)
    folder = mlflow.artifacts.download_artifacts(given.model_uri)
    error = json.loads(pathlib.Path(folder, "value.json").read_text())
    if given.broken == "infinite":
        error = float("inf")
    mlflow.log_metric("rmse", error)
    day = pathlib.Path(given.data, "data.txt").read_text()
    mlflow.set_tag("data.holdout.sha256", _digest(day))


def publish(given: argparse.Namespace) -> None:
    """Put the number of a model where somebody outside reads it."""
    folder = pathlib.Path(mlflow.artifacts.download_artifacts(given.model_uri))
    new = pathlib.Path(given.folder, "new.json")
    new.parent.mkdir(parents=True, exist_ok=True)
    new.write_text((folder / "value.json").read_text())
    new.replace(new.with_name("value.json"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main() -> None:
    """Run one step within the MLflow run that the environment names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step")
    for name in ("as-of", "raw", "data", "model-uri", "broken", "folder"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--factor", type=float, default=1.0)
    given = parser.parse_args()
    steps = (download, preprocess, train, validate, publish)
    with mlflow.start_run():
        {step.__name__: step for step in steps}[given.step](given)


if __name__ == "__main__":
    main()
