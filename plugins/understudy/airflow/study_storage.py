"""Finds where a night's study is kept: a database of an Airflow connection, or the worker's own.

The address may hold a password: a step gets it by environment, never by a parameter.
"""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import quote, unquote, urlencode, urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from understudy.contract import STUDIES_VARIABLE
from understudy.errors import ParameterError, SettingsError
from understudy.spec.search import Search

_DRIVERS: Final = {"postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg"}
"""Airflow's connection types, and what SQLAlchemy calls them."""


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
    _mask(unquote(urlsplit(address).password or ""))
    return address


def _mask(password: str) -> None:
    """Keep a password out of the task's log, also as it stands in a URL."""
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
    _mask(password)
    opened = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    at = f"{opened}@" if opened else ""
    port = f":{connection.port}" if connection.port else ""
    query = urlencode({name: str(value) for name, value in connection.extra_dejson.items()})
    address = f"{driver}://{at}{connection.host or ''}{port}/{connection.schema or ''}"
    return f"{address}?{query}" if query else address
