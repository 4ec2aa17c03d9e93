"""One-time job runs of a Databricks workspace, through the official SDK, imported when it is used.

MLflow's own backend uploads the project to DBFS, and each of its submissions makes a new run. Here
the project is an artifact of the step's MLflow run, and the submission has the step's key as its
idempotency token, so that submitting it twice makes one run. A new cluster for each step means that
nothing of a step outlives it.

The hook of Airflow's provider (7.23) can submit, read and cancel a run, and not upload a program or
find a run whose submission was not answered; it wants a connection where the SDK finds its own; and
it brings 18 packages, pandas and pyarrow among them, where the SDK comes with MLflow. Its waiting
keeps less than ours (see remote.py). The connection's fields are the provider's all the same.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from understudy.contract import DATABRICKS
from understudy.errors import ClusterError, ProjectError
from understudy.runner.cluster.remote import ENTRY_POINT, Cluster, JobSpec, JobState, JobStatus
from understudy.runner.environment import dependencies
from understudy.spec.placement import DatabricksPlacement

# As job_entry_point writes it, whose text cannot be imported: it is a program for Python 3.8.
_ENDED: Final = "The entry point ended with exit code "
_ANSWER_S: Final = 30
_WAITING: Final = frozenset({"BLOCKED", "PENDING", "QUEUED", "WAITING_FOR_RETRY"})
_ACTIVE: Final = frozenset({"RUNNING", "TERMINATING"})
_ENDS: Final = {
    "SUCCESS": JobState.SUCCEEDED,
    "TIMEDOUT": JobState.TIMED_OUT,
    "CANCELED": JobState.STOPPED,
    "UPSTREAM_CANCELED": JobState.STOPPED,
}
_SECRETS: Final = ("token", "client_secret", "azure_client_secret")


@dataclass(frozen=True)
class DatabricksWorkspace(Cluster):
    """The one-time runs of one workspace; ``given`` has the fields of Airflow's provider."""

    where: DatabricksPlacement
    kind: ClassVar[str] = DATABRICKS
    env_manager: ClassVar[str] = "virtualenv"
    hint: ClassVar[str] = (
        "write MLFLOW_TRACKING_TOKEN: '{{secrets/scope/key}}' in new_cluster's spark_env_vars"
    )

    @property
    def secrets(self) -> tuple[str, ...]:
        """Return the token, or the service principal's secret."""
        return tuple(self.settings[name] for name in _SECRETS if name in self.settings)

    @property
    def place(self) -> str:
        """Return the workspace's host."""
        return urlsplit(self._config.host or "").hostname or "databricks"

    @property
    def watched(self) -> DatabricksPlacement:
        """Return the placement without the cluster, whose variables need not be stored twice."""
        return replace(self.where, new_cluster={}, libraries=())

    @functools.cached_property
    def settings(self) -> dict[str, str]:
        """Arguments of the SDK's ``Config``; {} where it finds them on the worker.

        Raises:
            ClusterError: if the connection opens no workspace.
        """
        given = self.given
        if not given:
            return {}
        login, password = given.get("login") or "", given.get("password") or ""
        if tenant := given.get("azure_tenant_id"):
            known = {"azure_client_id": login, "azure_client_secret": password}
            known |= {"auth_type": "azure-client-secret", "azure_tenant_id": tenant}
        elif given.get("service_principal_oauth"):
            known = {"auth_type": "oauth-m2m", "client_id": login, "client_secret": password}
        else:
            # A person's password is no token, and is not sent as one.
            token = given.get("token") or (password if login in {"", "token"} else "")
            known = {"auth_type": "pat", "token": token}
        host = given.get("host") or ""
        if not host or not all(known.values()):
            raise ClusterError(
                f"The connection {self.where.connection!r} does not say how a workspace is opened",
                allowed="its host; and a token as password (login empty, or 'token'), or the client"
                " id and secret of a service principal with service_principal_oauth or"
                " azure_tenant_id in extra",
                action="correct the connection in Airflow (Admin, Connections)",
            )
        return {"host": host if "://" in host else f"https://{host}", **known}

    def check(self, job_spec: JobSpec) -> None:
        """Raise ClusterError or ProjectError where the run cannot be made."""
        found = ""
        if job_spec.project.docker is not None:
            found = "runs in an image of its own (docker_env)"
        elif job_spec.project.environment_file is None:
            found = "does not say what it needs"
        if found:
            raise ProjectError(
                f"The project {found}",
                allowed=f"a python_env.yaml, or a conda.yaml with pip's part, on {DATABRICKS}",
                action="name its dependencies so, mlflow among them, or use the backend kubernetes",
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
        _ = self.tracking_uri, self._config

    def submit(self, job_spec: JobSpec) -> str:
        """Submit the run; the same name is the same run, whatever became of the answer."""
        # Found again by an earlier submission's name, it has that run's id after the dot.
        name = job_spec.name.partition(".")[0]
        with self._errors():
            made = self._client.api_client.do(
                "POST", "/api/2.1/jobs/runs/submit", body=self._body(name, job_spec)
            )
        return f"{name}.{made['run_id']}"

    def instructions(self, job_spec: JobSpec) -> dict[str, Any]:
        """Return what the job reads from its MLflow run: the step and its environment."""
        wanted = dependencies.read(job_spec.project)
        stages = [list(lines) for lines in wanted.relative_lines()]
        return {**job_spec.step, "python": wanted.python, "requirements": stages}

    def look(self, name: str) -> JobStatus:
        """Return where a run is."""
        run = self._run(name)
        return (
            _status(run.get("state", {}), lambda: self.tail(name, 1))
            if run
            else JobStatus(JobState.GONE, "there is no such run any more")
        )

    def cancel(self, name: str) -> None:
        """Cancel a run; its cluster ends with it."""
        run = self._run(name)
        if run and "state" in run and not run["state"].get("result_state"):
            with self._errors():
                self._client.jobs.cancel_run(run["run_id"])

    def tail(self, name: str, lines: int) -> list[str]:
        """Return the last lines that the driver's program wrote, and its error."""
        run = self._run(name)
        if not run or not run.get("tasks"):
            return []
        with self._errors():
            output = self._client.jobs.get_run_output(run["tasks"][0]["run_id"])
        logged = (output.logs or "").splitlines()[-lines:]
        failure = (output.error or "").splitlines()[-1:] if not logged else []
        return [self.clean(line) for line in (*logged, *failure)]

    def _run(self, name: str) -> dict[str, Any] | None:
        """Return the run of a name, None where there is none.

        A name without a run's id is of a submission whose answer was lost: it is looked for among
        the active runs.
        """
        from databricks.sdk.errors import NotFound
        from databricks.sdk.service.jobs import RunType

        title, _, number = name.partition(".")
        with self._errors():
            if not number:
                active = self._client.jobs.list_runs(active_only=True, run_type=RunType.SUBMIT_RUN)
                number = next((str(run.run_id) for run in active if run.run_name == title), "")
            try:
                return dict(self._client.jobs.get_run(int(number)).as_dict()) if number else None
            except NotFound:
                return None

    def _body(self, name: str, job_spec: JobSpec) -> dict[str, Any]:
        limit = job_spec.limit
        program = {
            "python_file": self._program(),
            "parameters": [job_spec.run_id, job_spec.experiment_id, self.tracking_uri],
        }
        task = {
            "task_key": "step",
            "new_cluster": dict(self.where.new_cluster),
            "libraries": [dict(one) for one in self.where.libraries],
            "spark_python_task": program,
            # A retry is Airflow's: it has an MLflow run of its own.
            "max_retries": 0,
        }
        body = {"run_name": name, "idempotency_token": name, "tasks": [task]}
        return body if limit is None else {**body, "timeout_seconds": max(1, math.ceil(limit))}

    def _program(self) -> str:
        """Upload the driver's program to the user's own folder; return its path."""
        # Nobody else may write there. A hash in the name: jobs of another version of this package
        # may still need theirs.
        from databricks.sdk.service.workspace import ImportFormat

        content, files = ENTRY_POINT.read_bytes(), self._client.workspace
        folder = f"/Users/{self._client.current_user.me().user_name}/.understudy"
        path = f"{folder}/step-{hashlib.sha256(content).hexdigest()[:16]}.py"
        files.mkdirs(folder)
        files.upload(path, io.BytesIO(content), format=ImportFormat.RAW, overwrite=True)
        return f"/Workspace{path}"

    # The SDK

    @functools.cached_property
    def _config(self) -> Any:  # noqa: ANN401 -- the SDK is imported late
        from databricks.sdk.core import Config

        given: dict[str, Any] = {**self.settings, "http_timeout_seconds": _ANSWER_S}
        try:
            return Config(**given, retry_timeout_seconds=_ANSWER_S)
        except ValueError as error:
            raise ClusterError(
                f"No Databricks workspace can be opened: {self.clean(error)}",
                allowed="an Airflow connection of type databricks, or what the Databricks SDK "
                "takes from the worker: DATABRICKS_HOST and DATABRICKS_TOKEN, or a profile",
                action="name such a connection in backend_config",
            ) from error

    @functools.cached_property
    def _client(self) -> Any:  # noqa: ANN401 -- ditto
        from databricks.sdk import WorkspaceClient

        return WorkspaceClient(config=self._config)

    @contextmanager
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
            raise self.unavailable(error) from error
        # The SDK raises ValueError for a login that fails.
        except (DatabricksError, ValueError) as error:
            raise ClusterError(
                f"The workspace {self.place} refuses: {self.clean(error)}",
                allowed="a login that it accepts, and a cluster that its policies admit, by a user "
                "who may create clusters, submit job runs, and write to a workspace folder of "
                "their own",
                action="correct the connection, backend_config, or the user's entitlements",
            ) from error


def _status(state: dict[str, Any], last: Callable[[], list[str]]) -> JobStatus:
    cycle, result = state.get("life_cycle_state", ""), state.get("result_state", "")
    message = state.get("state_message", "")
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
