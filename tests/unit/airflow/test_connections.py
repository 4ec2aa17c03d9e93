"""Where a night's study is: a real Airflow connection, or the worker's own variable."""

from __future__ import annotations

import json

import pytest

from understudy.airflow import connections as study_storage_module
from understudy.airflow.connections import study_storage
from understudy.errors import ParameterError, SettingsError
from understudy.spec.search import Search

pytestmark = pytest.mark.unit


def test_a_connection_becomes_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """With SQLAlchemy's name of the driver; what is special in a URL is quoted."""
    connection = {
        "conn_type": "postgres",
        "host": "db.example.com",
        "port": 5433,
        "login": "optuna",
        "password": "p@ss/word",
        "schema": "studies",
        "extra": {"sslmode": "require"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_STUDIES", json.dumps(connection))
    assert study_storage(Search(connection="studies")) == (
        "postgresql+psycopg://optuna:p%40ss%2Fword@db.example.com:5433/studies?sslmode=require"
    )
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": "http"}))
    for name, words in (("other", "is of type 'http'"), ("nowhere", "no Airflow connection")):
        with pytest.raises(ParameterError, match=words):
            study_storage(Search(connection=name))


def test_several_workers_need_a_place_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's variable says where; one alone may have the project's default."""
    monkeypatch.setenv("UNDERSTUDY_STUDIES", "/var/lib/studies")
    assert study_storage(Search()) == "/var/lib/studies"
    monkeypatch.delenv("UNDERSTUDY_STUDIES")
    assert study_storage(Search(workers=1)) == ""
    with pytest.raises(SettingsError, match="2 workers share a study, and nothing says where"):
        study_storage(Search())


def test_no_password_of_a_database_reaches_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as it is nor as it stands in a URL, whoever named the database."""
    told: list[str] = []
    monkeypatch.setattr(study_storage_module, "mask_secret", told.append)
    url = "postgresql+psycopg://optuna:s%40crets@db.example.com/studies"
    monkeypatch.setenv("UNDERSTUDY_STUDIES", url)
    assert study_storage(Search()) == url
    assert set(told) == {"s@crets", "s%40crets"}
    told.clear()
    connection = {"conn_type": "postgres", "host": "db", "login": "o", "password": "w@rds/more"}
    monkeypatch.setenv("AIRFLOW_CONN_STUDIES", json.dumps(connection))
    assert "w%40rds%2Fmore" in study_storage(Search(connection="studies"))
    assert set(told) == {"w@rds/more", "w%40rds%2Fmore"}
