"""What an Airflow connection of type databricks opens a workspace with."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.errors import ClusterError
from understudy.runner.cluster.databricks_workspace import DatabricksWorkspace
from understudy.spec.placement import DatabricksPlacement

pytestmark = pytest.mark.unit

HOST = "acme.cloud.databricks.com"


def opened(host: str, user: tuple[str, str], extra: dict[str, Any]) -> DatabricksWorkspace:
    """Return the workspace of a connection with these fields."""
    given = {**extra, "host": host, "login": user[0], "password": user[1]}
    return DatabricksWorkspace(DatabricksPlacement(connection="dbx"), given)


@pytest.mark.parametrize(
    ("user", "extra", "wanted"),
    [
        (("", "dapi1"), {}, {"auth_type": "pat", "token": "dapi1"}),
        (("token", "dapi1"), {}, {"auth_type": "pat", "token": "dapi1"}),
        (("", ""), {"token": "dapi1"}, {"auth_type": "pat", "token": "dapi1"}),
        (
            ("app", "s3cret"),
            {"service_principal_oauth": True},
            {"auth_type": "oauth-m2m", "client_id": "app", "client_secret": "s3cret"},
        ),
        (
            ("app", "s3cret"),
            {"azure_tenant_id": "t"},
            {
                "auth_type": "azure-client-secret",
                "azure_client_id": "app",
                "azure_client_secret": "s3cret",
                "azure_tenant_id": "t",
            },
        ),
    ],
)
def test_the_ways_of_airflows_provider(
    user: tuple[str, str], extra: dict[str, Any], wanted: dict[str, str]
) -> None:
    """Each with its secret known, so that it can be masked, and never in the representation."""
    access = opened(HOST, user, extra)
    assert access.settings == {"host": f"https://{HOST}", **wanted}
    (secret,) = access.secrets
    assert secret in {"dapi1", "s3cret"}
    assert secret not in repr(access)


@pytest.mark.parametrize(
    ("host", "user", "extra"),
    [
        ("", ("", "dapi1"), {}),
        (HOST, ("", ""), {}),
        (HOST, ("anna", "her own password"), {}),
        (HOST, ("app", ""), {"service_principal_oauth": True}),
    ],
)
def test_a_connection_that_opens_nothing(
    host: str, user: tuple[str, str], extra: dict[str, Any]
) -> None:
    """A person's password is no token, and is not sent as one."""
    with pytest.raises(ClusterError, match="does not say how") as caught:
        _ = opened(host, user, extra).secrets
    assert "password" not in str(caught.value).partition("Allowed")[0]


@pytest.mark.parametrize(
    ("worker", "job"),
    [
        ("databricks", "databricks"),
        ("databricks://my-profile", "databricks"),
        ("https://mlflow.acme.example", "https://mlflow.acme.example"),
    ],
)
def test_the_tracking_address_of_a_job(
    worker: str, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A profile is a file of the worker; the runtime knows its own workspace."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", worker)
    assert DatabricksWorkspace(DatabricksPlacement()).tracking_uri == job
