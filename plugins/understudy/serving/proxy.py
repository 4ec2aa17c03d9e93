"""The address that clients know: passes requests on to the version in production. An ASGI app.

A client's connection never ends when the champion changes: requests that came before are answered
by the version that took them, later ones by the next.

A request whose server died under it may be what killed it. It is asked once more at most: as it is
where something else ended the server; on a server that has nothing else to do where others were
under way, too; not at all where it was the only one. So one request takes down two servers at most,
is answered with 502, and fails no other.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from understudy.runner.process.process import OnLine
from understudy.serving.answers import refusal
from understudy.serving.instance import Instance
from understudy.serving.server import ModelServer
from understudy.spec.quantities import size_text

if TYPE_CHECKING:
    import httpx
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

VERSION_HEADER: Final = "x-understudy-version"
"""Header of an answer: the version that gave it."""
UNCONFIRMED_HEADER: Final = "x-understudy-unconfirmed"
"""Header of an answer while the registry cannot be asked: for how many seconds."""
LARGEST_BODY: Final = 16_000_000
"""Bytes of a request, unless said otherwise."""
_ASKED_FOR: Final = 60.0
"""Seconds that a request waits for a server that is up, once its own has died."""
_ARRIVAL: Final = 60.0
"""Seconds in which a request must have come whole, and a connection must bring its first."""
_REAPED: Final = 5.0
"""Seconds in which a server that has let a connection go is known to have ended."""
_MOST_REMEMBERED: Final = 1000
_ANSWER: Final = 120.0
"""Seconds that a server may take for an answer; MLflow's own limit is 60."""
_PAUSE: Final = 0.05
_AWAY: Final = (502, 503, 504)
"""Errors that say nothing of the request."""
_PASSED_ON: Final = ("content-type", "accept")
_OLD_FORMS: Final = {
    "format=pandas-split": '{"dataframe_split": {"columns": [...], "data": [[...], ...]}}',
    "format=pandas-records": '{"dataframe_records": [{"<column>": ...}, ...]}',
}
"""What MLflow before 2.0 said of a body in its content type, and the body that it takes since."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request as it is passed on."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]


@dataclass(slots=True)
class _Broken:
    """A request whose server let it go without an answer.

    Attributes:
        end: How the server ended.
        may_be_guilty: Whether the request can have ended it.
        was_alone: Whether no other can have.
    """

    end: str
    may_be_guilty: bool
    was_alone: bool


class Proxy:
    """Knows the version in production, and asks it.

    Args:
        model: The registered model, for messages.
        say: Takes lines for the log.
        largest: Bytes that a request may have.
    """

    def __init__(self, model: str, say: OnLine, largest: int = LARGEST_BODY) -> None:
        self.model, self._say, self._largest = model, say, largest
        self.note: Mapping[str, Any] = {}
        self.confirmed = time.monotonic()
        self.is_unconfirmed = False
        self._refused: dict[tuple[str, bytes], str] = {}
        self._current: Instance | None = None
        self._client: httpx.AsyncClient | None = None

    @property
    def current(self) -> Instance | None:
        """The version that answers."""
        return self._current

    def switch(self, new: Instance | None) -> Instance | None:
        """Let another version answer from now on; return the one before. From any thread."""
        old, self._current = self._current, new
        return old

    def confirm(self) -> None:
        """Take note that the registry was asked just now. From any thread."""
        self.confirmed, self.is_unconfirmed = time.monotonic(), False

    def doubt(self, age: float | None = None) -> None:
        """Take note that the registry cannot be asked: since so many seconds, if it is known."""
        self.is_unconfirmed = True
        if age is not None:
            self.confirmed = time.monotonic() - age

    @property
    def _age(self) -> str:
        return f"{time.monotonic() - self.confirmed:.0f}"

    def app(self) -> Starlette:
        """Return the ASGI app."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        return Starlette(
            routes=[
                Route("/ping", self._ping),
                Route("/health", self._health),
                Route("/champion", self._champion),
                Route("/version", self._forward),
                Route("/invocations", self._forward, methods=["POST"]),
            ],
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        import httpx

        # trust_env=False: a proxy of the environment must not be asked for an address on loopback.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        async with httpx.AsyncClient(timeout=_ANSWER, limits=limits, trust_env=False) as client:
            self._client = client
            yield

    async def _ping(self, _request: Request) -> Response:
        from starlette.responses import Response

        ready = self._current is not None and self._current.alive
        return Response("\n", 200 if ready else 503, media_type="application/json")

    async def _health(self, _request: Request) -> Response:
        from starlette.responses import JSONResponse

        current = self._current
        facts = {"version": current.version if current and current.alive else None}
        # It answers all the same: with the champion of then.
        age = {"unconfirmed_seconds": int(self._age)} if self.is_unconfirmed else {}
        return JSONResponse({**facts, **age}, 200 if facts["version"] else 503)

    async def _champion(self, _request: Request) -> Response:
        from starlette.responses import Response

        version = None if self._current is None else self._current.version
        facts = {"model": self.model, "version": version, **self.note}
        return Response(json.dumps(facts), media_type="application/json")

    async def _forward(self, request: Request) -> Response:
        from starlette.requests import ClientDisconnect

        if refused := _old_form(request.headers.get("content-type", "")):
            return _error(415, "BAD_REQUEST", refused)
        try:
            body = await self._body(request)
        except ClientDisconnect:
            client = request.client.host if request.client else "a client"
            self._say(f"WARNING {client} left, or was cut off, before its request was whole")
            return _error(400, "BAD_REQUEST", "The request was not whole.")
        if body is None:
            return _error(
                413,
                "BAD_REQUEST",
                f"Found: a request of more than {size_text(self._largest)}. Allowed: at most that."
                " Next: ask for fewer rows at a time, or start the server with a larger"
                " --largest-request.",
            )
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        return await self._answer(_Asked(request.method, request.url.path, body, headers))

    async def _body(self, request: Request) -> bytes | None:
        """Return a request's body; None where it is too large."""
        # What is not taken here is thrown away by uvicorn as it comes.
        if int(request.headers.get("content-length", "0")) > self._largest:
            return None
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._largest:
                return None
        return bytes(body)

    async def _answer(self, asked: _Asked) -> Response:
        """Return the answer to a request, from whichever server is up."""
        broken: _Broken | None = None
        until = time.monotonic() + _ASKED_FOR
        while (instance := self._current) is not None and time.monotonic() < until:
            if told := self._known_to_end(instance, asked):
                return _error(502, "INTERNAL_ERROR", told)
            found = await self._asked(instance, asked, alone=bool(broken and broken.may_be_guilty))
            if isinstance(found, _Broken):
                if broken or (found.may_be_guilty and found.was_alone):
                    return self._given_up(instance, asked, found)
                broken = found
            elif found is not None:
                return found
            else:
                await asyncio.sleep(_PAUSE)
        message = f"No version of {self.model} is up. It is being loaded, or there is no champion."
        return _error(503, "TEMPORARILY_UNAVAILABLE", message)

    async def _asked(
        self, instance: Instance, asked: _Asked, *, alone: bool
    ) -> Response | _Broken | None:
        """Return the answer of a version; None where none of its servers could be asked.

        Args:
            instance: The version.
            asked: The request.
            alone: Whether the server must have nothing else to do meanwhile.
        """
        free: AbstractContextManager[ModelServer | None]
        free = instance.kept_free() if alone else nullcontext()
        with free as chosen:
            if alone:
                if chosen is None:
                    return None
                while chosen.alive and not instance.is_idle(chosen):  # noqa: ASYNC110 -- of threads
                    await asyncio.sleep(_PAUSE)
            # Counted while it is answered: an instance that is replaced waits for this request.
            with instance.answering(chosen) as server:
                return None if server is None else await self._sent(instance, server, asked)

    async def _sent(
        self, instance: Instance, server: ModelServer, asked: _Asked
    ) -> Response | _Broken | None:
        """Return a server's answer; None where the request has not reached it."""
        import httpx
        from starlette.responses import Response

        if self._client is None:
            return None
        url = f"{server.address}{asked.path}"
        try:
            answer = await self._client.request(
                asked.method, url, content=asked.body, headers=asked.headers
            )
        except httpx.ConnectError:
            return None
        # A timeout is a transport error, too, but this model is alive, and the next try would take
        # as long again.
        except httpx.TimeoutException:
            message = f"The model took longer than {_ANSWER:g} s."
            return _error(504, "TEMPORARILY_UNAVAILABLE", message)
        except httpx.TransportError:
            return await _broken(instance, server)
        shown = {VERSION_HEADER: instance.version}
        if self.is_unconfirmed:
            shown[UNCONFIRMED_HEADER] = self._age
        if answer.is_error and answer.status_code not in _AWAY:
            return self._complained(instance, answer, shown)
        kind = answer.headers.get("content-type")
        return Response(answer.content, answer.status_code, shown, media_type=kind)

    def _complained(
        self, instance: Instance, answer: httpx.Response, headers: Mapping[str, str]
    ) -> Response:
        """Return a server's error in plain words."""
        said = refusal(answer.text)
        if said.place:
            self._say(
                f"WARNING version {instance.version} does not predict a request: {said.place}"
            )
        response = _error(answer.status_code, said.code, said.message)
        response.headers.update(headers)
        return response

    def _known_to_end(self, instance: Instance, asked: _Asked) -> str:
        """Return what was said of a body that has ended a server of this version before, or ''."""
        # Clients ask again after an error. Nothing is digested until there is one.
        return self._refused.get(_key(instance, asked), "") if self._refused else ""

    def _given_up(self, instance: Instance, asked: _Asked, broken: _Broken) -> Response:
        """Return the error for a request that is not asked again."""
        why = (
            "It is not asked again: it was the only one at that time"
            if broken.may_be_guilty and broken.was_alone
            else "It was asked twice"
        )
        message = (
            f"The server of version {instance.version} of {self.model} ended with {broken.end}"
            f" while it computed this request. {why}."
        )
        self._say(f"ERROR {message} It has {size_text(len(asked.body))}.")
        if broken.may_be_guilty and broken.was_alone:
            if len(self._refused) >= _MOST_REMEMBERED:
                self._refused.clear()
            self._refused[_key(instance, asked)] = message
        return _error(502, "INTERNAL_ERROR", message)


def _key(instance: Instance, asked: _Asked) -> tuple[str, bytes]:
    return instance.version, hashlib.sha256(asked.body).digest()


async def _broken(instance: Instance, server: ModelServer) -> _Broken:
    """Return what became of a request whose connection broke; waits for its server's end."""
    suspects = instance.suspects(server)
    until = time.monotonic() + _REAPED
    while server.alive and time.monotonic() < until:  # noqa: ASYNC110 -- its thread ends with it
        await asyncio.sleep(_PAUSE)
    if server.alive:
        instance.trust(server)
        return _Broken("no exit code, and runs", may_be_guilty=True, was_alone=suspects == 1)
    from_outside = server.was_ended and not server.ran_out_of_memory
    return _Broken(server.end, may_be_guilty=not from_outside, was_alone=suspects == 1)


def _error(status: int, code: str, message: str) -> Response:
    """Return an error in the form of MLflow's own."""
    from starlette.responses import JSONResponse

    # Of 503 only: the others are answered alike however long a client waits.
    later = {"retry-after": "5"} if status == 503 else None  # noqa: PLR2004 -- in words above
    return JSONResponse({"error_code": code, "message": message}, status, later)


class TimedConnection(asyncio.Protocol):
    """uvicorn's protocol for a connection, which is cut when a request does not come whole in time.

    uvicorn itself waits for ever for what has begun, and for the first request of a connection.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: Any,  # noqa: ANN401 -- uvicorn's own, passed on
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        from uvicorn.protocols.http.auto import AutoHTTPProtocol

        inner: Any = AutoHTTPProtocol
        self._inner = inner(config, server_state, app_state, _loop)
        self._whole: object = None
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        self._inner.connection_made(transport)
        self._begin()

    def data_received(self, data: bytes) -> None:
        """Pass data on; the time begins with a request's first piece and ends with its last."""
        self._inner.data_received(data)
        cycle = self._inner.cycle
        if cycle is not None and cycle is not self._whole and not cycle.more_body:
            self._whole = cycle
            self._end()
        elif self._limit is None:
            self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop to wait."""
        self._end()
        self._inner.connection_lost(exc)

    def eof_received(self) -> None:
        """Pass it on."""
        self._inner.eof_received()

    def pause_writing(self) -> None:
        """Pass it on."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self._inner.resume_writing()

    def _begin(self) -> None:
        self._limit = asyncio.get_running_loop().call_later(_ARRIVAL, self._inner.transport.abort)

    def _end(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def _old_form(kind: str) -> str:
    """Return why a request in the form of MLflow 1 is refused; '' for any other."""
    written = kind.replace(" ", "").lower()
    for word, body in _OLD_FORMS.items():
        if word in written:
            return (
                f"Found: the content type {kind!r}, a form of MLflow before 2.0. Allowed: the"
                f" content type 'application/json' with the body {body}. Next: leave {word} out,"
                " and put the old body behind that word."
            )
    return ""
