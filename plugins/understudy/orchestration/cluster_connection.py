"""Reads what opens a cluster from an Airflow connection, on a worker and in the triggerer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from understudy.errors import ClusterError
from understudy.steps.kubernetes_cluster import ClusterAccess

if TYPE_CHECKING:
    from airflow.sdk import Connection


def cluster_access(conn_id: str) -> ClusterAccess:
    """Return what a connection says, its secrets masked; without one, what the machine has.

    Raises:
        ClusterError: if there is no such connection, or it cannot be used.
    """
    if not conn_id:
        return ClusterAccess()
    try:
        return _masked(conn_id, BaseHook.get_connection(conn_id))
    except AirflowNotFoundException as error:
        raise _missing(conn_id) from error


async def cluster_access_async(conn_id: str) -> ClusterAccess:
    """Return what cluster_access does, without blocking the triggerer."""
    if not conn_id:
        return ClusterAccess()
    try:
        return _masked(conn_id, await BaseHook.aget_connection(conn_id))
    except AirflowNotFoundException as error:
        raise _missing(conn_id) from error


def _masked(conn_id: str, connection: Connection) -> ClusterAccess:
    access = ClusterAccess.of_connection(conn_id, connection.extra_dejson)
    for secret in access.secrets:
        mask_secret(secret)
    return access


def _missing(conn_id: str) -> ClusterError:
    return ClusterError(
        f"There is no Airflow connection {conn_id!r}, which the cluster is opened by",
        allowed="the id of a connection of type kubernetes",
        action="create it in Airflow (Admin, Connections), or correct backend_config",
    )
