"""The pages inside Airflow's UI, with Airflow's own login and a real MLflow server."""

from __future__ import annotations

import html
import os
import re
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest
from tests.fixtures.loopback import lossy
from tests.fixtures.waiting import eventually

# Airflow reads its configuration when it is imported.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="understudy-airflow-"))
os.environ.setdefault("AIRFLOW__CORE__UNIT_TEST_MODE", "True")
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__API_AUTH__JWT_SECRET", "of the tests, and 64 characters long" * 2)

from airflow.api_fastapi import app as airflow_app
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from fastapi import FastAPI
from fastapi.testclient import TestClient

from understudy.contract import Tag
from understudy.web import reader as reading
from understudy.web.app import PREFIX, application

if TYPE_CHECKING:
    from tests.fixtures.recorded_nights import RecordedPipeline

pytestmark = pytest.mark.integration
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe\x07"


class Guarded(SimpleAuthManager):
    """Airflow's simple auth manager, with a user who may read one Dag alone."""

    allowed: set[str] = set()  # noqa: RUF012 -- the tests add to it

    def is_authorized_dag(self, *, user: SimpleAuthManagerUser, **asked: Any) -> bool:
        """Return whether a user may do that to that Dag."""
        details = asked.get("details")
        if user.username == "one" and (details is None or details.id not in self.allowed):
            return False
        return super().is_authorized_dag(user=user, **asked)

    def get_authorized_dag_ids(self, *, user: SimpleAuthManagerUser, **asked: Any) -> set[str]:
        """Return the Dags that a user may read."""
        del asked
        return set(self.allowed) if user.username == "one" else self.everything

    everything: set[str] = set()  # noqa: RUF012 -- ditto


@dataclass
class Pages:
    """The application, mounted as Airflow mounts it.

    Attributes:
        app: The whole.
        manager: Who says who may do what.
        inner: The application alone.
        calls: What was asked of MLflow.
    """

    app: FastAPI
    inner: FastAPI
    manager: Guarded
    calls: list[str] = field(default_factory=list)

    def get(self, path: str, user: str = "admin", role: str = "admin") -> Any:  # noqa: ANN401
        """Ask for a page as a user; '' asks as nobody."""
        with TestClient(self.app) as client:
            if user:
                known = SimpleAuthManagerUser(username=user, role=role)
                client.cookies.set("_token", self.manager.generate_jwt(known))
            return client.get(f"{PREFIX}/{path}")

    def whole(self, path: str, user: str = "admin", role: str = "admin") -> Any:  # noqa: ANN401
        """Ask until a page has all nights, as its script does: other tests have some, too."""
        answers = []

        def settled() -> bool:
            answers.append(self.get(f"{path}?anew=true", user, role))
            return "data-soon" not in answers[-1].text

        assert eventually(settled)
        return answers[-1]


@pytest.fixture(scope="module")
def manager() -> Iterator[Guarded]:
    """Return the auth manager; Airflow's database is made for what it asks of a Dag."""
    from airflow.utils import db

    db.initdb()
    made = Guarded()
    before = airflow_app._AuthManagerState.instance
    airflow_app._AuthManagerState.instance = made
    yield made
    airflow_app._AuthManagerState.instance = before


@pytest.fixture
def pages(manager: Guarded, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> Pages:
    """Return the pages of the tests' MLflow server, whose calls are counted."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_uri)
    monkeypatch.setenv("UNDERSTUDY_MLFLOW_UI", "http://mlflow.example.com:5000")
    return made(manager, mlflow_uri, monkeypatch)


def made(manager: Guarded, uri: str, monkeypatch: pytest.MonkeyPatch) -> Pages:
    """Mount the application."""
    from mlflow.tracking import MlflowClient
    from mlflow.utils import rest_utils

    inner, outer = application(lambda: MlflowClient(uri)), FastAPI()
    outer.mount(PREFIX, inner)
    found = Pages(outer, inner, manager)
    sent = rest_utils._get_http_response_with_retries

    def counted(method: str, url: str, *given: Any, **more: Any) -> Any:  # noqa: ANN401
        # What is read while nobody waits is no call of the page that was asked for.
        if not threading.current_thread().name.endswith("(_later)"):
            found.calls.append(f"{method} {url}")
        return sent(method, url, *given, **more)

    monkeypatch.setattr(rest_utils, "_get_http_response_with_retries", counted)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return found


@pytest.fixture
def pipeline(
    recorded_pipeline: Callable[[str], RecordedPipeline], manager: Guarded
) -> RecordedPipeline:
    """Return a pipeline of the test's own, which everybody but ``one`` may read."""
    name = f"wine_{uuid.uuid4().hex[:8]}"
    manager.everything = {*manager.everything, name}
    return recorded_pipeline(name)


def addresses(pages: Pages, dag: str = "any") -> Iterator[str]:
    """Yield an address of every route of the application, with parameters filled in."""
    for route in pages.inner.routes:
        path = str(getattr(route, "path", "")).lstrip("/")
        assert getattr(route, "methods", None) == {"GET"}, route
        yield path.replace("{dag_id}", dag).replace("{name}", "pages.js")


def test_every_route_is_behind_the_login_and_changes_nothing(pages: Pages) -> None:
    """Enumerated from the application: none answers a stranger, and none takes a POST."""
    found = list(addresses(pages))
    assert len(found) >= 7
    for path in found:
        assert pages.get(path, user="").status_code == 401, path
        with TestClient(pages.app) as client:
            assert client.post(f"{PREFIX}/{path}").status_code == 405, path
    for path in ("docs", "redoc", "openapi.json"):
        assert pages.get(path).status_code == 404, path


def test_a_dag_that_one_may_not_read_is_not_shown(pages: Pages, pipeline: RecordedPipeline) -> None:
    """Neither by its own addresses nor in the list; also after somebody else made it be kept."""
    pipeline.usual(1)
    theirs = [path for path in addresses(pages, pipeline.name) if pipeline.name in path]
    assert len(theirs) == 4
    for path in theirs:
        assert pages.get(path).status_code == 200, path
        refused = pages.get(path, user="one", role="viewer")
        assert refused.status_code == 403, path
        assert pipeline.name not in refused.text
    assert pipeline.name in pages.whole("champions/part").text
    assert pipeline.name not in pages.whole("champions/part", user="one", role="viewer").text
    # Airflow takes a tilde for all Dags.
    assert pages.get("dags/~/champion/part").status_code == 422


def test_a_pipeline_behind_the_nights_of_others_is_being_read(
    pages: Pages,
    pipeline: RecordedPipeline,
    recorded_pipeline: Callable[[str], RecordedPipeline],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever may read that one alone is not told that there is none."""
    monkeypatch.setattr(reading, "_AT_ONCE_OF_ALL", 1)
    pipeline.night("HELD")
    others = recorded_pipeline(f"others_{uuid.uuid4().hex[:8]}")
    others.nights = 5000  # days later, and so the latest on the server
    others.night("HELD")
    told = pages.get("champions/part", user="one", role="viewer").text
    assert "data-soon" in told
    assert "No pipeline that you may read" not in told


def test_a_night_is_shown_under_its_own_dag_alone(pages: Pages, pipeline: RecordedPipeline) -> None:
    """Whoever may read a Dag cannot read another one's night by its run's id."""
    run = pipeline.night("HELD", "a secret reason")
    asked = f"night/part?night={run}"
    assert "a secret reason" in pages.get(f"dags/{pipeline.name}/{asked}").text
    assert "a secret reason" not in pages.get(f"dags/another/{asked}").text
    by_dag_run = "night/part?run_id=scheduled__2026-01-01T00%3A00%3A00%2B00%3A00"
    assert "a secret reason" in pages.get(f"dags/{pipeline.name}/{by_dag_run}").text


def test_every_answer_says_what_a_browser_must_not_do(
    pages: Pages, pipeline: RecordedPipeline
) -> None:
    """No script but ours, no frame elsewhere, no copy on a disk; refusals too."""
    pipeline.usual(1)
    for path in addresses(pages, pipeline.name):
        for user in ("admin", ""):
            headers = pages.get(path, user=user).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'self'" in policy
            assert "private" in headers["cache-control"]
            if "static" not in path or not user:
                assert "no-store" in headers["cache-control"]


def test_what_mlflow_has_is_text_and_nothing_else(pages: Pages, pipeline: RecordedPipeline) -> None:
    """Names, reasons, tags, parameters and a record that somebody spoiled on purpose."""
    run = pipeline.night("PROMOTED", HOSTILE, approval=HOSTILE, verdict=HOSTILE)
    pipeline.night(HOSTILE, HOSTILE, as_of=HOSTILE, matured=HOSTILE, **{"matured.reason": HOSTILE})
    step = pipeline.step(run, HOSTILE, error=HOSTILE, reused_from=HOSTILE)
    pipeline.client.log_param(run, "depth", HOSTILE)
    pipeline.decided(run, {"schema": HOSTILE}, None)
    for path in ("champions/part", f"dags/{pipeline.name}/champion/part",
                 f"dags/{pipeline.name}/night/part?night={run}"):  # fmt: skip
        told = pages.whole(path) if "?" not in path else pages.get(path)
        assert told.status_code == 200, path
        assert "alert(1)" in told.text, path
        for bad in ("<script", "<img", "\u202e", "\x07"):
            assert bad not in told.text, (path, bad)
    assert step in pages.get(f"dags/{pipeline.name}/night/part?night={run}").text


def test_a_spoiled_history_is_said_and_hides_nothing_else(
    pages: Pages, pipeline: RecordedPipeline
) -> None:
    """Who may write to the experiment of the histories may write anything there."""
    from understudy.contract import Kind
    from understudy.registry.history_log import EXPERIMENT

    pipeline.usual(2)
    experiment = pipeline._runs.experiment(EXPERIMENT)
    tags = {Tag.KIND.value: Kind.HISTORY.value, Tag.MODEL.value: pipeline.name}
    spoiled = pipeline.client.create_run(experiment, tags=tags)
    pipeline.client.log_param(spoiled.info.run_id, "00000001", "no JSON")
    told = pages.get(f"dags/{pipeline.name}/champion/part").text
    assert "Its history cannot be read" in told
    assert "this night ended HELD" in told


def test_the_page_of_a_pipeline(pages: Pages, pipeline: RecordedPipeline) -> None:
    """What is in production and why; the nights in words; the moves, with ways back."""
    pipeline.usual(7)
    told = pages.get(f"dags/{pipeline.name}/champion/part").text
    assert "<strong>Version 2</strong>" in told
    assert "is in production" in told
    for word in ("PROMOTED", "HELD", "SKIPPED", "REJECTED"):
        assert f"2026-01-01: {word}" in told or word in told
    assert 'data-rollback="1"' in told
    assert 'data-rollback="2"' not in told  # it is the champion
    assert "rmse of both models, night by night" in told
    assert told.count("<li>") >= 7


def test_what_is_wrong_is_said_in_one_word(pages: Pages, pipeline: RecordedPipeline) -> None:
    """Failing nights, an alias that somebody took away or moved."""
    path = f"dags/{pipeline.name}/champion/part"
    pipeline.usual(1)
    assert "healthy" in pages.get(path).text
    pipeline.night("FAILED", "the source is away")
    pipeline.version()
    pipeline.client.set_registered_model_alias(pipeline.name, "champion", "2")
    time.sleep(1.1)
    told = pages.get(f"{path}?anew=true").text
    assert "failing" in told
    assert "moved outside" in told
    pipeline.client.delete_registered_model_alias(pipeline.name, "champion")
    time.sleep(1.1)
    assert "no champion" in pages.get(f"{path}?anew=true").text


def test_a_night_that_never_began_says_why(pages: Pages, pipeline: RecordedPipeline) -> None:
    """In three parts, whatever ``pin`` found; and no alias is said to have gone anywhere."""
    run = pipeline.failed(
        "the task pin is failed: the night did not begin; pin: Found no version 'v9'."
        f" Allowed: main or v1 {HOSTILE}. Next: name one of them."
    )
    told = html.unescape(pages.get(f"dags/{pipeline.name}/night/part?run_id=never").text)
    assert run
    assert "<bdi>pin: Found no version 'v9'.</bdi><br><strong>Allowed:</strong> <bdi>main" in told
    assert "<br><strong>Next:</strong> <bdi>name one of them.</bdi>" in told
    assert "It has moved no alias." in told
    assert "failing" in pages.get(f"dags/{pipeline.name}/champion/part").text


def test_a_night_that_was_swept_up_claims_nothing(pages: Pages, pipeline: RecordedPipeline) -> None:
    """Killed before it said what it left: the alias may be where it was."""
    pipeline.night("PROMOTED")
    run = pipeline.night("HELD")
    for tag in (Tag.OUTCOME, Tag.REASON, Tag.CHAMPION_AFTER):
        pipeline.client.delete_tag(run, tag.value)
    told = pages.get(f"dags/{pipeline.name}/night/part?night={run}").text
    assert "Champion when it began: version 1." in told
    assert "champion 1" not in pages.get(f"dags/{pipeline.name}/champion/part").text


def test_the_decision_is_drawn_from_its_record(
    pages: Pages, pipeline: RecordedPipeline, decision_records: dict[str, Any]
) -> None:
    """The checks and pictures of the decision page, between the outcome and the steps."""
    run = pipeline.night("HELD")
    pipeline.step(run, "train")
    pipeline.decided(run, *decision_records["hold"])
    told = pages.get(f"dags/{pipeline.name}/night/part?night={run}").text
    assert "The alias champion did not move" in told
    assert "Every check against its bound" in told
    assert "Both models on the same rows" in told
    assert f"http://mlflow.example.com:5000/#/experiments/{pipeline.experiment}/runs/{run}" in told
    assert "<html" not in told


def test_a_held_night_says_each_sentence_once(
    pages: Pages, pipeline: RecordedPipeline, decision_records: dict[str, Any]
) -> None:
    """The plain one above, the statistics below, and what later labels said of it."""
    record, summary = decision_records["hold"]
    (sentence, _, statistics), *_ = (one.partition("; ") for one in record["reasons"])
    assert "told from luck" in sentence
    late = {"matured": "wrong", "matured.reason": "the challenger would have served better"}
    run = pipeline.night("HELD", "; ".join([*record["reasons"], "it saw less"]), **late)
    pipeline.decided(run, record, summary)
    told = html.unescape(pages.get(f"dags/{pipeline.name}/night/part?night={run}").text)
    above, _, below = told.partition("The decision")
    shown, _, _ = below.partition("What was compared")
    assert sentence in above
    assert sentence not in shown
    assert statistics in shown
    assert "% confidence" not in above
    assert "it saw less" in above
    assert ">was wrong</strong>: <bdi>the challenger would have served better</bdi>" in above


@pytest.mark.parametrize("held", [False, True])
def test_a_refit_is_told_once_beside_the_decision(
    pages: Pages, pipeline: RecordedPipeline, decision_records: dict[str, Any], *, held: bool
) -> None:
    """The record is older, so the page has the sentence; on top where it held the night."""
    record, summary = decision_records["hold"]
    said = "refit: trained again on all rows, 46 of the holdout included, the model differs <b>"
    reason = said if held else f"rmse beats the champion's; {said}"
    run = pipeline.night("HELD" if held else "PROMOTED", reason, refit=said)
    pipeline.decided(run, record, summary)
    told = html.unescape(pages.get(f"dags/{pipeline.name}/night/part?night={run}").text)
    above, _, below = told.partition("The decision</h2>")
    assert above.count(said) == 1
    assert said not in below
    assert ("they cannot judge it" in above) is not held
    other = pipeline.night("HELD")
    assert "refit" not in pages.get(f"dags/{pipeline.name}/night/part?night={other}").text


@pytest.mark.parametrize("how", ["base_url", "mounted"])
def test_every_address_works_where_airflow_has_a_path(
    pages: Pages, pipeline: RecordedPipeline, how: str
) -> None:
    """Served below ``/team/airflow``, by ``[api] base_url`` as Airflow does it, or by a server."""
    pipeline.usual(2)
    below = "/team/airflow"
    outer = FastAPI(root_path=below if how == "base_url" else "")
    outer.mount("" if how == "base_url" else below, pages.app)
    known = SimpleAuthManagerUser(username="admin", role="admin")
    with TestClient(outer) as client:
        client.cookies.set("_token", pages.manager.generate_jwt(known))
        for page in ("champions", f"dags/{pipeline.name}/champion"):
            at = f"{below}{PREFIX}/{page}"
            shell = client.get(at).text
            (airflow,) = re.findall('data-airflow="([^"]+)"', shell)
            assert urljoin(at, airflow) == f"{below}/"
            (part,) = re.findall('data-part="([^"]+)"', shell)
            told = client.get(urljoin(at, part)).text
            links = re.findall('(?:href|src)="([^"#]+)"', shell + told)
            ours = {urljoin(at, html.unescape(one)) for one in links if "://" not in one}
            assert len(ours) >= 4
            for address in ours:
                assert address.startswith(f"{below}{PREFIX}/"), address
                assert client.get(address).status_code == 200, address


def test_the_script_stays_small(pages: Pages) -> None:
    """It loads for each page in each frame, and nobody builds it."""
    assert len(pages.get("static/pages.js").content) <= 10_000


def test_nothing_is_asked_twice_and_no_page_asks_much(
    pages: Pages, pipeline: RecordedPipeline, decision_records: dict[str, Any]
) -> None:
    """At most four calls of MLflow for each page, none from what is kept, and only reads."""
    run = pipeline.night("HELD")
    pipeline.decided(run, *decision_records["hold"])
    pipeline.usual(9)
    for path in ("champions/part", f"dags/{pipeline.name}/champion/part",
                 f"dags/{pipeline.name}/night/part?night={run}"):  # fmt: skip
        pages.calls.clear()
        first = pages.get(path)
        assert 0 < len(pages.calls) <= 4, pages.calls
        assert all("search" in call or "get-artifact" in call for call in pages.calls), pages.calls
        pages.calls.clear()
        again = pages.get(path)
        assert pages.calls == []
        assert again.text == first.text
        assert len(first.content) < 100_000


def test_earlier_nights_are_a_page_of_their_own(
    pages: Pages, pipeline: RecordedPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No night is on two pages, and none is left out."""
    monkeypatch.setattr(reading, "NIGHTS", 4)
    pipeline.usual(9)
    path, seen = f"dags/{pipeline.name}/champion/part", []
    while path:
        told = pages.get(path).text
        seen += [day for day in range(1, 10) if f"2026-01-{day:02} 00:00</a>" in told]
        _, found, rest = told.partition('href="champion?before=')
        before = rest.partition('"')[0]
        path = f"dags/{pipeline.name}/champion/part?before={before}" if found else ""
    assert sorted(seen) == list(range(1, 10))


def test_without_mlflow_the_last_state_is_shown(
    manager: Guarded, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, pipeline: RecordedPipeline
) -> None:
    """With its time; and where nothing is known, words and no error page."""
    pipeline.usual(2)
    path = f"dags/{pipeline.name}/champion/part"
    with lossy(mlflow_uri, lambda _path: False) as address:
        pages = made(manager, address, monkeypatch)
        assert "MLflow does not answer" not in pages.get(path).text
    monkeypatch.setattr(reading, "_FRESH", 0.0)
    began = time.monotonic()
    told = pages.get(path)
    assert told.status_code == 200
    assert "This is how it was" in told.text
    assert "this night ended HELD" in told.text
    assert "nothing has been read" in pages.get("dags/unknown/champion/part").text
    assert time.monotonic() - began < 3


def test_a_server_that_hangs_is_waited_for_once(
    manager: Guarded, mlflow_uri: str, monkeypatch: pytest.MonkeyPatch, pipeline: RecordedPipeline
) -> None:
    """Not once for each of a page's calls: a person waits."""
    pipeline.usual(2)
    hangs = threading.Event()

    def lost(_path: str) -> bool:
        if hangs.is_set():
            time.sleep(2)
        return hangs.is_set()

    path = f"dags/{pipeline.name}/champion/part"
    with lossy(mlflow_uri, lost) as address:
        pages = made(manager, address, monkeypatch)
        assert "this night ended HELD" in pages.get(path).text
        monkeypatch.setattr(reading, "_FRESH", 0.0)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
        pages.calls.clear()
        hangs.set()
        assert "This is how it was" in pages.get(path).text
        assert len(pages.calls) == 1
