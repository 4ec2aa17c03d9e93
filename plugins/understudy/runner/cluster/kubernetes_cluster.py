"""Jobs of a Kubernetes cluster, through the official client, which is imported when it is used.

MLflow's own backend names a Job after the clock, passes the entry point's words on without a shell,
and when it cancels deletes the Job but leaves its pod running. Here a Job is named after the step's
key, so that submitting it twice makes one, and it is deleted with its pods.

The hook of Airflow's provider (10.25) could do no more here than open the client: it cannot delete
a Job, and its waiting keeps less than ours (see remote.py). For that it holds the client below 37,
writes the kubeconfig to disk, turns certificate checks off for the whole process, and asks for the
pod's account before a kubeconfig. The connection's fields are the provider's all the same.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import yaml

from understudy.contract import KUBERNETES
from understudy.errors import ClusterError
from understudy.redact import plain
from understudy.runner.cluster.job_manifest import RUN_ANNOTATION, manifest
from understudy.runner.cluster.remote import Cluster, JobSpec, JobState, JobStatus
from understudy.spec.placement import COMMIT, ClusterPlacement

# Seconds to connect, and to answer.
_TIMEOUT_S: Final = (5, 30)
_TRIES: Final = 3
_NOT_FOUND, _CONFLICT = 404, 409
_PASSING: Final = frozenset({0, 429, *range(500, 600)})
"""Statuses after which the same call may succeed later: no answer, too many, a server's error."""
# Reasons for which the kubelet tries again for ever, and nothing changes without a person.
_STUCK: Final = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
})  # fmt: skip


@dataclass(frozen=True)
class KubernetesCluster(Cluster):
    """The Jobs of one namespace of one cluster; ``given`` has the fields of Airflow's provider."""

    where: ClusterPlacement
    kind: ClassVar[str] = KUBERNETES
    env_manager: ClassVar[str] = "docker"
    hint: ClassVar[str] = (
        "give the container MLFLOW_TRACKING_TOKEN from a Secret, in kube-job-template"
    )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return every text that the kubeconfig's users have."""
        users = (self._kubeconfig or {}).get("users") or ()
        return tuple(text for user in users for text in _texts(user.get("user")))

    @property
    def place(self) -> str:
        """Return namespace and cluster, without anything secret."""
        return f"{self.namespace}@{self._context or self.where.connection or 'kubernetes'}"

    @property
    def watched(self) -> ClusterPlacement:
        """Return the placement without its template, and with the namespace from the template."""
        return replace(self.where, namespace=self.namespace, template=None, template_path="")

    @property
    def has_code(self) -> bool:
        """Return whether the image was built from the commit."""
        return COMMIT in self.where.image

    @property
    def tracking_uri(self) -> str:
        """The tracking server; MLflow's backend has a variable of its own for its address."""
        variable = os.environ.get("KUBE_MLFLOW_TRACKING_URI", "")
        return self.where.tracking_uri or variable or super().tracking_uri

    @functools.cached_property
    def namespace(self) -> str:
        """The namespace of the Jobs."""
        named = self.where.namespace or (self._template.get("metadata") or {}).get("namespace")
        return str(named or self._field("namespace") or "default")

    def check(self, job_spec: JobSpec) -> None:
        """Raise ClusterError or ProjectError where the Job cannot be made."""
        self._manifest(job_spec)
        _ = self._module

    def submit(self, job_spec: JobSpec) -> str:
        """Create the Job; after a lost answer it is there already, and is not made again."""
        create, name = self._batch.create_namespaced_job, job_spec.name
        if self._call(create, _CONFLICT, body=self._manifest(job_spec)) is None:
            # It exists: made by an earlier try of ours whose answer was lost, or by others.
            job = self._job(name)
            run_id = None if job is None else (job.metadata.annotations or {}).get(RUN_ANNOTATION)
            if run_id != job_spec.run_id:
                raise ClusterError(
                    f"There is a Job {name} in {self.place} that is of the MLflow run {run_id}",
                    allowed=f"none, or that of the run {job_spec.run_id}",
                    action="look who made it; clear the task when it is gone",
                )
        return name

    def look(self, name: str) -> JobStatus:
        """Return where the Job is."""
        job = self._job(name)
        if job is None:
            return JobStatus(JobState.GONE, "there is no such Job any more")
        return _status(job, self._pods(name))

    def cancel(self, name: str) -> None:
        """Delete the Job and, unlike the API's default, its pods."""
        delete = self._batch.delete_namespaced_job
        self._call(delete, _NOT_FOUND, name=name, propagation_policy="Background")

    def tail(self, name: str, lines: int) -> list[str]:
        """Return the last lines of the newest pod's first container."""
        text = ""
        for pod in self._pods(name)[-1:]:
            container, read = pod.spec.containers[0].name, self._core.read_namespaced_pod_log
            given = {"name": pod.metadata.name, "container": container, "tail_lines": lines}
            text = self._call(read, _NOT_FOUND, **given) or ""
        return [plain(line) for line in str(text).split("\n")]

    def _job(self, name: str) -> Any:  # noqa: ANN401 -- the client's model
        return self._call(self._batch.read_namespaced_job, _NOT_FOUND, name=name)

    def _pods(self, name: str) -> list[Any]:
        listing, selector = self._core.list_namespaced_pod, f"job-name={name}"
        found = self._call(listing, label_selector=selector).items
        return sorted(found, key=lambda pod: str(pod.metadata.creation_timestamp))

    def _call(self, call: Callable[..., Any], unless: int = -1, **given: Any) -> Any:  # noqa: ANN401
        """Return what a call in the namespace answers, None where it answers with that status."""
        with self._errors():
            try:
                return call(namespace=self.namespace, _request_timeout=_TIMEOUT_S, **given)
            except self._module.client.ApiException as error:
                if error.status != unless:
                    raise
        return None

    # The client, and what it raises

    @functools.cached_property
    def _module(self) -> Any:  # noqa: ANN401 -- the client is imported late
        try:
            import kubernetes
            import kubernetes.config
        except ImportError as error:
            raise ClusterError(
                "The package kubernetes is not installed here",
                allowed="understudy[kubernetes], on workers and triggerers",
                action="pip install 'understudy[kubernetes]'",
            ) from error
        return kubernetes

    @functools.cached_property
    def _api(self) -> Any:  # noqa: ANN401 -- ditto
        from urllib3 import Retry

        configuration, config = self._module.client.Configuration(), self._module.config
        given = {"client_configuration": configuration, "context": self._context or None}
        path = self._field("kube_config_path")
        # As kubectl does: a worker without a kubeconfig is itself a pod of the cluster.
        usual = os.environ.get("KUBECONFIG", "~/.kube/config").split(os.pathsep)
        known = path or any(Path(place).expanduser().exists() for place in usual)
        with self._errors():
            if self._kubeconfig is not None:
                config.load_kube_config_from_dict(dict(self._kubeconfig), **given)
            elif known and not self._is_set("in_cluster"):
                config.load_kube_config(path or None, **given)
            else:
                config.load_incluster_config(client_configuration=configuration)
        if self._is_set("disable_verify_ssl"):
            configuration.verify_ssl = False
        # Each call may be repeated: a Job's name is given once, and a second deletion finds none.
        configuration.retries = Retry(
            _TRIES - 1, status_forcelist=_PASSING, allowed_methods=None, backoff_factor=0.5,
            raise_on_status=False, respect_retry_after_header=False,
        )  # fmt: skip
        return self._module.client.ApiClient(configuration)

    @property
    def _batch(self) -> Any:  # noqa: ANN401 -- ditto
        return self._module.client.BatchV1Api(self._api)

    @property
    def _core(self) -> Any:  # noqa: ANN401 -- ditto
        return self._module.client.CoreV1Api(self._api)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the client's errors into ours; none of them may show what opens the cluster."""
        from urllib3.exceptions import HTTPError

        try:
            yield
        except self._module.client.ApiException as error:
            answer = f"{error.status} {error.reason}: {error.body}"
            if (error.status or 0) in _PASSING:
                raise self.unavailable(answer) from error
            raise ClusterError(
                f"The cluster of {self.place} refuses: {self.clean(answer)}",
                allowed="a Job that its rules admit, by an account that may create, get and delete "
                "jobs, list pods and get pods/log in the namespace",
                action="correct backend_config, the project, or the account's role",
            ) from error
        except HTTPError as error:
            raise self.unavailable(error) from error
        except (self._module.config.ConfigException, OSError, yaml.YAMLError) as error:
            raise ClusterError(
                f"The cluster of {self.place} cannot be opened: {self.clean(error)}",
                allowed="an Airflow connection of type kubernetes, a kubeconfig, or a pod's "
                "account",
                action="name such a connection in backend_config, and test it with kubectl",
            ) from error

    # The connection and the pipeline's settings

    def _field(self, name: str) -> Any:  # noqa: ANN401 -- a connection's field may be anything
        return self.given.get(name) or self.given.get(f"extra__kubernetes__{name}") or ""

    def _is_set(self, name: str) -> bool:
        return str(self._field(name)).lower() == "true"

    @property
    def _context(self) -> str:
        return self.where.context or str(self._field("cluster_context"))

    @functools.cached_property
    def _kubeconfig(self) -> Mapping[str, Any] | None:
        """The kubeconfig that the connection holds as text or as a mapping; None for none."""
        given = self._field("kube_config")
        try:
            found = yaml.safe_load(given) if isinstance(given, str) else given
        except yaml.YAMLError:
            # Its text is not shown, because it has the line with the fault, or a secret.
            found = ""
        if found is None or isinstance(found, Mapping):
            return found
        raise ClusterError(
            f"kube_config of the connection {self.where.connection!r} is no kubeconfig",
            allowed="the content of a kubeconfig, as JSON or YAML",
            action="correct the connection's extra",
        )

    @functools.cached_property
    def _template(self) -> Mapping[str, Any]:
        path = self.where.template_path
        if self.where.template is not None or not path:
            return self.where.template or {}
        try:
            found = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            found = error
        if isinstance(found, dict):
            return found
        why = found if isinstance(found, Exception) else "it is no mapping"
        raise ClusterError(
            f"The Job template {path} cannot be read: {why}",
            allowed="a file on the worker with a manifest of kind Job, in YAML",
            action="correct kube-job-template-path, or write the manifest as kube-job-template",
        )

    def _manifest(self, job_spec: JobSpec) -> dict[str, Any]:
        return manifest(job_spec, self.where, self._template, self.tracking_uri)


def _status(job: Any, pods: list[Any]) -> JobStatus:  # noqa: ANN401 -- the client's models
    conditions = {c.type: c for c in job.status.conditions or () if c.status == "True"}
    if "Complete" in conditions:
        return JobStatus(JobState.SUCCEEDED, exit_code=0)
    if failed := conditions.get("Failed"):
        late = failed.reason == "DeadlineExceeded"
        ended = _terminated(pods)
        reason = "" if ended is None else ended.reason or ""
        # The Job's own message does not have the container's reason, such as OOMKilled.
        plain = reason in {"", "Error", "Completed"}
        details = (failed.message or failed.reason, "" if plain else f"the container was {reason}")
        code = None if late or ended is None else int(ended.exit_code)
        state = JobState.TIMED_OUT if late else JobState.FAILED
        return JobStatus(state, "; ".join(filter(None, details)), code)
    if job.metadata.deletion_timestamp is not None:
        return JobStatus(JobState.GONE, "the Job was deleted")
    running = any(pod.status.phase == "Running" for pod in pods)
    return JobStatus(JobState.RUNNING if running else JobState.PENDING, _obstacle(pods))


def _terminated(pods: list[Any]) -> Any:  # noqa: ANN401 -- ditto
    # The newest pod first; a template may add sidecars after the step's container.
    for pod in reversed(pods):
        for status in pod.status.container_statuses or ():
            if status.name == pod.spec.containers[0].name and status.state.terminated:
                return status.state.terminated
    return None


def _obstacle(pods: list[Any]) -> str:
    """Return what keeps the pod from running, as the cluster reports it."""
    for pod in pods:
        for status in pod.status.container_statuses or ():
            waiting = status.state.waiting if status.state else None
            if waiting is not None and waiting.reason in _STUCK:
                return f"{waiting.reason}: {waiting.message or ''}"
        for condition in pod.status.conditions or ():
            if condition.type == "PodScheduled" and condition.status == "False":
                return f"{condition.reason}: {condition.message or ''}"
    return ""


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, (Mapping, list)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)
    elif isinstance(value, str) and len(value) > len("exec-api"):
        yield value
