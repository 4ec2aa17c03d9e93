"""One-time job runs of a Databricks workspace, through the official SDK, imported when it is used.

MLflow's own backend uploads the project to DBFS, and each of its submissions makes a new run. Here
the project is an artifact of the step's MLflow run, and the submission has the step's key as its
idempotency token, so that submitting it twice makes one run. A new cluster for each step means that
nothing of a step outlives it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from understudy.contract import DATABRICKS
from understudy.errors import ClusterError, ProjectError
from understudy.redact import hidden, redacted
from understudy.runner.cluster.clusters import reachable, unavailable
from understudy.runner.cluster.remote import JobSpec, JobState, JobStatus
from understudy.runner.environment import dependencies
from understudy.spec.placement import DatabricksPlacement

_PROGRAM: Final = Path(__file__).with_name("driver_entry_point.py")
# As driver_entry_point writes it, whose text cannot be imported: it is a program for Python 3.8.
_ENDED: Final = "The entry point ended with exit code "
_TASK: Final = "step"
_ANSWER_S: Final = 30
# Characters of a workspace's answer in a message.
_SHOWN: Final = 1000
_HINT: Final = (
    "write MLFLOW_TRACKING_TOKEN: '{{secrets/scope/key}}' in new_cluster's spark_env_vars"
)
_WAITING: Final = frozenset({"BLOCKED", "PENDING", "QUEUED", "WAITING_FOR_RETRY"})
_ACTIVE: Final = frozenset({"RUNNING", "TERMINATING"})
_ENDS: Final = {
    "SUCCESS": JobState.SUCCEEDED,
    "TIMEDOUT": JobState.TIMED_OUT,
    "CANCELED": JobState.STOPPED,
    "UPSTREAM_CANCELED": JobState.STOPPED,
}


@dataclass(frozen=True, slots=True)
class WorkspaceAccess:
    """What opens a workspace.

    Attributes:
        connection: Its Airflow id, for messages; '' for what the SDK finds on the worker.
        settings: Arguments of the SDK's ``Config``.
    """

    connection: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of_connection(
        cls, conn_id: str, host: str, user: tuple[str, str], extra: Mapping[str, Any]
    ) -> WorkspaceAccess:
        """Return the access that a connection of type ``databricks`` describes, as in its provider.

        Args:
            conn_id: Its id.
            host: The workspace's address.
            user: Login and password: ``token`` or '' and a personal access token; or a service
                principal's client id and secret, where ``extra`` has ``service_principal_oauth``
                or ``azure_tenant_id``.
            extra: ``token`` and the two just named.

        Raises:
            ClusterError: if it opens no workspace.
        """
        login, password = user
        tenant, token = extra.get("azure_tenant_id"), extra.get("token")
        if tenant or extra.get("service_principal_oauth"):
            kind = "azure-client-secret" if tenant else "oauth-m2m"
            prefix = "azure_" if tenant else ""
            known = {f"{prefix}client_id": login, f"{prefix}client_secret": password}
            known |= {"azure_tenant_id": tenant} if tenant else {}
        else:
            kind, known = "pat", {"token": token or (password if login in {"", "token"} else "")}
        if not host or not all(known.values()):
            raise ClusterError(
                f"The connection {conn_id!r} does not say how a workspace is opened",
                allowed="its host; and a token as password (login empty, or 'token'), or the client"
                " id and secret of a service principal with service_principal_oauth or"
                " azure_tenant_id in extra",
                action="correct the connection in Airflow (Admin, Connections)",
            )
        address = host if "://" in host else f"https://{host}"
        return cls(conn_id, {"host": address, "auth_type": kind, **known})

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        names = ("token", "client_secret", "azure_client_secret")
        return tuple(str(self.settings[name]) for name in names if self.settings.get(name))


@dataclass(frozen=True)
class DatabricksWorkspace:
    """The one-time runs of one workspace."""

    where: DatabricksPlacement
    access: WorkspaceAccess
    kind: ClassVar[str] = DATABRICKS
    env_manager: ClassVar[str] = "virtualenv"
    has_code: ClassVar[bool] = False

    @property
    def place(self) -> str:
        """Return the workspace's host."""
        return urlsplit(self._config.host or "").hostname or "databricks"

    @property
    def watched(self) -> DatabricksPlacement:
        """Return the placement without the cluster, whose variables need not be stored twice."""
        return replace(self.where, new_cluster={}, libraries=())

    def check(self, job_spec: JobSpec) -> None:
        """Raise ClusterError or ProjectError where the run cannot be made."""
        if job_spec.project.docker is not None:
            raise ProjectError(
                "The project runs in an image of its own (docker_env)",
                allowed=f"a python_env.yaml, or a conda.yaml with pip's part, on {DATABRICKS}",
                action="describe its environment so, or use the backend kubernetes",
            )
        if job_spec.project.environment_file is None:
            raise ProjectError(
                "The project does not say what it needs",
                allowed=f"a python_env.yaml, or a conda.yaml with pip's part, on {DATABRICKS}",
                action="add a python_env.yaml with its dependencies, mlflow among them",
            )
        wanted = dependencies.read(job_spec.project)
        if wanted.credentials:
            raise ProjectError(
                "The project's requirements have an address with a password, and what a job reads "
                "is stored",
                allowed="addresses without passwords, or with ${NAME} in their place, on "
                f"{DATABRICKS}",
                action="name a variable that spark_env_vars of new_cluster sets from a secret",
            )
        # Both raise where they are not usable.
        _ = self._tracking_uri, self._config

    def submit(self, job_spec: JobSpec) -> str:
        """Submit the run; the same name is the same run, whatever became of the answer."""
        # Found again by an earlier submission's name, it has that run's id after the dot.
        name = job_spec.name.partition(".")[0]
        with self._errors():
            submitted = self._client.api_client.do(
                "POST", "/api/2.1/jobs/runs/submit", body=self._body(name, job_spec)
            )
        return f"{name}.{submitted['run_id']}"

    def instructions(self, job_spec: JobSpec) -> dict[str, Any]:
        """Return what the job reads from its MLflow run: the step and its environment."""
        wanted = dependencies.read(job_spec.project)
        stages = [list(lines) for lines in wanted.relative_lines()]
        return {**job_spec.step, "python": wanted.python, "requirements": stages}

    def look(self, name: str) -> JobStatus:
        """Return where a run is."""
        with self._errors():
            run = self._run(name)
        return _status(run, lambda: self.tail(name, 1))

    def cancel(self, name: str) -> None:
        """Cancel a run; its cluster ends with it."""
        with self._errors():
            run = self._run(name)
            if run is not None and run.state and not run.state.result_state:
                self._client.jobs.cancel_run(run.run_id)

    def tail(self, name: str, lines: int) -> list[str]:
        """Return the last lines that the driver's program wrote, and its error."""
        with self._errors():
            run = self._run(name)
            if run is None or not run.tasks:
                return []
            output = self._client.jobs.get_run_output(run.tasks[0].run_id)
        logged = (output.logs or "").splitlines()[-lines:]
        failure = (output.error or "").splitlines()[-1:] if not logged else []
        return [self._clean(line) for line in (*logged, *failure)]

    def _run(self, name: str) -> Any:  # noqa: ANN401 -- the SDK's model
        """Return the run of a name, None where there is none.

        A name without a run's id is of a submission whose answer was lost: it is looked for among
        the active runs.
        """
        from databricks.sdk.errors import NotFound
        from databricks.sdk.service.jobs import RunType

        title, _, number = name.partition(".")
        if not number:
            active = self._client.jobs.list_runs(active_only=True, run_type=RunType.SUBMIT_RUN)
            number = next((str(run.run_id) for run in active if run.run_name == title), "")
        if not number:
            return None
        try:
            return self._client.jobs.get_run(int(number))
        except NotFound:
            return None

    def _body(self, name: str, job_spec: JobSpec) -> dict[str, Any]:
        limit = (
            {} if job_spec.limit is None else {"timeout_seconds": max(1, math.ceil(job_spec.limit))}
        )
        program = {
            "python_file": self._program(),
            "parameters": [job_spec.run_id, job_spec.experiment_id, self._tracking_uri],
        }
        task = {
            "task_key": _TASK,
            "new_cluster": dict(self.where.new_cluster),
            "libraries": [dict(one) for one in self.where.libraries],
            "spark_python_task": program,
            # A retry is Airflow's: it has an MLflow run of its own.
            "max_retries": 0,
        }
        return {"run_name": name, "idempotency_token": name, "tasks": [task], **limit}

    def _program(self) -> str:
        """Upload the driver's program to the user's own folder; return its path."""
        # Nobody else may write there. A hash in the name: jobs of another version of this package
        # may still need theirs.
        from databricks.sdk.service.workspace import ImportFormat

        content = _PROGRAM.read_bytes()
        folder = f"/Users/{self._client.current_user.me().user_name}/.understudy"
        path = f"{folder}/step-{hashlib.sha256(content).hexdigest()[:16]}.py"
        self._client.workspace.mkdirs(folder)
        self._client.workspace.upload(
            path, io.BytesIO(content), format=ImportFormat.RAW, overwrite=True
        )
        return f"/Workspace{path}"

    # The SDK

    @functools.cached_property
    def _config(self) -> Any:  # noqa: ANN401 -- the SDK is imported late
        from databricks.sdk.core import Config

        try:
            return Config(
                **self.access.settings,
                http_timeout_seconds=_ANSWER_S,
                retry_timeout_seconds=_ANSWER_S,
            )
        except ValueError as error:
            raise ClusterError(
                f"No Databricks workspace can be opened: {self._clean(str(error))}",
                allowed="an Airflow connection of type databricks, or what the Databricks SDK "
                "takes from the worker: DATABRICKS_HOST and DATABRICKS_TOKEN, or a profile",
                action="name such a connection in backend_config",
            ) from error

    @functools.cached_property
    def _client(self) -> Any:  # noqa: ANN401 -- ditto
        from databricks.sdk import WorkspaceClient

        return WorkspaceClient(config=self._config)

    @property
    def _tracking_uri(self) -> str:
        given = self.where.tracking_uri
        return given or reachable(os.environ.get("MLFLOW_TRACKING_URI", ""), _HINT)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the SDK's errors into ours; none of them may show what opens the workspace."""
        import requests
        from databricks.sdk import errors
        from databricks.sdk.errors.base import DatabricksError

        passing = (errors.TooManyRequests, errors.InternalError, errors.TemporarilyUnavailable)
        silent = (requests.RequestException, TimeoutError, errors.DeadlineExceeded)
        try:
            yield
        except (*passing, *silent) as error:
            raise unavailable(self.place, self._clean(str(error))) from error
        except DatabricksError as error:
            raise ClusterError(
                f"The workspace {self.place} refuses: {self._clean(str(error))}",
                allowed="a cluster that its policies admit, by a user who may create clusters, "
                "submit job runs, and write to a workspace folder of their own",
                action="correct backend_config, or the user's entitlements",
            ) from error
        except ValueError as error:
            # The SDK raises it for a login that fails.
            raise ClusterError(
                f"The workspace {self.place} cannot be opened: {self._clean(str(error))}",
                allowed="a login that it accepts",
                action="correct the connection, or the worker's Databricks settings",
            ) from error

    def _clean(self, text: str) -> str:
        return hidden(redacted(text), self.access.secrets)[:_SHOWN]


def _status(run: Any, last: Callable[[], list[str]]) -> JobStatus:  # noqa: ANN401 -- the SDK's
    if run is None:
        return JobStatus(JobState.GONE, "there is no such run any more")
    state = run.state
    cycle, result = _word(state.life_cycle_state), _word(state.result_state)
    message = state.state_message or ""
    if cycle in _WAITING:
        return JobStatus(JobState.PENDING, message)
    if cycle in _ACTIVE:
        return JobStatus(JobState.RUNNING, message)
    ended = _ENDS.get(result, JobState.FAILED)
    if ended is JobState.FAILED:
        # Only the program's last line has its exit code, and one that was killed writes none.
        line = (last() or [""])[-1]
        code = int(line.removeprefix(_ENDED)) if line.startswith(_ENDED) else None
        return JobStatus(ended, message or result or cycle, code)
    return JobStatus(ended, message, 0 if ended is JobState.SUCCEEDED else None)


def _word(value: Any) -> str:  # noqa: ANN401 -- an enumeration of the SDK, or None
    return "" if value is None else str(value.value)
