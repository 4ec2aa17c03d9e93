"""What backend= and backend_config= may say."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.errors import DeclarationError
from understudy.spec.placement import ClusterPlacement, DatabricksPlacement, placement

pytestmark = pytest.mark.unit


def test_the_worker_is_the_default_and_takes_no_configuration() -> None:
    """None stands for it."""
    assert placement("local", {}) is None


def test_mlflows_own_file_is_understood() -> None:
    """Its keys have hyphens."""
    given = {"kube-context": "prod", "kube-job-template-path": "/etc/job.yaml"}
    wanted = ClusterPlacement(context="prod", template_path="/etc/job.yaml")
    assert placement("kubernetes", given) == wanted


def test_mlflows_file_for_databricks_is_understood() -> None:
    """The one with new_cluster and libraries."""
    given = {"new_cluster": {"num_workers": 1}, "libraries": [{"pypi": {"package": "six"}}]}
    assert placement("databricks", given) == DatabricksPlacement(**given)


@pytest.mark.parametrize(
    ("backend", "config", "environment", "message"),
    [
        ("kubernets", {}, (), "did you mean 'kubernetes'"),
        ("spark", {}, (), "Allowed: 'databricks', 'kubernetes', 'local'"),
        ("databricks", {}, (), "no new_cluster"),
        ("databricks", {"spark_version": "x"}, (), 'under "new_cluster"'),
        ("databricks", {"new_cluster": {"a": 1}, "existing": 1}, (), "Allowed: 'connection'"),
        ("databricks", {"new_cluster": {"a": 1}}, ("SECRET",), "secrets/scope/key"),
        ("local", {"image": "x"}, (), "backend is 'local'"),
        ("kubernetes", {"kube-contxt": "x"}, (), "did you mean 'kube-context'"),
        ("kubernetes", {"repository-uri": "x"}, (), "builds an image on the worker"),
        ("kubernetes", {"tracking-uri": "https://a:b@host"}, (), "a password"),
        ("kubernetes", {}, ("AWS_SECRET",), "secretKeyRef"),
        ("kubernetes", {"poll-seconds": 0.0}, (), "poll_seconds"),
        (
            "kubernetes",
            {"kube-job-template": {}, "kube-job-template-path": "x"},
            (),
            "two templates",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    backend: str, config: dict[str, Any], environment: tuple[str, ...], message: str
) -> None:
    """Each with the way that there is instead."""
    with pytest.raises(DeclarationError, match=message):
        placement(backend, config, environment)
