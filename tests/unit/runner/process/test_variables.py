"""A child sees what it needs, not all of the worker's variables."""

from __future__ import annotations

import pytest

from understudy.runner.process.variables import build_environment, step_environment

pytestmark = pytest.mark.unit

OURS = {
    "PATH": "/bin", "HOME": "/root", "LC_ALL": "C", "TZ": "UTC", "https_proxy": "x",
    "SSL_CERT_FILE": "x", "MLFLOW_TRACKING_TOKEN": "t", "MLFLOW_EXPERIMENT_NAME": "x",
    "MLFLOW_RUN_ID": "x", "MLFLOW_BACKEND_STORE_URI": "x", "MLFLOW_FLASK_SERVER_SECRET_KEY": "x",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "x", "AIRFLOW_CONN_X": "x", "_AIRFLOW_Y": "x",
    "AWS_SECRET_ACCESS_KEY": "x", "AZURE_CLIENT_SECRET": "x", "GOOGLE_APPLICATION_CREDENTIALS": "x",
    "PYTHONPATH": "x", "PYTHONHOME": "x", "UNDERSTUDY_DATA_MIRROR": "m", "GITHUB_TOKEN": "x",
    "UV_INDEX_URL": "i", "UV_PYTHON": "x", "UV_CONSTRAINT": "x", "UV_CACHE_DIR": "c",
}  # fmt: skip
ALWAYS = {
    "PATH", "HOME", "LC_ALL", "TZ", "https_proxy", "SSL_CERT_FILE", "MLFLOW_TRACKING_TOKEN",
    "UNDERSTUDY_DATA_MIRROR",
}  # fmt: skip


@pytest.mark.parametrize(
    ("uris", "local", "more"),
    [
        ((), False, set()),
        (("mlflow-artifacts:/1/x", "http://host"), False, set()),
        (("s3://bucket/x",), False, {"AWS_SECRET_ACCESS_KEY"}),
        (("gs://bucket/x",), False, {"GOOGLE_APPLICATION_CREDENTIALS"}),
        (("abfss://box@host/x",), False, {"AZURE_CLIENT_SECRET"}),
        ((), True, {"PYTHONPATH"}),
    ],
)
def test_step(uris: tuple[str, ...], local: bool, more: set[str]) -> None:  # noqa: FBT001
    """A cloud's credentials only where the step's data are in it; nothing of Airflow's ever."""
    assert set(step_environment(OURS, uris, local=local)) == ALWAYS | {"OMP_WAIT_POLICY"} | more


def test_threads_that_wait_do_not_spin_unless_the_worker_says_so() -> None:
    """Steps share the processors; a worker that has them to itself may say otherwise."""
    assert step_environment({}, (), local=False) == {"OMP_WAIT_POLICY": "PASSIVE"}
    active = {"OMP_WAIT_POLICY": "ACTIVE"}
    assert step_environment(active, (), local=False) == active


def test_build() -> None:
    """A build gets its index and cache, and nothing that would change what is installed."""
    found = build_environment(OURS)
    assert {name for name in found if name.startswith("UV_")} == {"UV_INDEX_URL", "UV_CACHE_DIR"}
    assert "MLFLOW_TRACKING_TOKEN" not in found
