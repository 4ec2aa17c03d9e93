"""Reads what opens a private repository from an Airflow connection."""

from __future__ import annotations

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from understudy.errors import ProjectError
from understudy.spec.git_access import GitAccess


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
    named = {name: getattr(connection, name) for name in ("host", "login", "password")}
    access = GitAccess.of_connection(conn_id, {**connection.extra_dejson, **named})
    for secret in access.secrets:
        mask_secret(secret)
    return access
