"""Git hosts as they are in production: private, stopped, rewritten under one's feet."""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from understudy.errors import ProjectError, RepositoryUnavailableError
from understudy.runner.git.checkout import CheckoutStore
from understudy.runner.process.process import ProcessRunner
from understudy.runner.settings import Settings
from understudy.spec.git_access import GitAccess
from understudy.spec.git_address import ProjectAddress, parse

if TYPE_CHECKING:
    from tests.fixtures.git import Repository
    from tests.fixtures.git_hosts import HttpHost, SshHost


pytestmark = pytest.mark.integration

TOKEN = "t0k3n-t0k3n"  # noqa: S105 - of a host on loopback
WRONG = "wr0ng-wr0ng"
Hosts = Callable[..., AbstractContextManager["HttpHost"]]
BASIC = base64.b64encode(f"bot:{TOKEN}".encode()).decode()


def machine(folder: Path) -> CheckoutStore:
    """Return the store of a machine whose cache and scratch are below a folder."""
    return CheckoutStore(Settings(folder / "cache", folder / "s", git_timeout=20), ProcessRunner())


@pytest.fixture
def store(tmp_path: Path) -> CheckoutStore:
    """Return the store of a fresh machine."""
    return machine(tmp_path / "here")


@pytest.fixture
def host(tmp_path: Path, repository: Repository, http_host: Hosts) -> Iterator[HttpHost]:
    """Serve the repository to everybody."""
    repository.commit(a="1")
    with http_host(tmp_path) as served:
        yield served


@pytest.fixture
def private(tmp_path: Path, repository: Repository, http_host: Hosts) -> Iterator[HttpHost]:
    """Serve the repository to who knows the token."""
    repository.commit(a="1")
    with http_host(tmp_path, f"bot:{TOKEN}") as served:
        yield served


def opened(url: str, **fields: Any) -> ProjectAddress:
    """Return an address with the credentials of a connection."""
    return parse(url).opened_by(GitAccess.of_connection("git_models", fields))


def content(store: CheckoutStore, address: ProjectAddress, version: str = "main") -> str:
    """Return what the file ``a`` holds at a version."""
    with store.lease(address, store.resolve(address, version)) as checkout:
        return (checkout.folder / "a").read_text()


def test_every_form_of_version(
    store: CheckoutStore, repository: Repository, host: HttpHost
) -> None:
    """Over HTTP, each stands for one full commit id; refs/pull/... is asked for by name."""
    old = repository.git("rev-parse", "HEAD")
    repository.git("tag", "light")
    repository.git("tag", "-a", "-m", "x", "annotated")
    repository.git("branch", "feature/x")
    pulled = repository.commit(a="pulled")
    repository.git("update-ref", "refs/pull/1/head", pulled)
    repository.git("reset", "--quiet", "--hard", old)
    new = repository.commit(a="2")
    address = parse(f"{host.url}/repository")
    wanted = dict.fromkeys(["", "HEAD", "main", "refs/heads/main", new, new[:4], new[:9]], new)
    wanted |= dict.fromkeys(["light", "annotated", "refs/tags/light", "refs/tags/annotated"], old)
    wanted |= dict.fromkeys(["feature/x", "refs/heads/feature/x", old, old[:7]], old)
    wanted |= {"refs/pull/1/head": pulled, pulled: pulled}
    assert {version: store.resolve(address, version) for version in wanted} == wanted
    repository.git("update-ref", "-d", "refs/pull/1/head")
    for gone in ("refs/pull/1/head", "refs/pull/2/head", "0123456789" * 4, "refs/heads/no"):
        with pytest.raises(ProjectError, match="does not exist"):
            store.resolve(address, gone)


def commits_here(store: CheckoutStore) -> int:
    """Return how many commits the one mirror of a machine holds."""
    (mirror,) = store._root.glob("*/mirror.git")
    command = ("git", "-C", str(mirror), "rev-list", "--all", "--count")
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_of_history_only_what_is_needed_is_fetched(
    store: CheckoutStore, repository: Repository, host: HttpHost
) -> None:
    """One commit of a branch or an id; a branch that has not moved is not fetched again."""
    for night in range(20):
        repository.commit(a=str(night))
    address = parse(f"{host.url}/repository")
    old = repository.git("rev-parse", "HEAD~10")
    assert content(store, address) == "19"
    assert commits_here(store) == 1
    assert content(store, address, old) == "9"
    assert commits_here(store) == 2
    host.requests.clear()
    assert store.resolve(address, "main") == repository.git("rev-parse", "HEAD")
    assert len([path for path, _ in host.requests if path.endswith("/git-upload-pack")]) == 1
    repository.commit(a="20")
    assert content(store, address) == "20"
    assert commits_here(store) == 3
    # A short id means one commit only among all of them.
    assert store.resolve(address, old[:4]) == old
    assert commits_here(store) == 22


@pytest.mark.parametrize(("kind", "fetched"), [("old", 21), ("plain", 21)])
def test_a_host_that_gives_all_or_nothing(
    store: CheckoutStore, repository: Repository, host: HttpHost, kind: str, fetched: int
) -> None:
    """One that gives no commit by its id, one that gives none without its history."""
    for night in range(20):
        repository.commit(a=str(night))
    repository.git("update-server-info")
    setattr(host, kind, True)
    address = parse(f"{host.url}/repository/.git")
    old = repository.git("rev-parse", "HEAD~10")
    assert content(store, address) == "19"
    assert content(store, address, old) == "9"
    assert commits_here(store) == fetched
    with pytest.raises(ProjectError, match="does not exist"):
        store.resolve(address, "0123456789" * 4)
    repository.commit(a="20")
    repository.git("update-server-info")
    assert content(store, address, "") == "20"


def test_a_stopped_host_stops_no_night_that_is_pinned(
    store: CheckoutStore, repository: Repository, host: HttpHost, tmp_path: Path
) -> None:
    """The pin asks the host; the steps use the commit, on this machine, and need no host."""
    address = parse(f"{host.url}/repository")
    pinned = store.resolve(address, "main")
    asked = len(host.requests)
    host.down = True
    for version in (pinned, pinned[:8]):
        assert content(store, address, version) == "1"
        assert store.tree(address, pinned) == repository.git("rev-parse", "HEAD^{tree}")
    assert len(host.requests) == asked
    elsewhere = machine(tmp_path / "there")
    for somewhere, version in ((store, "main"), (store, ""), (elsewhere, pinned)):
        with pytest.raises(RepositoryUnavailableError, match="full commit id that was") as caught:
            somewhere.resolve(address, version)
        assert "503" in caught.value.found
        assert caught.value.can_retry


def test_a_host_that_stops_between_two_questions_is_not_believed(
    store: CheckoutStore, host: HttpHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that it could not be asked for is not called missing."""
    address = parse(f"{host.url}/repository")
    mirror = store._mirror(address)
    fetch_one = mirror._newest

    def fetch_and_stop(ref: str) -> str:
        found = fetch_one(ref)
        host.down = True
        return found

    monkeypatch.setattr(mirror, "_newest", fetch_and_stop)
    with pytest.raises(RepositoryUnavailableError):
        mirror.resolve("0123456789" * 4)


def test_a_forced_push_between_two_fetches(
    store: CheckoutStore, repository: Repository, host: HttpHost, tmp_path: Path
) -> None:
    """The branch is the new commit at once; the pinned one runs on, on other machines too."""
    address = parse(f"{host.url}/repository")
    repository.git("branch", "topic")
    pinned = store.resolve(address, "main")
    repository.git("commit", "--quiet", "--amend", "-m", "rewritten")
    repository.git("branch", "-D", "topic")
    repository.git("branch", "topic/deeper")  # whose ref is a file where ours was a folder
    assert store.resolve(address, "main") == repository.git("rev-parse", "HEAD") != pinned
    assert store.resolve(address, "topic/deeper") == repository.git("rev-parse", "HEAD")
    assert content(store, address, pinned) == "1"
    assert content(machine(tmp_path / "there"), address, pinned) == "1"


def test_a_host_that_holds_a_shallow_clone(
    store: CheckoutStore, repository: Repository, http_host: Hosts, tmp_path: Path
) -> None:
    """Its newest commit is all that is needed; a later push into it too."""
    repository.commit(a="2")
    repository.commit(a="3")
    shallow = repository.clone(tmp_path / "shallow", "--depth=1")
    with http_host(tmp_path) as host:
        address = parse(f"{host.url}/shallow/.git")
        assert content(store, address) == "3"
        shallow.commit(a="4")
        assert content(store, address) == "4"
        shallow.git("fetch", "--quiet", "--unshallow", repository.url)
        assert store.resolve(address, "main") == shallow.git("rev-parse", "HEAD")


def test_a_token_over_http(store: CheckoutStore, private: HttpHost, tmp_path: Path) -> None:
    """It opens the repository; no command line and no file below the cache ever holds it."""
    address = opened(f"{private.url}/repository", login="bot", password=TOKEN, host=private.url)
    assert content(store, address) == "1"
    assert TOKEN not in repr(address)
    assert not [line for line in private.command_lines if TOKEN.encode() in line]
    assert any(b"fetch" in line for line in private.command_lines)
    for secret in (TOKEN, BASIC):
        found = subprocess.run(
            ("grep", "-r", secret, tmp_path / "here"), check=False, capture_output=True
        )
        assert found.stdout == b""


@pytest.mark.parametrize("fields", [{"password": WRONG}, None])
def test_a_wrong_token_and_none(
    store: CheckoutStore,
    private: HttpHost,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, str] | None,
) -> None:
    """Refused for good, in a sentence without it; where one is given, no helper stands in."""
    home, helper = tmp_path / "home", tmp_path / "helper"
    home.mkdir()
    helper.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho password={TOKEN}\n")
    helper.chmod(0o700)
    (home / ".gitconfig").write_text(f"[credential]\n\tusername = bot\n\thelper = {helper}\n")
    monkeypatch.setenv("HOME", str(home if fields else tmp_path))
    url = f"{private.url}/repository"
    address = opened(url, **fields) if fields else parse(url)
    with pytest.raises(ProjectError, match=r"refuses access.*connection") as caught:
        store.resolve(address, "main")
    assert WRONG not in str(caught.value)
    assert not (tmp_path / "asked").exists()


def test_a_submodule_elsewhere_gets_no_token(
    store: CheckoutStore,
    repository: Repository,
    other_repository: Repository,
    http_host: Hosts,
    tmp_path: Path,
) -> None:
    """One on the same host does, however its URL is written."""
    other_repository.commit(lib="1")
    shutil.copytree(other_repository.folder, tmp_path / "public/third")
    with (
        http_host(tmp_path, f"bot:{TOKEN}") as host,
        http_host(tmp_path / "public") as elsewhere,
    ):
        for name, url in (
            ("near", f"{host.url}/other"),
            ("far", f"{elsewhere.url}/third"),
        ):
            repository.git(
                *("-c", f"http.{host.url}/.extraHeader=Authorization: Basic {BASIC}"),
                *("submodule", "--quiet", "add", url, name),
            )
        repository.commit(a="1")
        elsewhere.requests.clear()
        address = opened(f"{host.url}/repository", login="bot", password=TOKEN)
        with store.lease(address, store.resolve(address, "main")) as checkout:
            assert (checkout.folder / "near/lib").read_text() == "1"
            assert (checkout.folder / "far/lib").read_text() == "1"
        assert {given for _, given in elsewhere.requests} == {""}


def test_a_token_follows_no_redirect_to_another_server(
    store: CheckoutStore, private: HttpHost, http_host: Hosts, tmp_path: Path
) -> None:
    """Nothing is asked there, with or without it, and a person learns where it would have gone."""
    with http_host(tmp_path) as elsewhere:
        private.moved = {"/old": f"{elsewhere.url}/repository"}
        address = opened(f"{private.url}/old", login="bot", password=TOKEN)
        with pytest.raises(ProjectError, match=f"redirects .*/old to {elsewhere.url}/repository"):
            store.resolve(address, "main")
        assert elsewhere.requests == []
        # Without credentials there is nothing to keep: Git follows as it always does.
        with http_host(tmp_path) as public:
            public.moved = {"/old": f"{elsewhere.url}/repository"}
            assert content(store, parse(f"{public.url}/old")) == "1"


def test_a_token_follows_a_redirect_on_its_own_server(
    store: CheckoutStore, private: HttpHost
) -> None:
    """As GitHub answers for a repository that was renamed, GitLab for one without .git."""
    private.moved = {"/old/": "/repository/"}
    address = opened(f"{private.url}/old", login="bot", password=TOKEN)
    assert content(store, address) == "1"


# SSH, with a real sshd


@pytest.fixture
def sshd(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    ssh_host: Callable[..., AbstractContextManager[SshHost]],
) -> Iterator[SshHost]:
    """Run an SSH server; a parameter is its key's passphrase."""
    (tmp_path / "ssh").mkdir()
    with ssh_host(tmp_path / "ssh", getattr(request, "param", "")) as served:
        yield served


@pytest.mark.parametrize("sshd", ["", "pass phr4se'$x"], indirect=True)
def test_a_key_over_ssh(
    store: CheckoutStore,
    repository: Repository,
    sshd: SshHost,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """As a file and as text, with and without a passphrase; nothing of it stays."""
    repository.commit(a="1")
    (tmp_path / "known").write_text(sshd.known_hosts)
    phrase = {"private_key_passphrase": request.node.callspec.params["sshd"]}
    url = f"{sshd.url}{repository.folder}"
    text = {"private_key": sshd.key.read_text(), "known_hosts": sshd.known_hosts}
    file = {"key_file": str(sshd.key), "known_hosts_file": str(tmp_path / "known")}
    assert content(store, opened(url, **text, **phrase)) == "1"
    repository.commit(a="2")
    assert content(store, opened(url, **file, **phrase)) == "2"
    repository.commit(a="3")
    flat = {**text, "private_key": text["private_key"].strip().replace("\n", "\\n")}
    assert content(store, opened(url, **flat, **phrase)) == "3"
    assert list((tmp_path / "here/s").iterdir()) == []


def test_what_ssh_refuses(
    store: CheckoutStore, repository: Repository, sshd: SshHost, tmp_path: Path
) -> None:
    """An unknown host, another host's key, a wrong key, a missing file: never a prompt."""
    repository.commit(a="1")
    url, key = f"{sshd.url}{repository.folder}", {"key_file": str(sshd.key)}
    stranger = f"{sshd.known_hosts.split()[0]} {(tmp_path / 'ssh/client.pub').read_text()}"
    known = {"known_hosts": sshd.known_hosts}
    for fields, message in (
        (key, "known_hosts"),
        ({**key, "known_hosts": stranger}, "does not show a key that is known"),
        ({"key_file": str(tmp_path / "ssh/host"), **known}, r"refuses access.*denied"),
        ({"key_file": "/no/such/key", **known}, "cannot be read on this worker"),
        ({"private_key": "no key", **known}, "refuses access"),
    ):
        with pytest.raises(ProjectError, match=message) as caught:
            store.resolve(opened(url, **fields), "main")
        assert not caught.value.can_retry
    assert content(store, opened(url, **key, strict_host_key_checking="no")) == "1"


@pytest.mark.parametrize("sshd", ["right"], indirect=True)
def test_a_wrong_passphrase(store: CheckoutStore, repository: Repository, sshd: SshHost) -> None:
    """Refused, and not repeated in the message."""
    repository.commit(a="1")
    fields = {"private_key": sshd.key.read_text(), "known_hosts": sshd.known_hosts}
    fields["private_key_passphrase"] = WRONG
    address = opened(f"{sshd.url}{repository.folder}", **fields)
    with pytest.raises(ProjectError, match="refuses access") as caught:
        store.resolve(address, "main")
    assert WRONG not in str(caught.value)


def test_an_ssh_host_that_is_stopped(store: CheckoutStore, sshd: SshHost) -> None:
    """May be asked again later."""
    port = sshd.url.rpartition(":")[2]
    url = f"{sshd.url.removesuffix(port)}9/repository"
    with pytest.raises(RepositoryUnavailableError, match="refused"):
        store.resolve(opened(url, key_file=str(sshd.key)), "main")


def test_a_machine_without_ssh(
    store: CheckoutStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said so, with and without a connection; git alone would call it a missing file."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(programs))
    url = "ssh://git@127.0.0.1:9/r.git"
    for address in (parse(url), opened(url, private_key="x", private_key_passphrase=WRONG)):
        with pytest.raises(ProjectError, match="There is no ssh here"):
            store.resolve(address, "main")
