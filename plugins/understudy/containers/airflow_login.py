"""Airflow's plug-in of the container stack: wrong logins at `/auth/token` are counted, as MLflow's.

The login page has a limit of its own (FAB's, five in 40 s); the calls by which programs log in have
none. The API server alone is given the folder of this file (`AIRFLOW__CORE__PLUGINS_FOLDER`).
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from airflow.plugins_manager import AirflowPlugin

from understudy.containers.guesses import OF_ONE, PER_S, Guesses

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOGINS: Final = ("/auth/token", "/auth/token/cli")
_LARGEST: Final = 65_536
"""Bytes of a login; what is larger is none, and is not kept."""


class WrongLogins:
    """Answers 429 to whoever has guessed too often, before the password's hash is computed.

    Args:
        app: What answers else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        path = str(scope.get("path", "")).rstrip("/")
        if scope["type"] != "http" or not path.endswith(_LOGINS) or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = await _body(receive)
        address, name = (scope.get("client") or ("",))[0], _name(scope, body)
        if body is None or self._guesses.are_many(address, name):
            await _refuse(send, 429 if body is not None else 413)
            return
        read = False

        async def again() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in {400, 401}:
                self._guesses.remember(address, name)
            await send(message)

        await self._app(scope, again, counted)


async def _body(receive: Receive) -> bytes | None:
    """Return what was sent; None where that is too much, or its sender has left."""
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts += message.get("body", b"")
        if len(parts) > _LARGEST:
            return None
        if not message.get("more_body"):
            return bytes(parts)


def _name(scope: Scope, body: bytes | None) -> str:
    """Return who wants to log in: as the body says, or else HTTP's basic authentication."""
    try:
        said: Any = json.loads(body or b"{}")
        if isinstance(said, dict) and said.get("username"):
            return str(said["username"])
        kind, _, word = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        return (
            base64.b64decode(word).partition(b":")[0].decode() if kind.lower() == b"basic" else ""
        )
    except ValueError:
        return ""


async def _refuse(send: Send, status: int) -> None:
    detail = f"More than {OF_ONE} wrong logins in {PER_S:.0f} s." if status == 429 else "Too large."  # noqa: PLR2004 - HTTP
    headers = [(b"content-type", b"application/json"), (b"retry-after", str(int(PER_S)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": detail}).encode()})


class LoginPlugin(AirflowPlugin):
    """Puts it before all of Airflow's API server."""

    name = "understudy_login"
    fastapi_root_middlewares = [  # noqa: RUF012 -- Airflow's own declaration
        {"middleware": WrongLogins, "args": [], "kwargs": {}, "name": "wrong logins"}
    ]
