"""Jobs of a Kubernetes cluster, through the official client, which is imported when it is used.

MLflow's own backend names a Job after the clock, passes the entry point's words on without a shell,
and when it cancels deletes the Job but leaves its pod running. Here a Job is named after the step's
key, so that submitting it twice makes one, and it is deleted with its pods.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import yaml

from understudy.contract import KUBERNETES
from understudy.errors import ClusterError
from understudy.redact import hidden, redacted
from understudy.runner.cluster.clusters import reachable, unavailable
from understudy.runner.cluster.job_manifest import RUN_ANNOTATION, has_code, manifest
from understudy.runner.cluster.remote import JobSpec, JobState, JobStatus
from understudy.spec.placement import ClusterPlacement

# Seconds to connect, and to answer.
_TIMEOUT_S: Final = (5, 30)
_TRIES: Final = 3
_PAUSE_S: Final = 1.0
_HINT: Final = "give the container MLFLOW_TRACKING_TOKEN from a Secret, in kube-job-template"
# Characters of a cluster's answer in a message.
_SHOWN: Final = 1000
_NOT_FOUND, _CONFLICT, _TOO_MANY, _SERVER_ERROR = 404, 409, 429, 500
# Reasons for which the kubelet tries again for ever, and nothing changes without a person.
_STUCK: Final = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """What opens a cluster.

    Attributes:
        connection: Its Airflow id, for messages; '' for the worker's own.
        kubeconfig: A kubeconfig's content; None for none.
        path: A kubeconfig on this machine; '' for the usual one.
        context: Of the kubeconfig; '' for its current one.
        namespace: '' for none.
        in_cluster: Whether the pod's own service account is used.
        verify: Whether the cluster's certificate is checked.
    """

    connection: str = ""
    kubeconfig: Mapping[str, Any] | None = field(default=None, repr=False)
    path: str = ""
    context: str = ""
    namespace: str = ""
    in_cluster: bool = False
    verify: bool = True

    @classmethod
    def of_connection(cls, conn_id: str, extra: Mapping[str, Any]) -> ClusterAccess:
        """Return the access that the extra fields of a connection of type ``kubernetes`` describe.

        Raises:
            ClusterError: if its kubeconfig is no mapping.
        """
        given = {name.removeprefix("extra__kubernetes__"): v for name, v in extra.items()}
        return cls(
            connection=conn_id,
            kubeconfig=_mapping(conn_id, given.get("kube_config")),
            path=str(given.get("kube_config_path") or ""),
            context=str(given.get("cluster_context") or ""),
            namespace=str(given.get("namespace") or ""),
            in_cluster=bool(given.get("in_cluster")),
            verify=not given.get("disable_verify_ssl"),
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        users = (self.kubeconfig or {}).get("users") or ()
        parts = (value for user in users for value in _texts(user.get("user")))
        return tuple(part for part in parts if part)


@dataclass(frozen=True)
class KubernetesCluster:
    """The Jobs of one namespace of one cluster."""

    where: ClusterPlacement
    access: ClusterAccess
    kind: ClassVar[str] = KUBERNETES
    env_manager: ClassVar[str] = "docker"

    @property
    def place(self) -> str:
        """Return namespace and cluster, without anything secret."""
        context = self.where.context or self.access.context
        return f"{self.namespace}@{context or self.access.connection or 'kubernetes'}"

    @property
    def watched(self) -> ClusterPlacement:
        """Return the placement without its template, and with the namespace from the template."""
        return replace(self.where, namespace=self.namespace, template=None, template_path="")

    @property
    def has_code(self) -> bool:
        """Return whether the image was built from the commit."""
        return has_code(self.where)

    @functools.cached_property
    def namespace(self) -> str:
        """The namespace of the Jobs."""
        named = self.where.namespace or (self._template.get("metadata") or {}).get("namespace")
        return str(named or self.access.namespace or "default")

    def check(self, job_spec: JobSpec) -> None:
        """Raise ClusterError or ProjectError where the Job cannot be made."""
        manifest(job_spec, self.where, self._template, self._tracking_uri)
        self._module()

    def submit(self, job_spec: JobSpec) -> str:
        """Create the Job; after a lost answer it is there already, and is not made again."""
        body = manifest(job_spec, self.where, self._template, self._tracking_uri)
        with self._errors():
            for left in reversed(range(_TRIES)):
                try:
                    self._batch.create_namespaced_job(
                        self.namespace, body, _request_timeout=_TIMEOUT_S
                    )
                except Exception as error:
                    # It exists: made by an earlier try of ours whose answer was lost, or by others.
                    if getattr(error, "status", None) == _CONFLICT:
                        break
                    if not left or not _passing(error):
                        raise
                    time.sleep(_PAUSE_S)
                else:
                    return job_spec.name
        self._refuse_stranger(job_spec)
        return job_spec.name

    def instructions(self, job_spec: JobSpec) -> None:
        """Return None: the Job has its instructions in a variable."""
        del job_spec

    def look(self, name: str) -> JobStatus:
        """Return where the Job is."""
        with self._errors():
            job = self._read(name)
            if job is None:
                return JobStatus(JobState.GONE, "there is no such Job any more")
            pods = self._pods(name)
        return _status(job, pods)

    def cancel(self, name: str) -> None:
        """Delete the Job and, unlike the API's default, its pods."""
        with self._errors():
            self._unless_gone(
                self._batch.delete_namespaced_job,
                name,
                propagation_policy="Background",
            )

    def tail(self, name: str, lines: int) -> list[str]:
        """Return the last lines of the newest pod's first container."""
        with self._errors():
            text = ""
            for pod in self._pods(name)[-1:]:
                text = self._unless_gone(
                    self._core.read_namespaced_pod_log,
                    pod.metadata.name,
                    container=pod.spec.containers[0].name,
                    tail_lines=lines,
                )
        return [redacted(line) for line in str(text or "").splitlines()]

    # Reading

    def _read(self, name: str) -> Any:  # noqa: ANN401 -- the client's model
        return self._unless_gone(self._batch.read_namespaced_job, name)

    def _unless_gone(self, call: Callable[..., Any], name: str, **options: Any) -> Any:  # noqa: ANN401
        """Return what a call answers, None where there is nothing of that name."""
        try:
            return call(name, self.namespace, _request_timeout=_TIMEOUT_S, **options)
        except self._module().client.ApiException as error:
            if error.status != _NOT_FOUND:
                raise
        return None

    def _pods(self, name: str) -> list[Any]:
        found = self._core.list_namespaced_pod(
            self.namespace, label_selector=f"job-name={name}", _request_timeout=_TIMEOUT_S
        )
        return sorted(found.items, key=lambda pod: str(pod.metadata.creation_timestamp))

    def _refuse_stranger(self, job_spec: JobSpec) -> None:
        with self._errors():
            job = self._read(job_spec.name)
        run_id = None if job is None else (job.metadata.annotations or {}).get(RUN_ANNOTATION)
        if run_id != job_spec.run_id:
            raise ClusterError(
                f"There is a Job {job_spec.name} in {self.place} that is of the MLflow run"
                f" {run_id}",
                allowed=f"none, or that of the run {job_spec.run_id}",
                action="look who made it; clear the task when it is gone",
            )

    # The client

    @functools.cached_property
    def _api(self) -> Any:  # noqa: ANN401 -- the client is imported late
        module = self._module()
        configuration = module.client.Configuration()
        with self._errors():
            self._configure(module.config, configuration)
        configuration.verify_ssl = configuration.verify_ssl and self.access.verify
        # urllib3 would repeat calls by itself; which may be repeated is decided here.
        configuration.retries = False
        return module.client.ApiClient(configuration)

    def _configure(self, config: Any, into: Any) -> None:  # noqa: ANN401 -- ditto
        access, context = self.access, self.where.context or self.access.context or None
        given = {"client_configuration": into, "context": context}
        if access.kubeconfig is not None:
            config.load_kube_config_from_dict(dict(access.kubeconfig), **given)
        elif access.in_cluster:
            config.load_incluster_config(client_configuration=into)
        elif access.path:
            config.load_kube_config(access.path, **given)
        else:
            # As kubectl does: a worker without a kubeconfig is itself a pod of the cluster.
            places = os.environ.get("KUBECONFIG", "~/.kube/config").split(os.pathsep)
            if any(Path(place).expanduser().exists() for place in places):
                config.load_kube_config(**given)
            else:
                config.load_incluster_config(client_configuration=into)

    @property
    def _batch(self) -> Any:  # noqa: ANN401 -- ditto
        return self._module().client.BatchV1Api(self._api)

    @property
    def _core(self) -> Any:  # noqa: ANN401 -- ditto
        return self._module().client.CoreV1Api(self._api)

    def _module(self) -> Any:  # noqa: ANN401 -- ditto
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

    # What a cluster answers

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the client's errors into ours; none of them may show what opens the cluster."""
        from urllib3.exceptions import HTTPError

        config_error = self._module().config.ConfigException
        api_error = self._module().client.ApiException
        try:
            yield
        except api_error as error:
            raise self._refused(error) from error
        except HTTPError as error:
            raise unavailable(self.place, self._clean(str(error))) from error
        except (config_error, OSError, yaml.YAMLError) as error:
            raise ClusterError(
                f"The cluster of {self.place} cannot be opened: {self._clean(str(error))}",
                allowed="an Airflow connection of type kubernetes, a kubeconfig, or a pod's "
                "account",
                action="name such a connection in backend_config, and test it with kubectl",
            ) from error

    def _refused(self, error: Any) -> ClusterError:  # noqa: ANN401 -- ditto
        answer = self._clean(f"{error.status} {error.reason}: {error.body}")
        if _passing(error):
            return unavailable(self.place, answer)
        return ClusterError(
            f"The cluster of {self.place} refuses: {answer}",
            allowed="a Job that its rules admit, by an account that may create, get and delete "
            "jobs, list pods and get pods/log in the namespace",
            action="correct backend_config, the project, or the account's role",
        )

    def _clean(self, text: str) -> str:
        return hidden(redacted(text), self.access.secrets)[:_SHOWN]

    # The pipeline's settings

    @functools.cached_property
    def _template(self) -> Mapping[str, Any]:
        if self.where.template is not None:
            return self.where.template
        if not self.where.template_path:
            return {}
        try:
            found = yaml.safe_load(Path(self.where.template_path).read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError) as error:
            raise _no_template(self.where.template_path, str(error)) from error
        if not isinstance(found, dict):
            raise _no_template(self.where.template_path, "it is no mapping")
        return found

    @property
    def _tracking_uri(self) -> str:
        given = self.where.tracking_uri or os.environ.get("KUBE_MLFLOW_TRACKING_URI", "")
        return given or reachable(os.environ.get("MLFLOW_TRACKING_URI", ""), _HINT)


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


def _passing(error: Exception) -> bool:
    """Return whether the same call may succeed later: no answer, too many, a server's error."""
    status = getattr(error, "status", None)
    return status is None or not status or status == _TOO_MANY or status >= _SERVER_ERROR


def _no_template(path: str, why: str) -> ClusterError:
    return ClusterError(
        f"The Job template {path} cannot be read: {why}",
        allowed="a file on the worker with a manifest of kind Job, in YAML",
        action="correct kube-job-template-path, or write the manifest as kube-job-template",
    )


def _mapping(conn_id: str, given: object) -> Mapping[str, Any] | None:
    """Return a kubeconfig that a connection holds as text or as a mapping."""
    if not given:
        return None
    try:
        found = yaml.safe_load(given) if isinstance(given, str) else given
    except yaml.YAMLError:
        found = None
    if isinstance(found, Mapping):
        return found
    raise ClusterError(
        f"kube_config of the connection {conn_id!r} is no kubeconfig",
        allowed="the content of a kubeconfig, as JSON or YAML",
        action="correct the connection's extra",
    )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str) and len(value) > len("exec-api"):
        yield value
