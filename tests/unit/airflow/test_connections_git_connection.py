"""A real Airflow connection, given to the worker by its environment."""

from __future__ import annotations

import json

import pytest

from understudy.airflow.connections import git_access
from understudy.errors import ProjectError

pytestmark = pytest.mark.unit


def test_a_connection_of_the_git_providers_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Login, password, host and the extra's fields; one id, one access."""
    connection = {
        "conn_type": "git",
        "host": "https://git.example.com/acme/models.git",
        "login": "bot",
        "password": "t0ken",
        "extra": {"private_key": "KEY", "strict_host_key_checking": "accept-new"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_GIT_MODELS", json.dumps(connection))
    access = git_access("git_models")
    assert access is not None
    assert (access.host, access.user_and_password()) == ("git.example.com", "bot:t0ken")
    assert access.ssh.private_key == "KEY\n"
    assert access.ssh.host_key_checking == "accept-new"


def test_no_connection_and_one_that_is_not_there() -> None:
    """No id asks for nothing; a wrong id is said so, and not retried."""
    assert git_access("") is None
    with pytest.raises(ProjectError, match="no Airflow connection 'nowhere'") as caught:
        git_access("nowhere")
    assert not caught.value.can_retry
