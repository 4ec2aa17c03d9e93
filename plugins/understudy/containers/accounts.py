"""Creates the users of the container stack where there are none: Airflow's first, and MLflow's.

Runs once per start, after both databases are up to date and MLflow answers. Users that exist keep
their passwords and roles: people change both.
"""

from __future__ import annotations

import base64
import configparser
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

from understudy.containers.first_start import ADMIN, READER, STEPS

_FOLDERS: Final = {STEPS: "tracking", READER: "reader"}
"""Which folder holds the credentials of a user of MLflow."""
_TIMEOUT_S: Final = 30.0
_TAKEN: Final = "RESOURCE_ALREADY_EXISTS"


def airflow_admin(password: str) -> bool:
    """Create Airflow's first user, with the role Admin; return whether there was none of its name.

    Airflow's own command would take the password as an argument, which every process can read.
    """
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        users = builder.sm
        if users.find_user(username=ADMIN) is not None:
            return False
        role = users.find_role("Admin")
        made = users.add_user(ADMIN, ADMIN, ADMIN, f"{ADMIN}@localhost", role, password=password)
        # The security manager logs what went wrong and returns False; it raises nothing.
        if not made:
            raise RuntimeError(f"Airflow did not make the user {ADMIN!r}; its log says why")
        return True


def mlflow_user(address: str, authorization: str, user: str, password: str) -> bool:
    """Create a user of MLflow; return whether there was none of its name.

    Args:
        address: Of the server.
        authorization: The header of an administrator.
        user: Name.
        password: At least 12 characters, as MLflow demands.

    Raises:
        urllib.error.HTTPError: when the server refuses.
    """
    body = json.dumps({"username": user, "password": password}).encode()
    headers = {"Authorization": authorization, "Content-Type": "application/json"}
    request = urllib.request.Request(  # noqa: S310 -- the compose file's own http address
        f"{address}/api/2.0/mlflow/users/create", body, headers
    )
    # A proxy of the user's has no business between two services.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(request, timeout=_TIMEOUT_S).close()
    except urllib.error.HTTPError as error:
        # Made and then looked at, not looked up first: two starts at once cannot both find nothing.
        if _TAKEN not in error.read().decode("utf-8", "replace"):
            raise
        return False
    return True


def basic(user: str, password: str) -> str:
    """Return the header of HTTP's basic authentication (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def credentials(path: Path) -> tuple[str, str]:
    """Return user and password of a file as MLflow's clients read it."""
    # No interpolation: a % in a password stands for itself.
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(path.read_text("utf-8"))
    section = parser["mlflow"]
    return section["mlflow_tracking_username"], section["mlflow_tracking_password"]


def main(root: Path, address: str) -> None:
    """Create all of them.

    Args:
        root: Folder with the secrets' subfolders.
        address: Of MLflow's server.
    """
    made = {"Airflow's admin": airflow_admin((root / "login" / "airflow").read_text("ascii"))}
    header = basic(ADMIN, (root / "login" / "mlflow").read_text("ascii"))
    for name, folder in _FOLDERS.items():
        user, password = credentials(root / folder / "credentials")
        made[f"MLflow's {name}"] = mlflow_user(address, header, user, password)
    for name, is_new in made.items():
        sys.stdout.write(f"{name}: {'made' if is_new else 'was there'}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
