"""A team's stack, started for real: docker-compose.yaml under a name and ports of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

CHECKOUT = Path(__file__).parents[2]
DATA = Path(os.environ.get("UNDERSTUDY_TEST_DATA", CHECKOUT.parent / "shared" / "data"))
STAND_INS = "UNDERSTUDY_STAND_INS"
"""Environment variable with a program that makes images of the names it is given."""
IMAGES = {
    "UNDERSTUDY_PYTHON_IMAGE": "python:3.12-slim-bookworm",
    "UNDERSTUDY_POSTGRES_IMAGE": "postgres:17",
    "UNDERSTUDY_BROKER_IMAGE": "valkey/valkey:8",
    "UNDERSTUDY_STORE_IMAGE": "chrislusf/seaweedfs:4.47",
}
IMAGE = "understudy:test"
STORE = "understudy-test-store:1"
SLOTS = 2
"""Tasks that a worker runs at once."""
_PORTS = ("AIRFLOW", "MLFLOW", "CHAMPION")


def docker(*arguments: str, content: bytes | None = None) -> bytes:
    """Return what a docker command prints; its complaints go to the test's output."""
    done = subprocess.run(
        ["docker", *arguments], input=content, stdout=subprocess.PIPE, cwd=CHECKOUT, check=False
    )
    assert done.returncode == 0, (arguments, done.returncode, done.stdout[-2000:])
    return done.stdout


def images() -> dict[str, str]:
    """Return the base images by variable, made or pulled where they are not here."""
    chosen = {name: os.environ.get(name, image) for name, image in IMAGES.items()}
    for name, image in chosen.items():
        pulling = ["docker", "pull", "-q", image]
        if _is_here(image) or subprocess.run(pulling, check=False).returncode == 0:
            continue
        if name == "UNDERSTUDY_STORE_IMAGE":
            chosen[name] = _standing_in(chosen["UNDERSTUDY_PYTHON_IMAGE"])
        else:
            maker = os.environ.get(STAND_INS)
            assert maker, f"{image} is not here, nor can it be pulled; {STAND_INS} names its maker"
            subprocess.run([maker, image], check=True)
    return chosen


def _is_here(image: str) -> bool:
    asked = ["docker", "image", "inspect", image]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _standing_in(python: str) -> str:
    if not _is_here(STORE):
        folder = "tests/standins/store"
        docker("build", "--quiet", "--build-arg", f"PYTHON_IMAGE={python}", "--tag", STORE, folder)
    return STORE


def build(python: str) -> int:
    """Build the image of this checkout; return its size in bytes."""
    arguments = ["--build-arg", f"PYTHON_IMAGE={python}", "--build-arg", "PIP_INDEX_URL"]
    docker("build", "--quiet", *arguments, "--tag", IMAGE, ".")
    return int(json.loads(docker("image", "inspect", IMAGE))[0]["Size"])


def _free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@dataclass
class Team:
    """One stack.

    Attributes:
        folder: Where its settings and the clone that it serves are.
        name: Of the compose project.
        settings: What its .env holds.
        files: Compose files, the later ones over the earlier.
        ports: Where its web pages are, by name.
    """

    folder: Path
    name: str
    settings: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(
        default_factory=lambda: ["docker-compose.yaml", "tests/stack/data.yaml"]
    )
    ports: dict[str, int] = field(default_factory=lambda: {name: _free_port() for name in _PORTS})

    def prepare(self, chosen: Mapping[str, str]) -> None:
        """Clone this checkout for the stack to serve, and write its settings."""
        clone = self.folder / "clone.git"
        subprocess.run(["git", "clone", "-q", "--bare", CHECKOUT, clone], check=True)
        # Whatever branch is checked out here: it is the one that the stack knows as main.
        subprocess.run(["git", "-C", clone, "branch", "-qf", "main", "HEAD"], check=True)
        subprocess.run(["git", "-C", clone, "symbolic-ref", "HEAD", "refs/heads/main"], check=True)
        self.settings = {
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_PROFILES": "clone",
            "UNDERSTUDY_REPOSITORY": "git://git/understudy.git",
            "UNDERSTUDY_CLONE": str(clone),
            "UNDERSTUDY_IMAGE": IMAGE,
            "UNDERSTUDY_TEST_DATA": str(DATA),
            "UNDERSTUDY_SLOTS": str(SLOTS),
            **chosen,
            **{f"UNDERSTUDY_{name}_PORT": str(port) for name, port in self.ports.items()},
            **self.settings,
        }
        self.configure()

    def configure(self, **settings: str) -> None:
        """Write the settings, these among them."""
        self.settings |= settings
        lines = "".join(f"{name}={value}\n" for name, value in self.settings.items())
        (self.folder / "env").write_text(lines, "utf-8")

    def push(self, path: str, content: str) -> str:
        """Commit a file to the repository that the stack serves; return the commit."""
        work = self.folder / "work"
        git = ["git", "-c", "user.name=Ann", "-c", "user.email=ann@example.org", "-C", str(work)]
        if not work.exists():
            clone = ["git", "clone", "-q", "--branch", "main", self.folder / "clone.git", work]
            subprocess.run(clone, check=True)
        (work / path).write_text(content, "utf-8")
        for words in (["add", path], ["commit", "-qm", path], ["push", "-q", "origin", "main"]):
            subprocess.run([*git, *words], check=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, stdout=subprocess.PIPE)
        return head.stdout.decode().strip()

    def compose(self, *arguments: str, content: bytes | None = None) -> bytes:
        """Run docker compose on this stack."""
        files = [part for file in self.files for part in ("-f", file)]
        env = ["--env-file", str(self.folder / "env")]
        return docker("compose", *env, *files, *arguments, content=content)

    def up(self) -> float:
        """Start what is not running, wait until all of it is healthy, and return the seconds."""
        begin = time.monotonic()
        self.compose("up", "--detach", "--wait", "--no-build", "--quiet-pull")
        return time.monotonic() - begin

    def remove(self) -> None:
        """End everything, and remove its volumes."""
        self.compose("down", "--volumes", "--timeout", "20", "--remove-orphans")

    def secret(self, path: str) -> str:
        """Return one of the generated secrets."""
        where = f"/etc/understudy/{path}"
        return self.compose("run", "--rm", "--no-deps", "-T", "secrets", "cat", where).decode()

    def secrets(self) -> set[str]:
        """Return every password and key of the stack."""
        agreed = json.loads(self.secret("login/agreed.json"))
        whole = (self.secret(path) for path in ("login/airflow", "mlflow/flask"))
        keys = (line.partition(" = ") for line in self.secret("airflow/airflow.cfg").splitlines())
        secret_keys = {value for name, _, value in keys if name.endswith(("key", "secret"))}
        passwords = {*agreed["roles"].values(), *agreed["accounts"].values()}
        return {*passwords, agreed["broker"], agreed["store"], *whole, *secret_keys}

    def address(self, name: str) -> str:
        """Return where one of the web pages is."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def containers(self) -> list[str]:
        """Return the ids of the stack's containers."""
        return self.compose("ps", "--all", "--quiet").decode().split()

    def memory(self) -> dict[str, str]:
        """Return what each service holds now."""
        form = "{{.Name}} {{.MemUsage}}"
        lines = docker("stats", "--no-stream", "--format", form, *self.containers()).decode()
        pairs = (line.split(" ", 1) for line in lines.splitlines())
        return {name: used.partition(" /")[0] for name, used in pairs}


def eventually(condition: Callable[[], Any], limit: float, pause: float = 2.0) -> Any:  # noqa: ANN401
    """Return what a condition returns as soon as it is true.

    Raises:
        AssertionError: when it was not within so many seconds.
    """
    until = time.monotonic() + limit
    while time.monotonic() < until:
        try:
            if found := condition():
                return found
        except httpx.TransportError:
            pass
        time.sleep(pause)
    raise AssertionError(f"not within {limit:.0f} s")
