"""A real Airflow connection that says where MLflow is and who asks."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from understudy.airflow.connections import VARIABLE, use_connection, use_connection_async
from understudy.errors import SettingsError

pytestmark = pytest.mark.unit

NAMES = tuple(f"MLFLOW_TRACKING_{name}" for name in ("URI", "USERNAME", "PASSWORD", "TOKEN"))
URI = "http://mlflow:5000"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with a server and another user's token, and leave no variable behind."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", URI)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of another user")
    monkeypatch.setenv(VARIABLE, "mlflow")


def variables() -> list[str | None]:
    """Return address, user, password and token."""
    return [os.environ.get(name) for name in NAMES]


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ({"login": "bot", "password": "s"}, [URI, "bot", "s", None]),
        ({"password": "s"}, [URI, None, None, "s"]),
        # Another server must not hear it.
        ({"host": "https://m.example.com"}, ["https://m.example.com", None, None, None]),
        ({"host": "mlflow", "port": 5000}, [URI, None, None, "of another user"]),
        ({"host": "m", "port": 80, "password": "s"}, ["http://m:80", None, None, "s"]),
        ({"host": "m", "schema": "https", "password": "s"}, ["https://m", None, None, "s"]),
    ],
)
def test_what_a_connection_says(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, object], expected: list[str | None]
) -> None:
    """It becomes MLflow's own variables, which the steps get too; nobody else's are left."""
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW", json.dumps({"conn_type": "http", **connection}))
    use_connection()
    assert variables() == expected


def test_in_the_triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, without blocking its loop."""
    given = {"conn_type": "http", "login": "bot", "password": "s"}
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW", json.dumps(given))
    asyncio.run(use_connection_async())
    assert variables() == [URI, "bot", "s", None]


def test_without_a_name_the_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked of Airflow."""
    monkeypatch.delenv(VARIABLE)
    before = variables()
    use_connection()
    assert variables() == before


@pytest.mark.parametrize(
    ("connection", "message"),
    [(None, "no Airflow connection 'mlflow'"), ({"login": "bot"}, "says nothing about MLflow")],
)
def test_a_connection_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, str] | None, message: str
) -> None:
    """It is not there, or empty."""
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_MLFLOW", json.dumps({"conn_type": "http", **connection}))
    with pytest.raises(SettingsError, match=message):
        use_connection()
