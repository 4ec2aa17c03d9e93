"""Reads every version of every registered model back, for verify.sh. Runs on MLflow's own Python.

It imports nothing of the package, which MLflow's environment has not. A model is read and not
loaded: to load one would be to run what is in it.
"""

from __future__ import annotations

import configparser
import os
import sys
import tempfile
from pathlib import Path


def unreadable() -> tuple[int, list[str]]:
    """Return how many versions there are, and which of them MLflow cannot give back, and why."""
    import mlflow

    client = mlflow.MlflowClient()
    count, faults = 0, []
    for version in client.search_model_versions():
        count += 1
        name = f"{version.name}/{version.version}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                mlflow.artifacts.download_artifacts(f"models:/{name}", dst_path=folder)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the backup lacks something
                faults.append(f"{name}: {error}")
                continue
            if not any(Path(folder).rglob("MLmodel")):
                faults.append(f"{name}: there is no MLmodel")
    return count, faults


def main() -> int:
    """Say what came of it; the exit status is 1 where something is missing."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read_string(Path(os.environ["UNDERSTUDY_HEALTH_CREDENTIALS"]).read_text("utf-8"))
    os.environ |= {name.upper(): value for name, value in settings["mlflow"].items()}
    os.environ["MLFLOW_TRACKING_URI"] = "http://mlflow:5000"
    count, faults = unreadable()
    sys.stdout.write(f"MLflow: {count} versions of models, {count - len(faults)} read back\n")
    if faults:
        sys.stderr.write(
            "understudy: the backup does not hold " + "\n".join(faults) + "\n"
            "  Allowed: a backup of which every version of every model can be read.\n"
            "  Next: make another one while the stack is well, and verify that.\n"
        )
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
