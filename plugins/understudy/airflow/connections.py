"""What Airflow connections open: the tracking server, a repository, a cluster, the studies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from understudy.contract import STUDIES_VARIABLE
from understudy.errors import ClusterError, ParameterError, ProjectError, SettingsError
from understudy.runner.cluster.databricks_workspace import DatabricksWorkspace
from understudy.runner.cluster.kubernetes_cluster import KubernetesCluster
from understudy.spec.git_access import GitAccess
from understudy.spec.placement import ClusterPlacement, Placement
from understudy.spec.search import Search

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from understudy.runner.cluster.remote import Cluster


VARIABLE: Final = "UNDERSTUDY_MLFLOW_CONNECTION"
"""Environment variable that names the connection; without it MLflow's own variables count."""
_URI: Final = "MLFLOW_TRACKING_URI"
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_TOKEN: Final = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 -- the name of a variable


def use_connection() -> None:
    """Let this process, and the steps that it starts, reach MLflow as the connection says.

    Raises:
        SettingsError: if there is no such connection, or nothing in it.
    """
    if conn_id := os.environ.get(VARIABLE, ""):
        try:
            _use(BaseHook.get_connection(conn_id))
        except AirflowNotFoundException as error:
            raise _no_tracking_connection(conn_id) from error


async def use_connection_async() -> None:
    """Do what use_connection does, without blocking the triggerer."""
    if conn_id := os.environ.get(VARIABLE, ""):
        try:
            _use(await BaseHook.aget_connection(conn_id))
        except AirflowNotFoundException as error:
            raise _no_tracking_connection(conn_id) from error


def _use(connection: Connection) -> None:
    # MLflow's own variables, which its client and every step read.
    found: dict[str, str] = {}
    if host := connection.host:
        port = f":{connection.port}" if connection.port else ""
        address = f"{connection.schema or 'http'}://{host}{port}"
        found[_URI] = host if "://" in host else address
    if connection.login and connection.password:
        found |= {_USER: connection.login, _PASSWORD: connection.password}
    elif connection.password:
        found[_TOKEN] = connection.password
    if not found:
        raise SettingsError(
            f"The Airflow connection {connection.conn_id!r} says nothing about MLflow",
            allowed="a host, a login with a password, or a password alone, which is a token",
            action=f"fill it in (Admin, Connections), or unset {VARIABLE}",
        )
    # The worker's own variables go first: those of another user must not win over the connection,
    # nor be told to another server.
    if connection.password:
        mask_secret(connection.password)
    if connection.password or found.get(_URI, "") not in {"", os.environ.get(_URI, "")}:
        for name in (_USER, _PASSWORD, _TOKEN):
            os.environ.pop(name, None)
    os.environ.update(found)


def _no_tracking_connection(conn_id: str) -> SettingsError:
    return SettingsError(
        f"There is no Airflow connection {conn_id!r}, which MLflow is opened by",
        allowed=f"the id of a connection in {VARIABLE}",
        action="create it in Airflow (Admin, Connections), or unset the variable",
    )


def git_access(conn_id: str) -> GitAccess | None:
    """Return what a connection says, and have Airflow mask its secrets; None for no connection.

    Raises:
        ProjectError: if there is no such connection, or it cannot be used.
    """
    if not conn_id:
        return None
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ProjectError(
            f"There is no Airflow connection {conn_id!r}, which the project is opened by",
            allowed="the id of a connection of type git",
            action="create it in Airflow (Admin, Connections), or correct the project's connection",
        ) from error
    access = GitAccess.of_connection(conn_id, _fields(connection))
    for secret in access.secrets:
        mask_secret(secret)
    return access


def _fields(connection: Connection) -> dict[str, Any]:
    named = {name: getattr(connection, name) for name in ("host", "login", "password")}
    return {**connection.extra_dejson, **named}


def cluster_of(where: Placement) -> Cluster:
    """Return the cluster of a placement, the secrets that open it masked.

    Raises:
        ClusterError: if there is no such connection, or it cannot be used.
    """
    with _cluster_connection(where):
        return _opened(
            where, BaseHook.get_connection(where.connection) if where.connection else None
        )


async def cluster_of_async(where: Placement) -> Cluster:
    """Return what cluster_of does, without blocking the triggerer."""
    with _cluster_connection(where):
        found = await BaseHook.aget_connection(where.connection) if where.connection else None
        return _opened(where, found)


def _opened(where: Placement, connection: Connection | None) -> Cluster:
    given = {} if connection is None else _fields(connection)
    cluster: Cluster
    if isinstance(where, ClusterPlacement):
        cluster = KubernetesCluster(where, given)
    else:
        cluster = DatabricksWorkspace(where, given)
    for secret in cluster.secrets:
        mask_secret(secret)
    return cluster


@contextmanager
def _cluster_connection(where: Placement) -> Iterator[None]:
    try:
        yield
    except AirflowNotFoundException as error:
        kind = "kubernetes" if isinstance(where, ClusterPlacement) else "databricks"
        raise ClusterError(
            f"There is no Airflow connection {where.connection!r}, which the cluster is opened by",
            allowed=f"the id of a connection of type {kind}",
            action="create it in Airflow (Admin, Connections), or correct backend_config",
        ) from error


_DRIVERS: Final = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
"""Airflow's connection types, and what SQLAlchemy calls them."""


# The address may hold a password: a step gets it by environment, never by a parameter, which MLflow
# would show to whoever may read the run.
def study_storage(search: Search) -> str:
    """Return the address for Optuna; '' for the project's own default, of a single worker.

    Raises:
        ParameterError: if there is no such connection, or it is none of a database.
        SettingsError: if several workers share a study and nothing says where.
    """
    if search.connection:
        return _of_connection(search.connection)
    address = os.environ.get(STUDIES_VARIABLE, "")
    if not address and search.workers > 1:
        raise SettingsError(
            f"{search.workers} workers share a study, and nothing says where it is kept",
            allowed=f"a connection=, or the environment variable {STUDIES_VARIABLE}: a folder that "
            "all workers see, or the URL of a database",
            action="create an Airflow connection of type postgres and name it in Search(...), or "
            "set the variable where the workers are started",
        )
    _mask_password(unquote(urlsplit(address).password or ""))
    return address


def _mask_password(password: str) -> None:
    """Keep a password out of the task's log, also as it stands in a URL."""
    # In the text of an error about the address it stands percent-encoded.
    for text in filter(None, {password, quote(password, safe="")}):
        mask_secret(text)


def _of_connection(conn_id: str) -> str:
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        raise ParameterError(
            f"There is no Airflow connection {conn_id!r}, which has the studies",
            allowed="the id of a connection of type postgres",
            action="create it in Airflow (Admin, Connections), or correct Search(connection=...)",
        ) from error
    driver = _DRIVERS.get(connection.conn_type or "")
    if driver is None:
        raise ParameterError(
            f"The Airflow connection {conn_id!r} is of type {connection.conn_type!r}",
            allowed="postgres",
            action="name another connection in Search(connection=...)",
        )
    user, password = connection.login or "", connection.password or ""
    _mask_password(password)
    opened = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    at = f"{opened}@" if opened else ""
    port = f":{connection.port}" if connection.port else ""
    query = urlencode({name: str(value) for name, value in connection.extra_dejson.items()})
    address = f"{driver}://{at}{connection.host or ''}{port}/{connection.schema or ''}"
    return f"{address}?{query}" if query else address
