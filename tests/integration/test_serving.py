"""``understudy serve`` under load, on a real MLflow server: no request fails at a change."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from understudy.contract import CHAMPION

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient
    from tests.fixtures.rehearsal import RehearsalSetup
    from tests.fixtures.serving import Serving

pytestmark = pytest.mark.integration
CRASH, SLOW = -666.0, -333.0  # as in tests/models/doubling.py


@pytest.fixture(scope="module")
def serving(
    rehearsal_setup: RehearsalSetup,
    serve: Callable[[MlflowClient, str, Path], AbstractContextManager[Serving]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Serving]:
    """Serve a model with three good versions, and a fourth without files."""
    client, model = rehearsal_setup.client, f"served {uuid.uuid4().hex[:8]}"
    source = client.get_model_version(rehearsal_setup.model, "1").source
    client.create_registered_model(model)
    for _ in range(3):
        client.create_model_version(model, source, model_id=source.rpartition("/")[2])
    run_id = rehearsal_setup.run()
    client.create_model_version(model, f"runs:/{run_id}/nothing", run_id)
    with serve(client, model, tmp_path_factory.mktemp("serve") / "serve.log") as made:
        yield made


def test_without_a_champion_it_says_so(serving: Serving) -> None:
    """Not up, and not silent; clients are told to come again."""
    serving.eventually(lambda: serving.get("/champion") != {})
    assert serving.get("/champion") == {"model": serving.model, "version": None}
    assert httpx.get(f"{serving.address}/ping", trust_env=False).status_code == 503
    answer = httpx.post(f"{serving.address}/invocations", json=serving.question, trust_env=False)
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    serving.eventually(lambda: "has no champion" in serving.log.read_text())


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl; apt-get install curl")
def test_curl_gets_a_prediction(serving: Serving) -> None:
    """By MLflow's own protocol, from the version that is champion."""
    serving.champion("1")
    asked = ["curl", "--silent", "--fail", "--noproxy", "*", "--header"]
    asked += ["content-type: application/json", "--data"]
    asked += ['{"inputs": {"x": [1.5]}}', f"{serving.address}/invocations"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout == '{"predictions": [{"x": 3.0}]}'
    assert httpx.get(f"{serving.address}/ping", trust_env=False).is_success
    assert httpx.get(f"{serving.address}/version", trust_env=False).text == "3.17.2"
    refused = httpx.post(f"{serving.address}/invocations", json={"rows": 1}, trust_env=False)
    assert refused.status_code == 400
    assert refused.json()["error_code"]


@pytest.mark.parametrize(
    ("kind", "body", "found", "allowed"),
    [
        ("application/json", "no", "Error: 'JSONDecodeError(", 'JSON as {"dataframe_split": '),
        ("application/json", '{"rows": 1}', "input fields: []", 'JSON as {"dataframe_split": '),
        ("application/xml", "<x/>", "Got 'application/xml'", 'JSON as {"dataframe_split": '),
        (
            *("application/json", '{"dataframe_split": {"columns": ["y"], "data": [[1.5]]}}'),
            *("missing inputs ['x']", "rows with ['x': double (required)]"),
        ),
        ("text/csv", "x\nmany\n", "could not convert string to float", "JSON as "),
        (
            *("application/json", '{"dataframe_split": {"columns": ["x"], "data": [["many"]]}}'),
            *("many", ""),
        ),
    ],
)
def test_a_refused_request_says_what_to_do(
    serving: Serving, kind: str, body: str, found: str, allowed: str
) -> None:
    """In three parts, without MLflow's stack trace."""
    serving.champion("1")
    answer = httpx.post(
        f"{serving.address}/invocations",
        content=body,
        headers={"content-type": kind},
        trust_env=False,
    )
    said = answer.json()
    assert answer.is_client_error, answer.text
    assert set(said) == {"error_code", "message"}
    first, _, rest = said["message"].partition(" Allowed: ")
    assert first.startswith("Found: ")
    assert found in first
    assert rest.startswith(allowed)
    assert " Next: " in rest
    assert answer.headers["x-understudy-version"] == "1"


@pytest.mark.parametrize(
    ("form", "word"), [("split", "dataframe_split"), ("records", "dataframe_records")]
)
def test_the_form_of_older_courses_is_refused_with_the_new_one(
    serving: Serving, form: str, word: str
) -> None:
    """MLflow before 2.0 named the form in the content type; the answer shows today's body."""
    serving.champion("1")
    kind = {"content-type": f"application/json; format=pandas-{form}"}
    body = b'{"columns": ["x"], "data": [[1.5]]}'
    address = f"{serving.address}/invocations"
    answer = httpx.post(address, content=body, headers=kind, trust_env=False)
    assert answer.status_code == 415
    assert f'with the body {{"{word}": ' in answer.json()["message"]


def test_no_request_fails_while_champions_change(serving: Serving) -> None:
    """Four clients ask without a pause while the alias moves, and a server is killed."""
    serving.champion("1")
    serving.load()
    serving.champion("2")
    serving.champion("3")
    serving.eventually(lambda: len(serving.servers()) == 1)
    (server,) = serving.servers()
    os.kill(server, signal.SIGKILL)
    serving.eventually(lambda: server not in serving.servers() and bool(serving.servers()))
    serving.champion("1")
    serving.unload()
    assert serving.failures == []
    assert {status for status, _ in serving.answers} == {200}
    assert {version for _, version in serving.answers} == {"1", "2", "3"}
    assert sum(serving.answers.values()) > 100


def asked(serving: Serving, x: float) -> httpx.Response:
    """Return the answer to one row."""
    body = {"dataframe_split": {"columns": ["x"], "data": [[x]]}}
    return httpx.post(f"{serving.address}/invocations", json=body, timeout=120, trust_env=False)


def test_a_request_that_kills_the_model_fails_alone(serving: Serving) -> None:
    """One or two servers, whatever it is asked beside; asked once more, no server dies of it."""
    serving.champion("1")
    serving.eventually(lambda: len(serving.servers()) == 1)
    crashes = re.compile(r"ERROR a server of .* ended with signal 11")
    with ThreadPoolExecutor(8) as pool:
        # On its way while the others are: the server cannot be known to have died of it.
        slow = [pool.submit(asked, serving, SLOW) for _ in range(4)]
        time.sleep(0.5)
        poison = pool.submit(asked, serving, CRASH)
        others = [pool.submit(asked, serving, 1.5) for _ in range(3)]
    assert [one.result().status_code for one in slow + others] == [200] * 7
    assert poison.result().status_code == 502
    assert "signal 11 (SIGSEGV)" in poison.result().json()["message"]
    again = asked(serving, CRASH)
    assert again.status_code == 502
    assert again.json() == poison.result().json()
    assert asked(serving, 1.5).status_code == 200
    assert 1 <= len(crashes.findall(serving.log.read_text())) <= 2


def test_what_is_too_large_or_never_whole_is_refused(serving: Serving) -> None:
    """In a moment, whether its length is said or not; a client that leaves costs one line."""
    serving.champion("1")
    url = f"{serving.address}/invocations"
    kind = {"content-type": "application/json"}
    large = b"x" * 16_000_001
    for content in (large, iter([large])):
        answer = httpx.post(url, content=content, headers=kind, trust_env=False)
        assert answer.status_code == 413
        assert "Allowed: at most that" in answer.json()["message"]
    before = len(serving.log.read_text().splitlines())
    host, port = serving.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        time.sleep(0.2)
    serving.eventually(lambda: "before its request was whole" in serving.log.read_text())
    assert len(serving.log.read_text().splitlines()) == before + 1


def test_a_champion_that_does_not_load_leaves_the_old_one(serving: Serving) -> None:
    """Loudly: in the log, and for whoever asks which version it is."""
    serving.client.set_registered_model_alias(serving.model, CHAMPION, "4")
    serving.eventually(lambda: "refused" in serving.get("/champion"))
    facts = serving.get("/champion")
    assert facts["version"] == "1"
    assert facts["refused"]["version"] == "4"
    assert "cannot be had" in facts["refused"]["reason"]
    assert "did not come up; version 1 goes on serving" in serving.log.read_text()
    assert httpx.post(
        f"{serving.address}/invocations", json=serving.question, trust_env=False
    ).is_success


def test_a_champion_that_somebody_deletes_is_served_on(serving: Serving) -> None:
    """Its alias goes with it; what answers has the files, and says what is wrong."""
    log = serving.log.read_text()
    for version in ("4", "1"):  # the champion, and the one that answers in its place
        serving.client.delete_model_version(serving.model, version)
    serving.eventually(
        lambda: "has no champion. What is served stays" in serving.log.read_text()[len(log) :]
    )
    answer = httpx.post(f"{serving.address}/invocations", json=serving.question, trust_env=False)
    assert answer.is_success
    assert answer.headers["x-understudy-version"] == "1"


@pytest.mark.long("starts two servers, and waits for MLflow to be missed")
def test_a_start_without_mlflow_serves_the_last_champion(
    rehearsal_setup: RehearsalSetup,
    serve: Callable[[MlflowClient, str, Path], AbstractContextManager[Serving]],
    losing_answers: Callable[[str, Callable[[str], bool]], AbstractContextManager[str]],
    tmp_path: Path,
) -> None:
    """From its own copy, which it says, with its age; also a server that dies meanwhile."""
    from mlflow.tracking import MlflowClient

    client, model = rehearsal_setup.client, f"kept {uuid.uuid4().hex[:8]}"
    source = client.get_model_version(rehearsal_setup.model, "1").source
    client.create_registered_model(model)
    client.create_model_version(model, source, model_id=source.rpartition("/")[2])
    is_away = threading.Event()
    with losing_answers(client.tracking_uri, lambda _path: is_away.is_set()) as address:
        behind = MlflowClient(address)
        with serve(behind, model, tmp_path / "first.log") as first:
            first.champion("1")
            assert first.get("/health") == {"version": "1"}
            first.process.terminate()
            assert first.process.wait(60) == 0
        is_away.set()
        with serve(behind, model, tmp_path / "second.log") as second:
            second.eventually(lambda: second.get("/champion").get("version") == "1")
            answer = asked(second, 1.5)
            assert answer.json() == {"predictions": [{"x": 3.0}]}
            assert 0 < int(answer.headers["x-understudy-unconfirmed"]) < 300
            assert second.get("/health")["unconfirmed_seconds"] > 0
            assert "is served from this machine's own copy" in second.log.read_text()
            (server,) = second.servers()
            os.kill(server, signal.SIGKILL)
            second.eventually(lambda: bool(second.servers()) and server not in second.servers())
            second.eventually(lambda: asked(second, 1.5).is_success)
            is_away.clear()
            second.eventually(lambda: second.get("/health") == {"version": "1"})
            assert "x-understudy-unconfirmed" not in asked(second, 1.5).headers
            second.process.terminate()
            assert second.process.wait(60) == 0


def lives(pid: int) -> bool:
    """Whether a process does; one that has ended may wait for its parent to take note."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_it_ends_with_all_that_it_started(
    serving: Serving, rehearsal_setup: RehearsalSetup
) -> None:
    """On TERM, as from systemd or Docker."""
    servers = serving.servers()
    serving.process.terminate()
    assert serving.process.wait(60) == 0
    assert not any(map(lives, servers))
    assert rehearsal_setup.servers() == []
