"""Runs a step in a project's Docker image, through the engine's command line ``docker``.

Folders are mounted where they are, so that a path means the same inside and outside; values of
variables never stand on a command line. Containers carry the scratch folder of their step as a
label: one whose step is dead is found by it, and removed by the next step.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from understudy.errors import EnvironmentBuildError, ProjectError
from understudy.runner.environment.recipes import BuildTools
from understudy.runner.locks import FileLock
from understudy.runner.process.process import Command
from understudy.runner.projectfile import DockerImage

HOST_LABEL = "understudy.host"
SCRATCH_LABEL = "understudy.scratch"
CODE_FOLDER = "/mlflow/projects/code"
"""Where MLflow's own backend has the project in a container."""
_CONTAINMENT = Path(__file__).with_name("containment.py")
_REMOVAL_S = 5.0
_REACH = "start the engine, or let the worker's user reach it; the task may then be run again"
_PULL = (
    "correct the image's name in the MLproject, log in to its registry (docker login) as this"
    " worker's user, or build the image here (docker build)"
)
_ENGINE_VARIABLES = "DOCKER_"
# These are paths and settings of this machine; the image has its own.
_STAY_OUTSIDE = frozenset({
    "PATH", "HOME", "SHELL", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH", "XDG_CACHE_HOME", "TERM", "COLUMNS", "NETRC",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
})  # fmt: skip
# An image need not have bash, which is what MLflow runs a project's command with.
_SHELL = 'if command -v bash >/dev/null; then exec bash "$0"; else exec sh "$0"; fi'
_FACTS = (
    '{"id":{{json .Id}},"digests":{{json .RepoDigests}},"platform":"{{.Os}}/{{.Architecture}}"}'
)


class MissingEngineError(EnvironmentBuildError):
    """There is no Docker on this machine; a retry cannot help."""

    retryable = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The folders and addresses outside its environment that a step uses.

    Attributes:
        code: Folder of the code; only read, unless it is below ``scratch``.
        scratch: Folder of the attempt.
        readable: Further folders and files that are only read.
        writable: Folders of a tracking store that is on this machine.
        tracking: Address of the tracking server.
        options: Further options of ``docker run``.
    """

    code: Path
    scratch: Path
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()
    tracking: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Container:
    """An image that is on this machine, to run a step in.

    Attributes:
        engine: The command ``docker``.
        docker: The project's ``docker_env``.
        image_id: Id of the image that its name stood for when the step began.
        digests: The image's names in registries, by content.
        platform: Such as "linux/amd64".
    """

    engine: Path
    docker: DockerImage
    image_id: str
    digests: tuple[str, ...]
    platform: str

    def about(self) -> dict[str, str]:
        """Return the image's facts for the record of the environment."""
        return {
            "Docker image": self.docker.image,
            "Id": self.image_id,
            "Digests": " ".join(self.digests),
            "Platform": self.platform,
        }

    @contextlib.contextmanager
    def entered(self, command: Command, around: Surroundings) -> Iterator[Command]:
        """Yield a command that runs ``command`` in a container, which is gone afterwards.

        Raises:
            ProjectError: if the project needs a variable that is not set.
        """
        if lacking := [one for one in self.docker.copied if one not in command.environment]:
            raise ProjectError(
                f"The project's docker_env wants the variables {', '.join(lacking)}",
                allowed="variables that the step may see",
                action="name them in environment= and set them where the worker runs",
            )
        name = f"understudy-{around.scratch.name}"
        variables = {**command.environment, **self.docker.variables}
        # Half of the grace for the container to end, so that its kill still comes before ours.
        control = (str(self.engine), name, str(command.grace / 2))
        options = (*self._options(command, around, variables), self.image_id)
        try:
            yield replace(
                command,
                argv=(
                    *(sys.executable, "-I", "-S", str(_CONTAINMENT), *control, *options),
                    *("sh", "-c", _SHELL, command.argv[-1]),
                ),
                environment={**variables, **engine_variables()},
            )
        finally:
            self._remove(name)

    def _options(
        self, command: Command, around: Surroundings, variables: Mapping[str, str]
    ) -> Iterator[str]:
        yield from ("--rm", "--init", "--pull=never", "--log-driver=none")
        # As root it would leave files in the scratch folder that we could not remove.
        yield f"--user={os.getuid()}:{os.getgid()}"
        yield f"--label={HOST_LABEL}={socket.gethostname()}"
        yield f"--label={SCRATCH_LABEL}={around.scratch}"
        yield f"--workdir={command.folder}"
        yield from _mounts(command.folder, around)
        yield from (f"--volume={volume}" for volume in self.docker.volumes)
        # Names only: docker reads the values from its own environment, so no process list has them.
        yield from (f"--env={name}" for name in sorted(set(variables) - _STAY_OUTSIDE))
        yield f"--env=HOME={command.environment.get('TMPDIR', '/tmp')}"  # noqa: S108 - inside
        # docker's --init is tini; a shell does not pass TERM on to its command.
        yield "--env=TINI_KILL_PROCESS_GROUP=1"
        given = " ".join(around.options)
        # Else "localhost" would be the container's own loopback.
        if _is_loopback(around.tracking) and not any(word in given for word in ("--net", "-net")):
            yield "--network=host"
        yield from around.options

    def _remove(self, name: str) -> None:
        """Remove the container if it still exists; a later sweep gets those of a hanging engine."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                (self.engine, "rm", "--force", "--volumes", name),
                env={"PATH": os.environ.get("PATH", os.defpath), **engine_variables()},
                capture_output=True,
                check=False,
                timeout=_REMOVAL_S,
            )


def find_engine() -> Path | None:
    """Return the command ``docker`` of this machine, or None."""
    found = shutil.which("docker")
    return Path(found) if found else None


def prepare(docker: DockerImage, tools: BuildTools, others: Iterable[str]) -> Container:
    """Return an image as it is on this machine; pull it if it is not.

    Args:
        docker: The project's ``docker_env``.
        tools: Runs the engine's command line.
        others: Environment managers that work here, for the message of an error.

    Raises:
        MissingEngineError: if there is no Docker.
        EnvironmentBuildError: if the engine does not answer, or the image cannot be had.
    """
    engine = find_engine()
    if engine is None:
        raise MissingEngineError(
            f"The project runs in the Docker image {docker.image}, and this machine has no docker "
            "on PATH",
            allowed=f"what is here: {', '.join(others)}",
            action="install Docker on the worker and let its user reach the engine, or write a "
            "python_env.yaml in place of docker_env",
        )
    tools = replace(tools, variables=engine_variables())
    answers = "a Docker engine that answers this worker's user (try: docker info)"
    # Before the image is looked at: that fails for an image that is not here in the same way as for
    # an engine that does not answer.
    tools.run(engine, "version", "--format", "{{.Server.Version}}", hint=answers, action=_REACH)
    look = (engine, "image", "inspect", "--format", _FACTS, docker.image)
    try:
        facts = tools.ask(*look)
    except EnvironmentBuildError:
        tools.on_line(f"Pulling the image {docker.image}")
        can = "an image that this worker's user can pull, or one that is here"
        tools.run(engine, "pull", "--quiet", docker.image, hint=can, action=_PULL)
        facts = tools.ask(*look)
    known = json.loads(facts)
    digests = tuple(known["digests"] or ())
    return Container(engine, docker, known["id"], digests, known["platform"])


def sweep(container: Container, tools: BuildTools) -> int:
    """Remove the containers of this machine's dead steps; return how many.

    A step holds a lock in its scratch folder for as long as it lives.
    """
    tools = replace(tools, variables=engine_variables())
    own = f"label={HOST_LABEL}={socket.gethostname()}"
    form = f'{{{{.ID}}}} {{{{.Label "{SCRATCH_LABEL}"}}}}'
    lines = tools.ask(container.engine, "ps", "--all", "--filter", own, "--format", form)
    listed = (line.split(" ", 1) for line in lines.splitlines() if " " in line)
    dead = [name for name, scratch in listed if _is_dead(Path(scratch))]
    if dead:
        removal = ("rm", "--force", "--volumes", *dead)
        can = "an engine that removes containers"
        tools.run(container.engine, *removal, hint=can, action=_REACH)
    return len(dead)


def engine_variables() -> dict[str, str]:
    """Return the variables by which the engine's command line finds the engine."""
    return {name: v for name, v in os.environ.items() if name.startswith(_ENGINE_VARIABLES)}


def _is_dead(scratch: Path) -> bool:
    if not (scratch / ".lock").exists():
        return True
    with FileLock(scratch / ".lock").exclusive_if_free() as lock:
        return lock is not None


def _mounts(workdir: Path, around: Surroundings) -> Iterator[str]:
    own = "" if workdir.is_relative_to(around.scratch) else ",readonly"
    yield f"--mount=type=bind,source={workdir},target={CODE_FOLDER}{own}"
    for path in (around.code, *around.readable):
        # What is below the scratch folder comes with it, and is the step's own.
        if not path.is_relative_to(around.scratch):
            yield f"--mount=type=bind,source={path},target={path},readonly"
    for path in (around.scratch, *around.writable):
        yield f"--mount=type=bind,source={path},target={path}"


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")
