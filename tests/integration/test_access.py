"""Promotions, history and rollback on an MLflow server with accounts; and who may not.

Permissions are those of ``mlflow server --app-name basic-auth``. The pipelines' user owns what it
makes; a reader may look; a stranger has no permission at all; and there is one who may write to the
histories, but not to the model.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from understudy.cli.main import main
from understudy.containers import first_start
from understudy.contract import CHAMPION
from understudy.errors import TrackingRefusedError
from understudy.registry.history import MoveCause
from understudy.registry.history_log import EXPERIMENT
from understudy.registry.promoter import MoveRequest, Promoter
from understudy.registry.versions import Registry
from understudy.store.tracking import RunStore

pytestmark = pytest.mark.integration

SETTINGS = """[mlflow]
default_permission = {default}
grant_default_workspace_access = false
database_uri = sqlite:///{folder}/accounts.db
admin_username = admin
auth_cache_ttl_seconds = 600
authorization_function = mlflow_login:authenticate
"""
"""As the container stack sets them."""
GuardedServer = Callable[[Path, str], AbstractContextManager[tuple[str, str]]]
USER, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


@dataclass
class Guarded:
    """A server with accounts, and a model with two versions that the pipelines' user made."""

    uri: str
    patch: pytest.MonkeyPatch
    passwords: dict[str, str]
    model: str = field(default_factory=lambda: f"guarded {uuid.uuid4().hex}")

    def be(self, user: str) -> None:
        """Let this process ask as a user."""
        self.patch.setenv(USER, user)
        self.patch.setenv(PASSWORD, self.passwords.get(user, "not the password"))

    def client(self) -> MlflowClient:
        """Return a client, which asks as whoever this process is."""
        return MlflowClient(self.uri)

    def add(self, user: str) -> None:
        """Make an account."""
        self.be("admin")
        self.passwords[user] = secrets.token_urlsafe(16)
        self._manage("2.0/mlflow/users/create", username=user, password=self.passwords[user])

    def grant(self, user: str, model: str, history: str) -> None:
        """Give a user permissions on the model and on the histories."""
        self.be("admin")
        found = self.client().get_experiment_by_name(EXPERIMENT)
        assert found is not None
        granted = {("registered_model", self.model): model}
        granted["experiment", found.experiment_id] = history
        for (kind, name), permission in granted.items():
            what = {"resource_type": kind, "resource_id": name, "permission": permission}
            self._manage("3.0/mlflow/users/permissions/grant", username=user, **what)

    def _manage(self, path: str, **body: str) -> None:
        """Call the interface of MLflow's accounts as the administrator."""
        address = f"{self.uri}/api/{path}"
        admin = ("admin", self.passwords["admin"])
        answer = httpx.post(address, json=body, auth=admin, trust_env=False)
        assert answer.is_success, answer.text

    def champion(self) -> str:
        """Return the version in production, as an administrator sees it."""
        self.be("admin")
        return str(self.client().get_model_version_by_alias(self.model, CHAMPION).version)

    def promoter(self) -> Promoter:
        """Return what moves the alias as whoever this process is."""
        client = self.client()
        return Promoter(client, RunStore(client))

    def move(self, after: str, before: str | None) -> bool:
        """Move the alias."""
        return self.promoter().move(MoveRequest(self.model, after, before, uuid.uuid4().hex))


@pytest.fixture(scope="module")
def guarded_server(mlflow_server: Callable[..., AbstractContextManager[str]]) -> GuardedServer:
    """Return what runs a server with accounts; it yields address and administrator's password.

    It takes the server's folder, and what an account alone may do.
    """

    @contextmanager
    def run(folder: Path, default: str) -> Iterator[tuple[str, str]]:
        (folder / "accounts.ini").write_text(SETTINGS.format(folder=folder, default=default))
        password = secrets.token_urlsafe(16)
        with mlflow_server(
            folder,
            "--app-name=basic-auth",
            PYTHONPATH=str(Path(first_start.__file__).parent),  # of mlflow_login
            MLFLOW_AUTH_CONFIG_PATH=str(folder / "accounts.ini"),
            MLFLOW_AUTH_ADMIN_PASSWORD=password,
            MLFLOW_FLASK_SERVER_SECRET_KEY=secrets.token_urlsafe(16),
        ) as address:
            yield address, password

    return run


@pytest.fixture(scope="module")
def accounts(
    guarded_server: GuardedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """Run a server on which an account alone lets nobody see anything."""
    with guarded_server(tmp_path_factory.mktemp("guarded"), "NO_PERMISSIONS") as server:
        yield server


@pytest.fixture(scope="module")
def known(accounts: tuple[str, str]) -> Iterator[Guarded]:
    """Return the server with its users, and a model whose first version is champion."""
    address, password = accounts
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", address)
        made = Guarded(address, patch, {"admin": password})
        for user in ("pipelines", "reader", "clerk", "nobody"):
            made.add(user)
        made.be("pipelines")
        client = made.client()
        experiment = RunStore(client).experiment("guarded")
        for key in ("first", "second"):
            run_id = client.create_run(experiment).info.run_id
            client.log_text(run_id, "flavors: {}\n", "model/MLmodel")
            registry = Registry(client)
            registry.claim(made.model, "guarded")
            registry.register(made.model, registry.trained(run_id), key)
        assert made.move("1", None)
        made.grant("reader", "READ", "READ")
        made.grant("clerk", "READ", "EDIT")
        yield made


def test_a_reader_creates_nothing(known: Guarded) -> None:
    """MLflow lets every account create experiments and models; this login does not let this one."""
    known.be("reader")
    client = known.client()
    assert str(client.get_model_version_by_alias(known.model, CHAMPION).version) == "1"
    assert client.search_registered_models()
    # As MLflow's own pages ask for a run, and its clients for "models:/name/latest".
    for path, question in (
        ("graphql", {"query": "{ __typename }"}),
        ("api/2.0/mlflow/registered-models/get-latest-versions", {"name": known.model}),
    ):
        account = ("reader", known.passwords["reader"])
        answer = httpx.post(f"{known.uri}/{path}", json=question, auth=account, trust_env=False)
        assert answer.is_success, answer.text
    attempts: list[Callable[[], object]] = [
        lambda: client.create_experiment("a reader's"),
        lambda: client.create_registered_model("a reader's"),
        lambda: client.set_registered_model_alias(known.model, "mine", "1"),
    ]
    for attempt in attempts:
        with pytest.raises(MlflowException, match="reads, and changes nothing"):
            attempt()


def test_who_guesses_is_slowed_down(known: Guarded) -> None:
    """By address and name; but not who has logged in there with the right password before."""
    address = f"{known.uri}/api/2.0/mlflow/experiments/search?max_results=1"
    # From another address of the loopback: the other tests of this server come from the first.
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.9")) as guesser:
        reader = ("reader", known.passwords["reader"])
        assert guesser.get(address, auth=reader).status_code == 200
        answers = [guesser.get(address, auth=("admin", f"{n}")).status_code for n in range(12)]
        right = ("admin", known.passwords["admin"])
        assert guesser.get(address, auth=right).status_code == 429
        guesses = [guesser.get(address, auth=("reader", f"{n}")).status_code for n in range(12)]
        assert guesser.get(address, auth=reader).status_code == 200
    assert answers == guesses == [401] * 10 + [429] * 2
    assert httpx.get(address, auth=right, trust_env=False).status_code == 200


def test_the_pipelines_user_promotes_and_rolls_back(
    known: Guarded, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its name and password in the environment, from a night as on a command line."""
    known.be("pipelines")
    assert known.move("2", "1")
    assert main(["rollback", known.model, "--why", "it was worse", "--no-rehearsal"]) == 0
    assert "version 1 is champion; it replaced 2" in capsys.readouterr().out
    assert main(["history", known.model]) == 0
    assert "it was worse" in capsys.readouterr().out
    assert known.champion() == "1"
    causes = [entry.move.cause for entry in known.promoter().history(known.model).moves]
    assert causes == [MoveCause.NIGHT, MoveCause.NIGHT, MoveCause.ROLLBACK]


def test_a_reader_sees_the_history_and_cannot_move_anything(
    known: Guarded, capsys: pytest.CaptureFixture[str]
) -> None:
    """The refusal is final, names what to ask for, and nothing was begun."""
    before = known.champion()
    entries = known.promoter().history(known.model).entries
    known.be("reader")
    assert main(["history", known.model]) == 0
    shown = capsys.readouterr()
    assert f"version {before}" in shown.out
    assert not shown.err
    assert main(["rollback", known.model, "--why", "x", "--to", "2", "--no-rehearsal"]) != 0
    assert "(403)" in capsys.readouterr().err
    with pytest.raises(TrackingRefusedError, match="grant EDIT") as caught:
        known.move("2", before)
    assert not caught.value.can_retry
    assert known.champion() == before
    assert known.promoter().history(known.model).entries == entries


def test_who_may_write_to_histories_only_leaves_no_move_half_done(known: Guarded) -> None:
    """What was noted is given up at once: nobody waits for it, and the record says why."""
    before = known.champion()
    known.be("clerk")
    with pytest.raises(TrackingRefusedError, match="403"):
        known.move("2", before)
    assert known.champion() == before
    history = known.promoter().history(known.model)
    assert history.pending is None
    ending = history.entries[-1].ending
    assert ending is not None
    assert "MLflow refused" in ending.why
    known.be("pipelines")
    assert known.move("2", before)
    assert known.move("1", "2")


@pytest.mark.parametrize(("user", "said"), [("nobody", "403"), ("stranger", "401")])
def test_who_has_no_permission_at_all(known: Guarded, user: str, said: str) -> None:
    """And who is not known at all: each is told what is missing, without a retry."""
    known.be(user)
    with pytest.raises(TrackingRefusedError, match=rf"\({said}\)") as caught:
        known.move("2", "1")
    assert not caught.value.can_retry
    with pytest.raises(TrackingRefusedError, match=rf"\({said}\)"):
        Registry(known.client()).claim(known.model, "guarded")
    assert known.champion() == "1"


def test_artifacts_of_others_are_refused_not_missing(known: Guarded, tmp_path: Path) -> None:
    """Through the proxy, too."""
    from understudy.store.artifacts import downloaded, found

    known.be("pipelines")
    run_id = str(known.client().get_model_version(known.model, "1").run_id)
    run = known.client().get_run(run_id)
    known.be("reader")
    for fetch in (found, downloaded):
        with pytest.raises(TrackingRefusedError, match="403"):
            fetch(known.client(), run, "model/MLmodel", tmp_path)


def test_a_model_that_is_not_there_yet_has_no_champion(
    guarded_server: GuardedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every account may read, as on the team stack: its first night finds no model."""
    with guarded_server(tmp_path, "READ") as (address, password):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        server = Guarded(address, monkeypatch, {"admin": password})
        server.add("pipelines")
        server.be("pipelines")
        assert Registry(server.client()).champion("none of this name") is None
