"""Stands in for the command ``docker`` where there is no engine: containers are process groups.

What matters to us is as with the real one: the client passes TERM on, killing the client leaves the
container running, only named variables are inside, unknown options are refused with 125. Its state
is in the folder ``DOCKER_CONFIG``. Not there: images, mounts, users, networks.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["DOCKER_CONFIG"])
FLAGS = {"--rm", "--init", "--pull=never", "--log-driver=none"}
VALUED = {"--user", "--label", "--workdir", "--mount", "--volume", "--env", "--network"}
REFUSED = 125


def main(argv: list[str]) -> int:
    """Do what a command asks for; return docker's exit code for it."""
    match argv:
        case ["version", "--format", _]:
            print("0.0 (stand-in)")
        case ["image", "inspect", "--format", _, name]:
            return inspect(name)
        case ["pull", "--quiet", name]:
            return pull(name)
        case ["run", "--name", name, *rest]:
            return run(name, rest)
        case ["kill", name]:
            return kill(name)
        case ["rm", "--force", "--volumes", *names]:
            for name in names:
                kill(name)
        case ["ps", "--all", "--filter", label, "--format", _]:
            list_containers(label.removeprefix("label="))
        case _:
            print(f"docker: unknown command {argv}", file=sys.stderr)
            return REFUSED
    return 0


def inspect(name: str) -> int:
    """Describe an image that was pulled."""
    if not (STATE / f"{name}.image").exists():
        print(f"Error: No such image: {name}", file=sys.stderr)
        return 1
    print(json.dumps({"id": f"sha256:{'5a' * 32}", "digests": [], "platform": "linux/amd64"}))
    return 0


def pull(name: str) -> int:
    """Have an image, unless its name says that there is none."""
    if name.startswith("absent"):
        print(f"Error: pull access denied for {name}", file=sys.stderr)
        return 1
    (STATE / f"{name}.image").touch()
    return 0


def run(name: str, rest: list[str]) -> int:
    """Run a command in a session of its own and wait for it, passing TERM on."""
    labels, inside, folder = [], {"PATH": os.environ["PATH"]}, "/"
    while rest[0].startswith("--"):
        option, _, value = rest.pop(0).partition("=")
        if f"{option}={value}" not in FLAGS and option not in VALUED | FLAGS:
            print(f"unknown flag: {option}", file=sys.stderr)
            return REFUSED
        if option == "--label":
            labels.append(value)
        elif option == "--workdir":
            folder = value
        elif option == "--env":
            key, given, own = value.partition("=")
            if given or key in os.environ:
                inside[key] = own if given else os.environ[key]
    container = subprocess.Popen(rest[1:], env=inside, cwd=folder, start_new_session=True)
    record = STATE / f"{name}.container"
    record.write_text(json.dumps({"pid": container.pid, "labels": labels}))
    signal.signal(signal.SIGTERM, lambda *_: os.killpg(container.pid, signal.SIGTERM))
    code = container.wait()
    record.unlink(missing_ok=True)
    return code if code >= 0 else 128 - code


def kill(name: str) -> int:
    """Kill a container."""
    record = STATE / f"{name}.container"
    if not record.exists():
        print(f"Error: No such container: {name}", file=sys.stderr)
        return 1
    with contextlib.suppress(ProcessLookupError):
        os.killpg(json.loads(record.read_text())["pid"], signal.SIGKILL)
    record.unlink(missing_ok=True)
    return 0


def list_containers(wanted: str) -> None:
    """Print name and scratch folder of each container with a label."""
    for record in STATE.glob("*.container"):
        labels = json.loads(record.read_text())["labels"]
        if wanted in labels:
            scratch = dict(label.split("=", 1) for label in labels)["understudy.scratch"]
            print(record.stem, scratch)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
