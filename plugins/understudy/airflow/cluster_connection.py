"""Opens a cluster by an Airflow connection, on a worker and in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from understudy.errors import ClusterError
from understudy.runner.cluster.databricks_workspace import DatabricksWorkspace, WorkspaceAccess
from understudy.runner.cluster.kubernetes_cluster import ClusterAccess, KubernetesCluster
from understudy.spec.placement import ClusterPlacement, Placement

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from understudy.runner.cluster.remote import Cluster


def cluster_of(where: Placement) -> Cluster:
    """Return the cluster of a placement, the secrets that open it masked.

    Raises:
        ClusterError: if there is no such connection, or it cannot be used.
    """
    if not where.connection:
        return _opened(where, None)
    try:
        return _opened(where, BaseHook.get_connection(where.connection))
    except AirflowNotFoundException as error:
        raise _missing(where) from error


async def cluster_of_async(where: Placement) -> Cluster:
    """Return what cluster_of does, without blocking the triggerer."""
    if not where.connection:
        return _opened(where, None)
    try:
        return _opened(where, await BaseHook.aget_connection(where.connection))
    except AirflowNotFoundException as error:
        raise _missing(where) from error


def _opened(where: Placement, connection: Connection | None) -> Cluster:
    if isinstance(where, ClusterPlacement):
        access = _kubernetes(connection)
        _mask(access.secrets)
        return KubernetesCluster(where, access)
    workspace = _databricks(connection)
    _mask(workspace.secrets)
    return DatabricksWorkspace(where, workspace)


def _kubernetes(connection: Connection | None) -> ClusterAccess:
    if connection is None:
        return ClusterAccess()
    return ClusterAccess.of_connection(connection.conn_id, connection.extra_dejson)


def _databricks(connection: Connection | None) -> WorkspaceAccess:
    if connection is None:
        return WorkspaceAccess()
    user = (connection.login or "", connection.password or "")
    host, extra = connection.host or "", connection.extra_dejson
    return WorkspaceAccess.of_connection(connection.conn_id, host, user, extra)


def _mask(secrets: tuple[str, ...]) -> None:
    for secret in secrets:
        mask_secret(secret)


def _missing(where: Placement) -> ClusterError:
    kind = "kubernetes" if isinstance(where, ClusterPlacement) else "databricks"
    return ClusterError(
        f"There is no Airflow connection {where.connection!r}, which the cluster is opened by",
        allowed=f"the id of a connection of type {kind}",
        action="create it in Airflow (Admin, Connections), or correct backend_config",
    )
