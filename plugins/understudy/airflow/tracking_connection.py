"""Takes the tracking server, and what opens it, from an Airflow connection where one is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from understudy.errors import SettingsError

if TYPE_CHECKING:
    from airflow.sdk import Connection

VARIABLE: Final = "UNDERSTUDY_MLFLOW_CONNECTION"
"""Environment variable that names the connection; without it MLflow's own variables count."""
_URI: Final = "MLFLOW_TRACKING_URI"
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_TOKEN: Final = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 -- ditto


def use_connection() -> None:
    """Let this process, and the steps that it starts, reach MLflow as the connection says.

    Raises:
        SettingsError: if there is no such connection, or nothing in it.
    """
    if conn_id := os.environ.get(VARIABLE, ""):
        try:
            _use(BaseHook.get_connection(conn_id))
        except AirflowNotFoundException as error:
            raise _missing(conn_id) from error


async def use_connection_async() -> None:
    """Do what use_connection does, without blocking the triggerer."""
    if conn_id := os.environ.get(VARIABLE, ""):
        try:
            _use(await BaseHook.aget_connection(conn_id))
        except AirflowNotFoundException as error:
            raise _missing(conn_id) from error


def _use(connection: Connection) -> None:
    found = dict(_variables(connection))
    if not found:
        raise SettingsError(
            f"The Airflow connection {connection.conn_id!r} says nothing about MLflow",
            allowed="a host, a login with a password, or a password alone, which is a token",
            action=f"fill it in (Admin, Connections), or unset {VARIABLE}",
        )
    if connection.password:
        mask_secret(connection.password)
        for name in (_USER, _PASSWORD, _TOKEN):  # those of another user must not win
            os.environ.pop(name, None)
    os.environ.update(found)


def _variables(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield MLflow's own variables, which its client and every step read."""
    if host := connection.host:
        port = f":{connection.port}" if connection.port else ""
        yield _URI, host if "://" in host else f"{connection.schema or 'http'}://{host}{port}"
    if connection.login and connection.password:
        yield _USER, connection.login
        yield _PASSWORD, connection.password
    elif connection.password:
        yield _TOKEN, connection.password


def _missing(conn_id: str) -> SettingsError:
    return SettingsError(
        f"There is no Airflow connection {conn_id!r}, which MLflow is opened by",
        allowed=f"the id of a connection in {VARIABLE}",
        action="create it in Airflow (Admin, Connections), or unset the variable",
    )
