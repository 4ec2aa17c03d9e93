"""The application that Airflow mounts at ``/understudy``: only GET, and only behind its login.

Airflow guards nothing of a plug-in: each route here asks for a user, and each that is about a Dag
for the right to read that Dag's runs. Airflow does not look at a request's origin either, so there
is no route that changes anything: a page's buttons call Airflow's own ``/api/v2`` with JSON, which
a form of another site cannot send.
"""

from __future__ import annotations

import functools
import hashlib
import math
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, get_user, requires_access_dag
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException as StarletteHTTPException

from understudy.contract import Tag
from understudy.errors import DecisionError, UnderstudyError, sentences, three_parts
from understudy.report import Links, decision_part, template_engine
from understudy.report.words import said_above, shown
from understudy.store.tracking import ui_address
from understudy.web import views
from understudy.web.reader import NIGHTS, TIMEOUT, PageReader, Seen, Shelf
from understudy.web.state import NightState, PipelineState

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient
    from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX: Final = "/understudy"
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_STYLE: Final = "pages.css"
_STATIC: Final = {_STYLE: "text/css", "pages.js": "text/javascript"}
_UNAUTHORISED: Final = 401
_DRAWN: Final = 64
"""Texts of pages that are kept, of up to 100 kB each."""
T = TypeVar("T")

ReadsDag = Depends(requires_access_dag("GET", DagAccessEntity.RUN))
# Airflow takes "~" for "all Dags", and asks then for the right to read any.
DagId = Annotated[str, Path(min_length=1, max_length=250, pattern=r"^[^~/]+$")]
RunId = Annotated[str, Query(max_length=250)]
NightId = Annotated[str, Query(max_length=64, pattern=r"^[0-9A-Za-z_-]*$")]
Before = Annotated[int, Query(ge=0, le=10**14)]


def application(connect: Callable[[], MlflowClient] | None = None) -> FastAPI:
    """Return the application; MLflow is imported in a thread of its own meanwhile.

    Args:
        connect: Returns a client of the tracking server; None for the server of the environment
            or of the Airflow connection that it names.
    """
    reader = PageReader(connect or _connected)
    app = FastAPI(
        # Airflow's login does not guard these three.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(get_user)],
    )
    app.add_exception_handler(StarletteHTTPException, _refused)
    app.middleware("http")(_guarded)
    _add_pages(app)
    _add_parts(app, reader)
    # Else the first page after a start waits for the import, for seconds.
    threading.Thread(target=_warm, args=(reader,), daemon=True).start()
    return app


class ClosedSchema:
    """Middleware that gives away no description of Airflow's interfaces; 404 in its place.

    Airflow (3.3) answers /openapi.json to anyone, also where its pages of it are switched off.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what asks for anything else."""
        asks = scope["type"] == "http" and scope["path"].endswith("/openapi.json")
        await (Response(status_code=404) if asks else self._app)(scope, receive, send)


def _connected() -> MlflowClient:
    import os

    from understudy.airflow.connections import use_connection
    from understudy.store.tracking import client

    # A person waits for a page: what is not there at once is shown as it was.
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = str(TIMEOUT)
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    use_connection()
    return client()


def _warm(reader: PageReader) -> None:
    import logging

    try:
        reader.warm()
    except UnderstudyError as error:
        logging.getLogger(__name__).warning("The pages cannot read MLflow yet: %s", error)


async def _guarded(request: Request, call_next: Callable[[Request], Any]) -> Response:
    """Send every answer with the headers that keep it private and harmless."""
    answer: Response = await call_next(request)
    for name, value in _HEADERS.items():
        answer.headers[name] = value
    answer.headers.setdefault("Cache-Control", "private, no-store")
    return answer


def _refused(request: Request, error: Exception) -> Response:
    """Say in words why there is no page; a browser without a login is led to Airflow's."""
    assert isinstance(error, StarletteHTTPException)  # noqa: S101 -- what it is registered for
    return _html(
        "refused.html",
        request,
        status=error.status_code,
        title="Sign in" if error.status_code == _UNAUTHORISED else "Not found, or not for you",
        signed_out=error.status_code == _UNAUTHORISED,
    )


def _add_pages(app: FastAPI) -> None:
    """Add the frames of the pages: small, and there at once; each then fetches its part."""

    @app.get("/champions")
    def champions(request: Request) -> Response:
        return _shell(request, "Champions", "champions/part")

    @app.get("/dags/{dag_id}/champion", dependencies=[ReadsDag])
    def champion(request: Request, dag_id: DagId) -> Response:
        return _shell(request, f"Champion of {dag_id}", "champion/part", dag_id)

    @app.get("/dags/{dag_id}/night", dependencies=[ReadsDag])
    def night(request: Request, dag_id: DagId) -> Response:
        return _shell(request, f"Night of {dag_id}", "night/part", dag_id)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in _STATIC:
            raise HTTPException(404)
        # The address has the content's digest. Private: who has no login is refused.
        kept = {"Cache-Control": "private, max-age=604800"}
        return Response(_file(name), media_type=_STATIC[name], headers=kept)


def _add_parts(app: FastAPI, reader: PageReader) -> None:
    """Add what the pages fetch; no route is ``async``: reading MLflow would stop all others."""
    drawn = Shelf(_DRAWN)

    @app.get("/champions/part")
    def champions(request: Request, user: GetUserDep, *, anew: bool = False) -> Response:
        # First the rights, then what is kept for everybody.
        readable = get_auth_manager().get_authorized_dag_ids(user=user, method="GET")

        def read() -> Seen[tuple[PipelineState, ...]]:
            return reader.overview(anew=anew)

        def draw(seen: Seen[tuple[PipelineState, ...]]) -> str:
            return _drawn("champions.html", request, seen, _champions(seen.value, readable))

        # The text depends on what one may read, and on nothing else of who asks.
        return _part(request, read, draw, drawn, ("champions", *sorted(readable)))

    @app.get("/dags/{dag_id}/champion/part", dependencies=[ReadsDag])
    def champion(
        request: Request, dag_id: DagId, before: Before = 0, *, anew: bool = False
    ) -> Response:
        def read() -> Seen[PipelineState]:
            return reader.pipeline(dag_id, before, anew=anew)

        def draw(seen: Seen[PipelineState]) -> str:
            view = views.pipeline_view(seen.value, page=bool(before))
            about = {"pipeline": view, "dag_id": dag_id, "most": NIGHTS}
            return _drawn("champion.html", request, seen, about)

        return _part(request, read, draw, drawn, ("champion", dag_id, str(before)))

    @app.get("/dags/{dag_id}/night/part", dependencies=[ReadsDag])
    def night(request: Request, dag_id: DagId, run_id: RunId = "", night: NightId = "") -> Response:
        def read() -> Seen[NightState | None]:
            return reader.night(dag_id, run_id, night)

        def draw(seen: Seen[NightState | None]) -> str:
            return _drawn("night.html", request, seen, _night(seen.value, dag_id))

        return _part(request, read, draw)


def _champions(found: tuple[PipelineState, ...], readable: set[str]) -> Mapping[str, Any]:
    return {
        "pipelines": [views.pipeline_view(one) for one in found if one.name in readable],
        # Of all of them: those that one may read may be behind nights that one may not.
        "partly": any(one.partly for one in found),
    }


def _night(found: NightState | None, dag_id: str) -> Mapping[str, Any]:
    if found is None:
        return {"night": None, "dag_id": dag_id}
    row, mark, decision, unreadable = found.night, views.mark(found.night), None, found.changed
    links, refit = _links(row.experiment_id, row.run_id), row.tag(Tag.REFIT)
    reasons = said_above(mark.reason, [refit])
    if found.record is not None:
        try:
            decision = decision_part(found.record, found.summary, links, reasons[0])
            reasons = said_above(mark.reason, [*map(str, found.record["reasons"]), refit])
        except DecisionError as error:
            unreadable = str(error)
    return {
        "night": row,
        "dag_id": dag_id,
        "mark": mark,
        "reasons": reasons,
        "late": next(views.late_of((row,)), None),
        "alias": views.alias_told(row),
        "steps": views.steps(found.steps),
        "pinned": views.pinned(row),
        "approval": row.tag(Tag.APPROVAL),
        # Where it was what held the night, it stands above.
        "refit": "" if refit == reasons[0] else refit,
        "decision": decision,
        "unreadable": unreadable,
        "links": links,
    }


def _links(experiment_id: str = "", run_id: str = "") -> Links:
    return Links(ui_address(), experiment_id, run_id)


def _shell(request: Request, title: str, part: str, dag_id: str = "") -> Response:
    query = request.url.query
    return _html(
        "shell.html",
        request,
        title=title,
        part=f"{part}?{query}" if query else part,
        dag_id=dag_id,
    )


def _part(
    request: Request,
    read: Callable[[], Seen[T]],
    draw: Callable[[Seen[T]], str],
    drawn: Shelf | None = None,
    place: tuple[str, ...] = (),
) -> Response:
    """Return a part of a page; where MLflow cannot be read, one that says so.

    Args:
        request: Who asks for which.
        read: Returns what is shown.
        draw: Returns the text of it.
        drawn: Keeps texts, each for as long as it is the same; None draws anew.
        place: Under what it is kept, beside the time of what was read.
    """
    try:
        seen = read()
        if drawn is None:
            return HTMLResponse(draw(seen))
        # Up to ninety nights with six pictures: drawing them takes longer than all the rest.
        key = (*place, seen.at.isoformat(), str(seen.stale))
        return HTMLResponse(drawn.get(key, lambda: draw(seen), math.inf).value)
    except UnderstudyError as error:
        return _html("away.html", request, why=str(error))


def _drawn(template: str, request: Request, seen: Seen[Any], about: Mapping[str, Any]) -> str:
    return _text(template, request, at=seen.at, stale=seen.stale, **about)


def _html(template: str, request: Request, status: int = 200, **said: Any) -> Response:
    return HTMLResponse(_text(template, request, **said), status_code=status)


def _text(template: str, request: Request, **said: Any) -> str:
    # Relative addresses: a proxy in front of Airflow may serve it under a path of its own.
    # What a page fetches stands in that page, whose own address is one step shorter.
    path = request.scope["path"].removeprefix(request.scope["root_path"]).removesuffix("/part")
    up = "../" * (path.count("/") - 1)
    text: str = (
        _engine()
        .get_template(template)
        .render(up=up, airflow=f"{up}../", version=_version(), **said)
    )
    return text


@functools.cache
def _engine() -> Any:  # noqa: ANN401 -- jinja2's
    engine = template_engine("understudy.web")
    engine.filters.update(
        time=_time,
        seconds=_seconds,
        reason=functools.partial(shown, longest=320),
        sentences=sentences,
        three_parts=three_parts,
    )
    engine.globals.update(first_moves=views.first_moves, mlflow=_links)
    return engine


def _time(value: datetime | str) -> str:
    """Return a time as people read it, in UTC."""
    if isinstance(value, datetime):
        return f"{value:%H:%M:%S} UTC"
    return value[:16].replace("T", " ")


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    minutes, seconds = divmod(value, 60)
    return f"{int(minutes)} min {seconds:.0f} s" if minutes else f"{value:.1f} s"


@functools.cache
def _file(name: str) -> bytes:
    """Return a file that the pages load; our style sheet is laid over the decision page's."""
    own = (files("understudy.web") / "static" / name).read_bytes()
    if name != _STYLE:
        return own
    return (files("understudy.report") / "templates" / "page.css").read_bytes() + own


@functools.cache
def _version() -> str:
    """Return a digest of the files that the pages load."""
    whole = b"".join(_file(name) for name in _STATIC)
    return hashlib.sha256(whole).hexdigest()[:12]
