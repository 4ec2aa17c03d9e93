"""Builds the manifest of a Kubernetes Job from a pipeline's template and a step's job spec. Pure.

A retry is Airflow's, so that a Job tries once. Whatever becomes of Airflow, the Job ends by itself
after the step's time-out, and is removed a day after its end.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from typing import Any, Final

from understudy.errors import ClusterError, ProjectError
from understudy.runner.cluster.remote import ENTRY_POINT, JobSpec
from understudy.runner.environment.container import CODE_FOLDER
from understudy.runner.process.variables import run_variables
from understudy.spec.placement import COMMIT, ClusterPlacement

RUN_ANNOTATION: Final = "understudy/mlflow-run"
_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
_KEPT_S: Final = 86_400
# PID 1 of the container must be the entry point, so that it gets the TERM of a deleted Job.
_PYTHON: Final = 'exec "$(command -v python || command -v python3)" -c "$0"'


def manifest(
    job_spec: JobSpec, where: ClusterPlacement, template: Mapping[str, Any], tracking_uri: str
) -> dict[str, Any]:
    """Return the Job of a job spec.

    Args:
        job_spec: What to run.
        where: The pipeline's settings of the cluster.
        template: A manifest of kind Job; {} for none.
        tracking_uri: The tracking server as the cluster reaches it.

    Raises:
        ClusterError: if the template is no Job, or one of several pods.
        ProjectError: if nothing names an image, or variables are missing.
    """
    job = copy.deepcopy(dict(template))
    _refuse(job)
    job.update(apiVersion="batch/v1", kind="Job")
    metadata = _within(job, "metadata")
    # Another name for each try would make another Job; the namespace is an argument of the call.
    metadata.pop("generateName", None)
    metadata.pop("namespace", None)
    metadata["name"] = job_spec.name
    _within(metadata, "labels")[_MANAGED_BY] = "understudy"
    _within(metadata, "annotations")[RUN_ANNOTATION] = job_spec.run_id
    spec = _within(job, "spec")
    # The defaults are 6 tries (backoffLimit) and a Job that stays for ever.
    spec.setdefault("backoffLimit", 0)
    spec.setdefault("ttlSecondsAfterFinished", _KEPT_S)
    if job_spec.limit is not None:
        given = spec.get("activeDeadlineSeconds", math.inf)
        spec["activeDeadlineSeconds"] = min(given, max(1, math.ceil(job_spec.limit)))
    pod = _within(spec, "template", "spec")
    # A Job's pods may not have "Always", which is the default of a pod.
    pod.setdefault("restartPolicy", "Never")
    pod["containers"] = pod.get("containers") or [{}]
    container: dict[str, Any] = pod["containers"][0]
    container.setdefault("name", "step")
    _fill(container, job_spec, where, tracking_uri)
    return job


def _fill(
    container: dict[str, Any], job_spec: JobSpec, where: ClusterPlacement, tracking_uri: str
) -> None:
    container["image"] = _image(container, job_spec, where)
    container["command"] = ["sh", "-c", _PYTHON, ENTRY_POINT.read_text(encoding="utf-8")]
    container.pop("args", None)
    folder = CODE_FOLDER if COMMIT in where.image else ""
    own = {
        **run_variables(job_spec.run_id, job_spec.experiment_id),
        "MLFLOW_TRACKING_URI": tracking_uri,
        "UNDERSTUDY_STEP": json.dumps({**job_spec.step, "folder": folder}),
    }
    from_template = [one for one in container.get("env") or [] if one.get("name") not in own]
    given = {str(one.get("name")) for one in from_template}
    values = {**_project_variables(job_spec, given), **own}
    # Kubernetes replaces $(NAME) in values, and takes $$( for a literal $(.
    container["env"] = from_template + [
        {"name": name, "value": value.replace("$(", "$$(")} for name, value in values.items()
    ]


def _image(container: Mapping[str, Any], job_spec: JobSpec, where: ClusterPlacement) -> str:
    docker = job_spec.project.docker
    names = (where.image, docker.image if docker else "", container.get("image", ""))
    found = next(filter(None, names), None)
    if found is None:
        raise ProjectError(
            "Nothing names the image that the step runs in",
            allowed="docker_env in the MLproject, image in backend_config, or one in the template",
            action="name an image with Python, MLflow and what the project imports",
        )
    return str(found).replace(COMMIT, job_spec.commit)


def _project_variables(job_spec: JobSpec, given: set[str]) -> dict[str, str]:
    docker = job_spec.project.docker
    if docker is None:
        return {}
    if lacking := [name for name in docker.copied if name not in given]:
        raise ProjectError(
            f"The project's docker_env wants the variables {', '.join(lacking)}",
            allowed="variables that the template's container has",
            action="add them to env in kube-job-template, secrets with secretKeyRef",
        )
    return {name: value for name, value in docker.variables.items() if name not in given}


def _refuse(job: Mapping[str, Any]) -> None:
    kind, version = job.get("kind", "Job"), job.get("apiVersion", "batch/v1")
    found, allowed = f"is of kind {kind} of {version}", "a Job of batch/v1"
    wrong = (kind, version) != ("Job", "batch/v1")
    for name in ("parallelism", "completions"):
        count = (job.get("spec") or {}).get(name, 1)
        if not wrong and count != 1:
            wrong, found = True, f"has {name} {count}"
            allowed = f"{name} 1: a step is one MLflow run"
    if wrong:
        raise ClusterError(
            f"The Job template {found}", allowed=allowed, action="correct the Job template"
        )


def _within(outer: dict[str, Any], *names: str) -> dict[str, Any]:
    # Not setdefault: YAML's "labels:" without a value is None.
    for name in names:
        if outer.get(name) is None:
            outer[name] = {}
        outer = outer[name]
    return outer
