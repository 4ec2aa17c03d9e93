"""Stands in for a Kubernetes API server with one node, as far as Jobs need it.

Faithful where it matters to us: a token is asked for; bodies are decoded strictly against the
official client's own models; names, labels and restart policies are validated as the API does;
a name is given once; deletion without a propagation policy leaves the pods running, as it does for
batch/v1; a Job past its deadline is Failed with DeadlineExceeded, and its pod with its log is gone.
Containers are processes of this machine in a session of their own, with the variables of the
manifest, PATH and HOME only; their image is the environment of Airflow, with the lean MLflow.
Not there: images, scheduling, quotas, admission, watches.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from kubernetes import client as models

TOKEN = "k8s-t0k3n-of-the-cluster"  # noqa: S105 - of a server on loopback
LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
IMAGE = Path(sys.executable).parents[2] / "airflow" / "bin"
JOBS = re.compile(r"/apis/batch/v1/namespaces/([^/]+)/jobs(?:/([^/]+))?")
PODS = re.compile(r"/api/v1/namespaces/([^/]+)/pods(?:/([^/]+)/log)?")


@dataclass
class Pod:
    """One process, and what it wrote."""

    name: str
    job: str
    manifest: dict[str, Any]
    process: subprocess.Popen[bytes] | None
    log: Path
    created: str

    def status(self) -> dict[str, Any]:
        """Return the pod's status as the API has it."""
        name = self.manifest["containers"][0]["name"]
        if self.process is None:
            waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}
            return {"phase": "Pending", "containerStatuses": [_container(name, waiting=waiting)]}
        code = self.process.poll()
        if code is None:
            running = {"startedAt": self.created}
            return {"phase": "Running", "containerStatuses": [_container(name, running=running)]}
        code = 128 - code if code < 0 else code
        ended = {"exitCode": code, "reason": "Error" if code else "Completed"}
        phase = "Failed" if code else "Succeeded"
        return {"phase": phase, "containerStatuses": [_container(name, terminated=ended)]}

    def kill(self) -> None:
        """End the process with its children."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def _container(name: str, **state: Any) -> dict[str, Any]:
    ended = "terminated" in state
    return {
        "name": name, "image": "", "imageID": "", "ready": not ended, "restartCount": 0,
        "state": state,
    }  # fmt: skip


@dataclass
class Server:
    """The state of the cluster.

    Attributes:
        folder: Where logs are.
        address: Where it listens.
        namespaces: Those that exist.
        jobs: Manifests by namespace and name.
        pods: All pods, those of deleted Jobs included.
        requests: Method, path and query of every request.
        lose_answers: So many requests to come are done, and not answered.
        refuse_with: Status that every request gets; 0 for none.
    """

    folder: Path
    address: str = ""
    namespaces: tuple[str, ...] = ("default", "training")
    jobs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    pods: list[Pod] = field(default_factory=list)
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    lose_answers: int = 0
    refuse_with: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def kubeconfig(self) -> dict[str, Any]:
        """Return what opens it."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": self.address}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
        }

    def create(self, namespace: str, job: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Have a Job and its pod."""
        if problem := invalid(job):
            return _status(*problem)
        name = job["metadata"]["name"]
        if (namespace, name) in self.jobs:
            return _status(409, "AlreadyExists", f'jobs.batch "{name}" already exists')
        job["metadata"] |= {"namespace": namespace, "uid": str(uuid.uuid4())}
        job["status"] = {"startTime": _now()}
        self.jobs[namespace, name] = job
        self.pods.append(self._pod(name, job["spec"]["template"]["spec"]))
        return 201, job

    def read(self, namespace: str, name: str) -> tuple[int, dict[str, Any]]:
        """Return a Job as it is now."""
        job = self.jobs.get((namespace, name))
        if job is None:
            return _status(404, "NotFound", f'jobs.batch "{name}" not found')
        if not job["status"].get("conditions"):
            self._advance(name, job)
        return 200, job

    def delete(self, namespace: str, name: str, policy: str) -> tuple[int, dict[str, Any]]:
        """Remove a Job; its pods only where the policy says so."""
        job = self.jobs.pop((namespace, name), None)
        if job is None:
            return _status(404, "NotFound", f'jobs.batch "{name}" not found')
        if policy in {"Background", "Foreground"}:
            self._remove_pods(name)
        return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}

    def running(self) -> list[Pod]:
        """Return the pods whose process lives."""
        return [p for p in self.pods if p.process is not None and p.process.poll() is None]

    def _advance(self, name: str, job: dict[str, Any]) -> None:
        began = datetime.fromisoformat(job["status"]["startTime"])
        limit = job["spec"].get("activeDeadlineSeconds")
        if limit is not None and (datetime.now(UTC) - began).total_seconds() >= limit:
            self._remove_pods(name)
            message = "Job was active longer than specified deadline"
            _conclude(job, "Failed", "DeadlineExceeded", message)
            return
        phase = next(p.status()["phase"] for p in self.pods if p.job == name)
        if phase == "Succeeded":
            _conclude(job, "Complete", "CompletionsReached", "Reached expected number of pods")
        elif phase == "Failed":
            message = "Job has reached the specified backoff limit"
            _conclude(job, "Failed", "BackoffLimitExceeded", message)

    def _remove_pods(self, job: str) -> None:
        for pod in [p for p in self.pods if p.job == job]:
            pod.kill()
            self.pods.remove(pod)

    def _pod(self, job: str, manifest: dict[str, Any]) -> Pod:
        name, process = f"{job}-{uuid.uuid4().hex[:5]}", None
        first, log = manifest["containers"][0], self.folder / f"{name}.log"
        if not first["image"].startswith("absent"):
            variables = {one["name"]: one.get("value", "") for one in first.get("env") or []}
            inside = {
                "PATH": f"{IMAGE}:{os.defpath}",
                "HOME": str(self.folder),
            }
            with log.open("wb") as output:
                process = subprocess.Popen(
                    first["command"],
                    env={**inside, **{n: v.replace("$$(", "$(") for n, v in variables.items()}},
                    cwd=self.folder,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        return Pod(name, job, manifest, process, log, _now())


def _conclude(job: dict[str, Any], kind: str, reason: str, message: str) -> None:
    condition = {"status": "True", "reason": reason, "message": message}
    early = "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget"
    job["status"]["conditions"] = [{"type": word, **condition} for word in (early, kind)]


def invalid(job: dict[str, Any]) -> tuple[int, str, str] | None:
    """Return why the API would refuse a Job, None where it would not."""
    if unknown := list(_unknown(job, models.V1Job, "")):
        return 400, "BadRequest", f"strict decoding error: unknown field {unknown}"
    name, spec = job["metadata"].get("name", ""), job["spec"]["template"]["spec"]
    labels = job["metadata"].get("labels") or {}
    problems = {
        f"metadata.name: Invalid value: {name!r}": not NAME.fullmatch(name),
        f"metadata.labels: Invalid value: {labels}": not all(
            LABEL.fullmatch(v) for v in labels.values()
        ),
        "spec.template.spec.restartPolicy: Unsupported value": spec.get("restartPolicy")
        not in {"Never", "OnFailure"},
        "spec.template.spec.containers: Required value": not all(
            one.get("name") and one.get("image") for one in spec.get("containers") or [{}]
        ),
    }
    found = [text for text, is_wrong in problems.items() if is_wrong]
    return (422, "Invalid", "; ".join(found)) if found else None


def _unknown(value: dict[str, Any], model: type, where: str) -> Iterator[str]:
    """Yield the fields of a body that the client's model of it does not have, or of wrong type."""
    names, kinds = vars(model)["attribute_map"], vars(model)["openapi_types"]
    known = {names[name]: kind for name, kind in kinds.items()}
    for name, inner in value.items():
        kind = known.get(name)
        if kind is None:
            yield f"{where}.{name}"
        else:
            yield from _unknown_in(inner, kind, f"{where}.{name}")


def _unknown_in(value: object, kind: str, where: str) -> Iterator[str]:
    plain = {"str": str, "int": int, "bool": bool}
    if inner := re.fullmatch(r"list\[(.+)\]", kind):
        for number, one in enumerate(value if isinstance(value, list) else []):
            yield from _unknown_in(one, inner[1], f"{where}[{number}]")
    elif kind in plain:
        if not isinstance(value, plain[kind]) or (kind == "int" and isinstance(value, bool)):
            yield f"{where} (is {value!r}, not {kind})"
    elif hasattr(models, kind) and isinstance(value, dict):
        yield from _unknown(value, getattr(models, kind), where)


def _status(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return code, {
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": message,
    }  # fmt: skip


def _now() -> str:
    return datetime.now(UTC).isoformat()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    state: ClassVar[Server]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Read Jobs, pods and logs."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Create a Job."""
        self._answer(self._post)

    def do_DELETE(self) -> None:
        """Delete a Job."""
        self._answer(self._delete)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def _answer(self, act: Callable[[], tuple[int, Any]]) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.body = json.loads(self.rfile.read(length) or b"{}")
        self.parts = urlsplit(self.path)
        with self.state.lock:
            self.state.requests.append((self.command, self.parts.path, self.parts.query))
            code, content = self._allowed() or act()
            if self.state.lose_answers:
                self.state.lose_answers -= 1
                self.close_connection = True
                return
        data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(code)
        kind = "text/plain" if isinstance(content, str) else "application/json"
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _allowed(self) -> tuple[int, dict[str, Any]] | None:
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return _status(401, "Unauthorized", "Unauthorized")
        if self.state.refuse_with:
            return _status(self.state.refuse_with, "Refused", "by the test")
        found = JOBS.fullmatch(self.parts.path) or PODS.fullmatch(self.parts.path)
        if not found or found[1] not in self.state.namespaces:
            return _status(404, "NotFound", f"{self.parts.path} not found")
        return None

    def _get(self) -> tuple[int, Any]:
        if found := JOBS.fullmatch(self.parts.path):
            return self.state.read(found[1], found[2])
        found = PODS.fullmatch(self.parts.path)
        assert found
        query = {name: values[0] for name, values in parse_qs(self.parts.query).items()}
        return self._log(found[2], query) if found[2] else self._pods(query["labelSelector"])

    def _pods(self, selector: str) -> tuple[int, Any]:
        job = selector.removeprefix("job-name=")
        items = [
            {
                "metadata": {"name": p.name, "creationTimestamp": p.created},
                "spec": p.manifest,
                "status": p.status(),
            }
            for p in self.state.pods
            if p.job == job
        ]
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}

    def _log(self, name: str, query: dict[str, str]) -> tuple[int, Any]:
        for pod in self.state.pods:
            if pod.name == name:
                lines = pod.log.read_text().splitlines()[-int(query["tailLines"]) :]
                return 200, "\n".join(lines)
        return _status(404, "NotFound", f'pods "{name}" not found')

    def _post(self) -> tuple[int, Any]:
        found = JOBS.fullmatch(self.parts.path)
        assert found
        return self.state.create(found[1], self.body)

    def _delete(self) -> tuple[int, Any]:
        found = JOBS.fullmatch(self.parts.path)
        assert found
        query = {name: values[0] for name, values in parse_qs(self.parts.query).items()}
        policy = query.get("propagationPolicy") or self.body.get("propagationPolicy", "")
        return self.state.delete(found[1], found[2], policy)


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Server]:
    """Serve a cluster on loopback; end what still runs in it afterwards."""
    state = Server(folder)
    handler = type("Bound", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for pod in state.running():
            pod.kill()


def main() -> None:
    """Serve a cluster until the input ends; print its kubeconfig as one line."""
    with cluster(Path(sys.argv[1])) as state:
        print(json.dumps(state.kubeconfig()), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
