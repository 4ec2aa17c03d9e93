"""docker-compose.yaml for real: a night on real data, a champion that serves, and all of it again.

Started by ``make test-stack``, not by ``make test``: it takes a Docker engine, minutes and 4 GB.
The tests go on where the one before ended; with ``-x``, the first failure is the last.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from understudy.devstack.airflow_api import Account, AirflowApi

if TYPE_CHECKING:
    from tests.fixtures.team_stack import Team

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

CHECKOUT = Path(__file__).parents[2]
DAG = "wine_quality"
NIGHT_S = 1800.0
ROW = {
    "fixed acidity": 7.4,
    "volatile acidity": 0.7,
    "citric acid": 0.0,
    "residual sugar": 1.9,
    "chlorides": 0.076,
    "free sulfur dioxide": 11.0,
    "total sulfur dioxide": 34.0,
    "density": 0.9978,
    "pH": 3.51,
    "sulphates": 0.56,
    "alcohol": 9.4,
    "color": "red",
}
RIGHTS = {
    "see a decision": ("GET", "dags/rollback/dagRuns/~/taskInstances"),
    "trigger a night, or roll back": ("POST", "dags/rollback/dagRuns"),
    "clear a task": ("POST", "dags/rollback/clearTaskInstances"),
    "approve": ("PATCH", "dags/rollback/dagRuns/x/taskInstances/approve/-1/hitlDetails"),
}
"""What docs/registry.md says that a role may do, and the call that does it."""
RECORD = """
import json, mlflow, sys
client = mlflow.MlflowClient()
[night] = client.search_runs(
    [one.experiment_id for one in client.search_experiments()],
    f"tags.`understudy.dag_run_id` = '{sys.argv[1]}' AND tags.`understudy.kind` = 'night'")
path = client.download_artifacts(night.info.run_id, "decision/decision.json")
print(json.dumps(json.load(open(path))["context"]))
"""
"""Prints the context of a night's decision record."""
IN_WORKER = ("exec", "-T", "--user", "understudy", "worker")
"""As a step: in the worker's container, as its user."""
INTRUDER = """
import json, pathlib, re
known, open_to_all = [], 0
def look(path):
    global open_to_all
    try:
        content = path.read_bytes()
    except OSError:
        return
    open_to_all += 1
    if re.search(rb"(redis://|celery):[-_0-9A-Za-z]{20,}@", content):
        known.append(str(path))
for process in pathlib.Path("/proc").glob("[0-9]*"):
    for name in ("environ", "cmdline"):
        look(process / name)
    for name in ("mem", "maps"):
        try:
            (process / name).open("rb").close()
            if b"understudy.containers.worker" in (process / "cmdline").read_bytes():
                known.append(str(process / name))
        except OSError:
            pass
for root in ("/etc/understudy", "/opt/understudy"):
    for folder, _, names in __import__("os").walk(root):
        for name in names:
            look(pathlib.Path(folder, name))
print(json.dumps([known, open_to_all]))
"""
"""Prints where the worker's user finds the broker's password, and how many files it could read."""
SCRIPTS = CHECKOUT / "plugins" / "understudy" / "containers"


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Return where figures are written to; they are printed in the end."""
    measured: dict[str, Any] = {}
    yield measured
    text = json.dumps(measured, indent=1)
    (tmp_path_factory.getbasetemp() / "figures.json").write_text(text, "utf-8")
    print(text)  # noqa: T201 -- what the run is for


@pytest.fixture(scope="module")
def team(prepared_team: Team, figures: dict[str, Any]) -> Team:
    """Start a stack from nothing."""
    figures["image bytes"] = prepared_team.image_bytes
    figures["seconds to healthy"] = prepared_team.up()
    return prepared_team


@pytest.fixture
def airflow(team: Team) -> Iterator[AirflowApi]:
    """Log in to Airflow as its first user."""
    account = Account(team.address("AIRFLOW"), "admin", team.secret("login/airflow"))
    api = AirflowApi(account)
    yield api
    api.close()


def _mlflow(team: Team, path: str, user: str = "", password: str = "", **query: Any) -> Any:  # noqa: ANN401
    auth = (user, password) if user else None
    url = f"{team.address('MLFLOW')}/api/2.0/mlflow/{path}"
    return httpx.get(url, params=query, auth=auth, timeout=60, trust_env=False)


def _prediction(team: Team) -> list[float]:
    answer = httpx.post(
        f"{team.address('CHAMPION')}/invocations",
        json={"dataframe_records": [ROW]},
        timeout=60,
        trust_env=False,
    )
    answer.raise_for_status()
    return list(answer.json()["predictions"])


@pytest.fixture(scope="module")
def served(team: Team) -> Callable[[], str]:
    """Return what returns the version that answers, once one does."""
    address = team.address("CHAMPION")

    def version() -> str:
        team.eventually(lambda: httpx.get(f"{address}/ping", trust_env=False).is_success, 600)
        return str(httpx.get(f"{address}/champion", trust_env=False).json()["version"])

    return version


@contextlib.contextmanager
def _logged_in(team: Team, name: str, password: str) -> Iterator[httpx.Client]:
    """Yield a client of Airflow's interface that acts as a user."""
    with httpx.Client(base_url=team.address("AIRFLOW"), timeout=60, trust_env=False) as http:
        body = {"username": name, "password": password}
        token = http.post("/auth/token", json=body).raise_for_status().json()["access_token"]
        http.headers["authorization"] = f"Bearer {token}"
        yield http


def _may(http: httpx.Client, method: str, path: str) -> bool:
    """Return whether a user may do something. What it would do it for is nonsense, so it is not."""
    body = None if method == "GET" else {"nonsense": True}
    status = http.request(method, f"/api/v2/{path}", json=body).status_code
    assert status in {200, 403, 422}
    return status != 403


def _trigger(team: Team, conf: dict[str, Any], dag: str = DAG) -> str:
    """Start a Dag run as the form of Airflow's UI does; return its id."""
    with _logged_in(team, "admin", team.secret("login/airflow")) as http:
        body = {"logical_date": None, "conf": conf}
        answer = http.post(f"/api/v2/dags/{dag}/dagRuns", json=body).raise_for_status()
        return str(answer.json()["dag_run_id"])


@pytest.fixture
def outcome(team: Team, airflow: AirflowApi) -> Callable[..., str]:
    """Return what waits for the end of a Dag run, and returns its state."""

    def wait(run_id: str, dag: str = DAG) -> str:
        def ended() -> str:
            states = {one["dag_run_id"]: one["state"] for one in airflow.dag_runs(dag)}
            return states[run_id] if states.get(run_id) in {"success", "failed"} else ""

        return str(team.eventually(ended, NIGHT_S, 3))

    return wait


def _failures(airflow: AirflowApi, run_id: str, dag: str = DAG) -> str:
    lines: list[str] = []
    for one in airflow.task_instances(dag, run_id):
        lines.append(f"{one['task_id']}: {one['state']}, try {one['try_number']}")
        if one["state"] == "failed":
            lines += airflow.task_log(one)[-40:]
    return "\n".join(lines)


def test_nobody_gets_in_without_a_password(team: Team) -> None:
    """Neither where nights are run nor where models are kept."""
    pages = httpx.get(f"{team.address('AIRFLOW')}/api/v2/dags", trust_env=False)
    assert pages.status_code == 401
    assert _mlflow(team, "experiments/search", max_results=1).status_code == 401
    refused = _mlflow(team, "experiments/search", "admin", "password", max_results=1)
    assert refused.status_code == 401


def test_the_reader_reads_and_nothing_else(team: Team) -> None:
    """MLflow itself lets whoever has an account create; and nobody guesses for long."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(team.secret("reader/credentials"))
    user, password = parser["mlflow"].values()
    found = _mlflow(team, "experiments/search", user, password, max_results=1)
    assert found.status_code == 200
    address = f"{team.address('MLFLOW')}/api/2.0/mlflow"
    for path in ("experiments/create", "registered-models/create"):
        made = httpx.post(
            f"{address}/{path}", json={"name": "x"}, auth=(user, password), trust_env=False
        )
        assert made.status_code == 403, (path, made.text)
    guesses = [
        _mlflow(team, "experiments/search", user, f"guess {number}", max_results=1).status_code
        for number in range(12)
    ]
    assert guesses == [401] * 10 + [429] * 2
    admins = team.secret("login/mlflow")
    found = _mlflow(team, "experiments/search", "admin", admins, max_results=1)
    assert found.status_code == 200


def test_nobody_guesses_airflows_passwords_for_long(team: Team) -> None:
    """Its login for programs has no limit of its own; who has another name gets in meanwhile."""
    for path in ("/auth/token", "/auth/token/cli"):
        body = {"username": f"ann{len(path)}", "password": "guess"}
        said = [
            httpx.post(f"{team.address('AIRFLOW')}{path}", json=body, timeout=60, trust_env=False)
            for _ in range(12)
        ]
        assert [one.status_code for one in said] == [401] * 10 + [429] * 2
    with _logged_in(team, "admin", team.secret("login/airflow")) as http:
        assert http.get("/api/v2/dags").is_success


def test_the_host_finds_no_open_port(team: Team, docker: Callable[..., bytes]) -> None:
    """The bridge's addresses answer whoever is on the host, whatever is published."""
    (store,) = team.compose("ps", "--quiet", "store").decode().split()
    networks = json.loads(docker("inspect", store))[0]["NetworkSettings"]["Networks"]
    (address,) = (one["IPAddress"] for one in networks.values())
    assert _open_ports(address) == {8333, 18333}
    assert "certificate required" in _refusal(address, 18333)
    for path in ("", "mlflow", "mlflow?list-type=2"):
        answer = httpx.get(f"http://{address}:8333/{path}", trust_env=False)
        assert answer.status_code == 403, (path, answer.text)


def _refusal(address: str, port: int) -> str:
    """Return how a TLS server ends the connection of a client that shows no certificate."""
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    anybody.set_alpn_protocols(["h2"])
    plain = socket.create_connection((address, port), 10)
    with anybody.wrap_socket(plain) as secured, pytest.raises(ssl.SSLError) as said:
        secured.recv(1)  # what is refused is told after the handshake
    return str(said.value)


def _open_ports(address: str) -> set[int]:
    """Return which TCP ports of an address accept a connection."""

    def accepts(port: int) -> bool:
        with socket.socket() as tried:
            tried.settimeout(2)
            return tried.connect_ex((address, port)) == 0

    with ThreadPoolExecutor(64) as threads:
        return {port for port, is_open in enumerate(threads.map(accepts, range(65536))) if is_open}


def test_a_container_can_change_nothing_of_its_image(
    team: Team, docker: Callable[..., bytes]
) -> None:
    """Its root file system is read-only, and what runs has no capability; but of a worker."""
    for container in team.compose("ps", "--quiet").decode().split():
        (about,) = json.loads(docker("inspect", container))
        name = about["Config"]["Labels"]["com.docker.compose.service"]
        assert about["HostConfig"]["ReadonlyRootfs"] is (name != "worker"), name
        pids = docker("top", container, "-eo", "pid").decode().split()[1:]
        for pid in pids:
            if name == "worker" and pid == str(about["State"]["Pid"]):
                continue  # Docker's own, which waits for the others and passes signals on
            status = (Path("/proc") / pid / "status").read_text()
            assert re.search(r"(?m)^CapEff:\s+0+$", status), name
            assert not re.search(r"(?m)^Uid:\s+0\s", status), name


def test_a_new_stack_logs_no_error(team: Team) -> None:
    """It has no champion yet, which is no fault."""
    lines = team.compose("logs", "--no-color").decode().splitlines()
    errors = [line for line in lines if re.search(r"\b(ERROR|CRITICAL|FATAL)\b|Traceback", line)]
    # Airflow's first migration asks PostgreSQL for a table that it is about to make.
    assert not [line for line in errors if 'relation "log" does not exist' not in line]


def test_what_a_role_may_do(team: Team) -> None:
    """By the roles that Airflow's FAB auth manager comes with: a viewer only looks."""
    expected = {"Viewer": {"see a decision"}, "User": {*RIGHTS}, "Op": {*RIGHTS}}
    allowed: dict[str, set[str]] = {}
    for role in expected:
        name, password = f"a-{role}", uuid.uuid4().hex
        words = ["--role", role, "--username", name, "--password", password]
        person = ["--firstname", "Ann", "--lastname", "Ape", "--email", f"{name}@example.com"]
        team.compose("exec", "-T", "api-server", "airflow", "users", "create", *words, *person)
        with _logged_in(team, name, password) as http:
            allowed[role] = {right for right, call in RIGHTS.items() if _may(http, *call)}
    assert allowed == expected


def test_no_secret_shows_in_docker(team: Team, docker: Callable[..., bytes]) -> None:
    """Neither in a container's settings, nor in the image, nor in a log."""
    shown = docker("inspect", *team.containers(), team.settings["UNDERSTUDY_IMAGE"]).decode()
    shown += docker("history", "--no-trunc", team.settings["UNDERSTUDY_IMAGE"]).decode()
    shown += team.compose("logs", "--no-color").decode()
    secrets = team.secrets()
    assert len(secrets) >= 13
    assert all(len(secret) >= 24 for secret in secrets)
    assert not [secret[:4] for secret in secrets if secret in shown]


def test_workers_have_none_of_airflows_keys(team: Team) -> None:
    """They run projects' code, which may read whatever they can."""
    held = team.compose(*IN_WORKER, "sh", "-c", "cat /etc/understudy/*/*").decode()
    keys = [line for line in team.secret("airflow/airflow.cfg").splitlines() if "key = " in line]
    assert keys
    assert not [key for key in keys if key.rpartition(" ")[2] in held]
    assert team.secret("login/airflow") not in held


def test_a_step_finds_no_password_of_its_workers(team: Team) -> None:
    """With the broker's it would have the tokens of other tasks, and by them the connections."""
    # By its input: what stands in its own command line would be found.
    known, readable = json.loads(team.compose(*IN_WORKER, "python", content=INTRUDER.encode()))
    assert known == []
    assert readable >= 3  # its own variables, MLflow's login


def test_the_environments_are_built_beforehand(team: Team) -> None:
    """By the command that the documentation names."""
    project = f"{team.settings['UNDERSTUDY_REPOSITORY']}#mlproject/tabular"
    said = team.compose(*IN_WORKER, "understudy", "environments", "build", project)
    assert b"Ready: " in said
    assert b"Ready: " in team.compose(*IN_WORKER, "understudy", "environments", "build", "--gate")


def test_a_night_makes_a_champion_that_serves(
    team: Team,
    airflow: AirflowApi,
    outcome: Callable[..., str],
    served: Callable[[], str],
    figures: dict[str, Any],
) -> None:
    """Triggered as the UI does, on the real wine-quality data."""
    figures["memory at rest"] = team.memory()
    team.eventually(lambda: DAG in [dag["dag_id"] for dag in airflow.dags()], 120)
    assert airflow.import_errors() == []
    airflow.pause(DAG, paused=False)
    run_id = _trigger(team, {"model": "random_forest"})
    assert outcome(run_id) == "success", _failures(airflow, run_id)
    assert served() == "1"
    (predicted,) = _prediction(team)
    assert 3 <= predicted <= 9


def test_what_was_stopped_is_all_there_again(
    team: Team, served: Callable[[], str], figures: dict[str, Any]
) -> None:
    """Champion, history and login outlive the containers."""
    before = _prediction(team)
    team.compose("down")
    figures["seconds to healthy again"] = team.up()
    assert served() == "1"
    assert _prediction(team) == before
    moves = team.compose(*IN_WORKER, "understudy", "history", DAG).decode()
    assert "version 1 is champion" in moves


def test_the_champion_answers_while_the_rest_is_away(
    team: Team, served: Callable[[], str], figures: dict[str, Any]
) -> None:
    """Five requests a second, over `down` and `up` of all services but its own."""
    assert served() == "1"
    expected = _prediction(team)
    others = team.compose("config", "--services").decode().split()
    others.remove("champion")
    with _asking(team, 0.2) as answers:
        begin = time.monotonic()
        team.compose("down", *others)
        assert httpx.get(f"{team.address('CHAMPION')}/ping", trust_env=False).is_success
        team.compose("up", "--detach", "--wait", "--no-build", *others)
        figures["seconds of the others' down and up"] = time.monotonic() - begin
    figures["requests while the rest was away"] = len(answers)
    figures["slowest of them"] = max(seconds for seconds, _ in answers)
    wrong = [answer for _, answer in answers if answer != expected]
    assert len(answers) > 100
    assert wrong == []


@contextlib.contextmanager
def _asking(team: Team, pause: float) -> Iterator[list[tuple[float, Any]]]:
    """Ask the champion at a steady rate meanwhile; yield seconds and answer, or what went wrong."""
    answers: list[tuple[float, Any]] = []
    ended = threading.Event()

    def one() -> None:
        begin, answer = time.monotonic(), None
        try:
            answer = _prediction(team)
        except httpx.HTTPError as error:
            answer = repr(error)
        answers.append((time.monotonic() - begin, answer))

    def all_of_them() -> None:
        with ThreadPoolExecutor(32) as threads:
            while not ended.wait(pause):
                threads.submit(one)

    asking = threading.Thread(target=all_of_them)
    asking.start()
    try:
        yield answers
    finally:
        ended.set()
        asking.join()


def test_a_backup_fills_an_empty_stack(
    team: Team, served: Callable[[], str], tmp_path: Path
) -> None:
    """One command each; the same champion gives the same answer, and the same login opens."""
    before, password = _prediction(team), team.secret("login/airflow")
    environment = {
        **os.environ,
        "COMPOSE_ENV_FILES": str(team.folder / "env"),
        "COMPOSE_FILE": "docker-compose.yaml:tests/stack/data.yaml",
    }

    def run(script: str, folder: Path) -> str:
        command = ["sh", SCRIPTS / script, folder]
        done = subprocess.run(
            command, cwd=CHECKOUT, env=environment, check=False, text=True, stdout=subprocess.PIPE
        )
        print(done.stdout)  # noqa: T201 -- what was said, if it fails
        assert (done.returncode == 0) is (folder.name == "backup")
        return str(done.stdout)

    run("backup.sh", tmp_path / "backup")
    assert "MLflow: 1 versions of models, 1 read back" in run("verify.sh", tmp_path / "backup")
    _without_models(tmp_path / "backup", tmp_path / "damaged")
    assert "1 versions of models, 0 read back" in run("verify.sh", tmp_path / "damaged")
    team.remove()
    run("restore.sh", tmp_path / "backup")
    assert team.secret("login/airflow") == password
    assert served() == "1"
    assert _prediction(team) == before


def _without_models(backup: Path, damaged: Path) -> None:
    """Copy a backup, but for the models' own files: as one is that was cut short."""
    shutil.copytree(backup, damaged)
    with (
        tarfile.open(backup / "artifacts.tar") as whole,
        tarfile.open(damaged / "artifacts.tar", "w") as part,
    ):
        for member in whole:
            if "/models/" not in member.name:
                part.addfile(member, whole.extractfile(member))


def test_a_push_deploys_dag_files(
    team: Team, airflow: AirflowApi, outcome: Callable[..., str]
) -> None:
    """Dag files from Git: a Dag run keeps its commit, and the record of the decision names it."""
    name, path = "pushed", "dags/pushed.py"
    file = (CHECKOUT / "dags" / f"{DAG}.py").read_text("utf-8")
    file = file.replace(f'"{DAG}"', f'"{name}"', 1).replace('"@daily"', "None")
    file = re.sub(r"(?m)^    search=.*\n", "", file)  # one model of the plainest kind is enough
    team.files.append("docker-compose.git-dags.yaml")
    team.up()
    commit = team.push(path, file)
    team.eventually(lambda: name in [dag["dag_id"] for dag in airflow.dags()], 180)
    airflow.pause(name, paused=False)
    run_id = _trigger(team, {"model": "elastic_net"}, name)
    assert team.push(path, f"{file}# Later.\n") != commit
    assert outcome(run_id, name) == "success", _failures(airflow, run_id, name)
    (run,) = (one for one in airflow.dag_runs(name) if one["dag_run_id"] == run_id)
    said = team.compose(*IN_WORKER, "python", "-c", RECORD, run_id).decode()
    context = json.loads(said.splitlines()[-1])
    assert context["dag_version"] == run["bundle_version"] == commit
    assert len(context["commit"]) == len(commit)
