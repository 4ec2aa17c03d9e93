"""The address that clients know: passes requests on to the version in production. An ASGI app.

A client's connection never ends when the champion changes: requests that came before are answered
by the version that took them, later ones by the next. A prediction changes nothing, so a request
whose server died under it is asked again of the next one that is up.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from understudy.serving.instance import Instance

if TYPE_CHECKING:
    import httpx
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

VERSION_HEADER: Final = "x-understudy-version"
"""Header of an answer: the version that gave it."""
_ASKED_FOR: Final = 30.0
"""Seconds that a request waits for a server that is up, once its own has died."""
_ANSWER: Final = 120.0
"""Seconds that a server may take for an answer; MLflow's own limit is 60."""
_PAUSE: Final = 0.05
_PASSED_ON: Final = ("content-type", "accept")
_OLD_FORMS: Final = {
    "format=pandas-split": '{"dataframe_split": {"columns": [...], "data": [[...], ...]}}',
    "format=pandas-records": '{"dataframe_records": [{"<column>": ...}, ...]}',
}
"""What MLflow before 2.0 said of a body in its content type, and the body that it takes since."""


class Proxy:
    """Knows the version in production, and asks it.

    Args:
        model: The registered model, for messages.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.note: Mapping[str, Any] = {}
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

    def app(self) -> Starlette:
        """Return the ASGI app."""
        from starlette.applications import Starlette
        from starlette.routing import Route

        return Starlette(
            routes=[
                Route("/ping", self._ping),
                Route("/health", self._ping),
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

    async def _champion(self, _request: Request) -> Response:
        from starlette.responses import Response

        version = None if self._current is None else self._current.version
        facts = {"model": self.model, "version": version, **self.note}
        return Response(json.dumps(facts), media_type="application/json")

    async def _forward(self, request: Request) -> Response:
        from starlette.responses import JSONResponse

        body = await request.body()
        if refused := _old_form(request.headers.get("content-type", "")):
            return JSONResponse({"error_code": "BAD_REQUEST", "message": refused}, 415)
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        # Asked again only where the connection broke: a prediction changes nothing, so that it does
        # not matter whether the server that died had computed it already.
        until = time.monotonic() + _ASKED_FOR
        while (instance := self._current) is not None:
            answer = await self._asked(instance, request, body, headers)
            if answer is not None:
                return answer
            if time.monotonic() > until:
                break
            await asyncio.sleep(_PAUSE)
        message = f"No version of {self.model} is up. It is being loaded, or there is no champion."
        error = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": message}
        return JSONResponse(error, 503, {"retry-after": "5"})

    async def _asked(
        self, instance: Instance, request: Request, body: bytes, headers: Mapping[str, str]
    ) -> Response | None:
        """Return the answer of a version; None where its server is gone."""
        import httpx
        from starlette.responses import JSONResponse, Response

        if self._client is None:
            return None
        # Counted while it is answered: an instance that is replaced waits for this request.
        with instance.answering() as address:
            url = f"{address}{request.url.path}"
            try:
                answer = await self._client.request(
                    request.method, url, content=body, headers=headers
                )
            # A timeout is a transport error, too, but this model is alive, and the next try would
            # take as long again.
            except httpx.TimeoutException:
                message = f"The model took longer than {_ANSWER:g} s."
                error = {"error_code": "TEMPORARILY_UNAVAILABLE", "message": message}
                return JSONResponse(error, 504)
            except httpx.TransportError:
                return None
        shown = {VERSION_HEADER: instance.version}
        kind = answer.headers.get("content-type")
        return Response(answer.content, answer.status_code, shown, media_type=kind)


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
