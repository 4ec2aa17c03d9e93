"""Generates the secrets of the container stack. Writes below one folder, and nothing twice.

Each service mounts one subfolder, so that none sees what only another one needs. What exists is
kept: a start that was interrupted goes on where it ended, and every later start changes nothing.
Standard library only, for it runs before there is anything else.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import hmac
import io
import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

USER = "admin"
DATABASES = ("airflow", "mlflow")
"""Each has a role of its own that owns it, and whose name is the database's."""
SERVER = "postgres:5432"
_ITERATIONS = 4096  # PostgreSQL's own default of scram_iterations
_OWNER_ONLY = 0o600
# PostgreSQL's entry point reads these as a user whose number only that image knows; the volume
# that they lie in is mounted by nothing else.
_POSTGRES = 0o444


def prepare(root: Path) -> None:
    """Write what is missing of the secrets below `root`.

    Args:
        root: A folder with the subfolders `airflow`, `login`, `mlflow` and `postgres`.
    """
    passwords = {name: _role_password(root / name / "pgpass", name) for name in DATABASES}
    _keep(root / "airflow" / "airflow.cfg", _OWNER_ONLY, _airflow_configuration)
    _keep(root / "login" / "passwords.json", _OWNER_ONLY, _login)
    _keep(root / "postgres" / "superuser", _POSTGRES, _password)
    _keep(root / "postgres" / "roles.sql", _POSTGRES, lambda: roles_sql(passwords))


def roles_sql(passwords: dict[str, str]) -> str:
    """Return the statements that make the roles and their databases, for a new server.

    The server is given verifiers: the passwords stand neither in the file nor in its log.
    """
    return "".join(
        f"CREATE ROLE {name} LOGIN PASSWORD '{scram_verifier(password, os.urandom(16))}';\n"
        f"CREATE DATABASE {name} OWNER {name};\n"
        f"REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC;\n"
        for name, password in passwords.items()
    )


def scram_verifier(password: str, salt: bytes) -> str:
    """Return what PostgreSQL stores for an ASCII password: RFC 5802 section 3, with SHA-256."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def _role_password(path: Path, role: str) -> str:
    """Return the password of a role, from libpq's password file, which is written if need be."""
    _keep(path, _OWNER_ONLY, lambda: f"{SERVER}:{role}:{role}:{_password()}\n")
    return path.read_text("ascii").rstrip("\n").rpartition(":")[2]


def _airflow_configuration() -> str:
    """Return airflow.cfg with what is secret in it; the rest is in the compose file."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_dict(
        {
            # Shorter than 64 bytes, Airflow warns at every call.
            "api_auth": {"jwt_secret": secrets.token_urlsafe(64)},
            "api": {"secret_key": secrets.token_urlsafe(32)},
            "core": {"fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()},
        }
    )
    with io.StringIO() as text:
        parser.write(text)
        return text.getvalue()


def _login() -> str:
    return json.dumps({USER: _password()})


def _password() -> str:
    return secrets.token_urlsafe(24)


def _keep(path: Path, mode: int, content: Callable[[], str]) -> None:
    """Write a file unless it is there; it is in its place only when it is whole."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(content())
        file.flush()
        os.fsync(file.fileno())
    draft.chmod(mode)
    draft.replace(path)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
