"""Where steps run: what ``backend=`` and ``backend_config=`` of a pipeline or operator say. Pure.

The names of a configuration are those of MLflow's own backend of that name, so that the file of
``mlflow run --backend kubernetes --backend-config`` can be taken over; what that backend does and
ours does not is refused with the way that ours has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from understudy.contract import BACKENDS, DATABRICKS, KUBERNETES, LOCAL
from understudy.errors import DeclarationError, listed, nearest
from understudy.redact import secret_in
from understudy.spec.declared import declared

COMMIT: Final = "{commit}"
"""Stands for the full commit id in the name of an image that was built from the commit."""
_BUILT_BY_MLFLOW: Final = "repository-uri"
_Seconds = Annotated[float, Field(gt=0, le=3600)]


@declared
class ClusterPlacement:
    """How steps run as Jobs of a Kubernetes cluster.

    Attributes:
        connection: Airflow connection (type ``kubernetes``) that opens the cluster; '' for the
            worker's own kubeconfig, or the service account of the pod that the worker is.
        context: Context of the kubeconfig; '' for its current one.
        namespace: Of the Jobs; '' for the template's, then the connection's, then ``default``.
        image: The container's; '' for the project's docker_env, then the template's. With
            ``{commit}`` in it, the image holds the project in MLflow's /mlflow/projects/code.
        template: A manifest of kind Job to start from; None for an empty one.
        template_path: File on the worker with such a manifest, in YAML; '' for none.
        tracking_uri: The tracking server as the cluster reaches it; '' for the worker's own.
        poll_seconds: How long the trigger waits between two looks at the Job.
    """

    connection: str = ""
    context: str = ""
    namespace: str = ""
    image: str = ""
    template: Mapping[str, Any] | None = None
    template_path: str = ""
    tracking_uri: str = ""
    poll_seconds: _Seconds = 10.0


@declared
class DatabricksPlacement:
    """How steps run as one-time job runs of a Databricks workspace.

    Attributes:
        new_cluster: The cluster that is made for each step, as Databricks' Jobs API takes it; {} is
            enough to look at runs that are there already.
        libraries: What is installed on it beside the project's own environment.
        connection: Airflow connection (type ``databricks``) that opens the workspace; '' for what
            the Databricks SDK finds on the worker.
        tracking_uri: The tracking server as the cluster reaches it; '' for the worker's own.
        poll_seconds: How long the trigger waits between two looks at the run.
    """

    new_cluster: Mapping[str, Any] = Field(default_factory=dict, repr=False)
    libraries: Sequence[Mapping[str, Any]] = ()
    connection: str = ""
    tracking_uri: str = ""
    poll_seconds: _Seconds = 10.0


Placement = ClusterPlacement | DatabricksPlacement

_KUBERNETES_FIELDS: Final = {
    "connection": "connection",
    "kube-context": "context",
    "namespace": "namespace",
    "image": "image",
    "kube-job-template": "template",
    "kube-job-template-path": "template_path",
    "tracking-uri": "tracking_uri",
    "poll-seconds": "poll_seconds",
}
"""Keys of ``backend_config``, and the fields that they are."""
_DATABRICKS_FIELDS: Final = {
    "new_cluster": "new_cluster",
    "libraries": "libraries",
    "connection": "connection",
    "tracking-uri": "tracking_uri",
    "poll-seconds": "poll_seconds",
}
_VARIABLES: Final = {
    KUBERNETES: "give the container its variables in kube-job-template, with secretKeyRef",
    DATABRICKS: "write spark_env_vars in new_cluster, secrets as {{secrets/scope/key}}",
}
"""What to do instead of naming variables of the worker."""


def placement(
    backend: str, config: Mapping[str, Any], environment: Collection[str] = ()
) -> Placement | None:
    """Return how steps run on a cluster; None where they run on the worker.

    Args:
        backend: One of ``understudy.contract.BACKENDS``.
        config: What ``backend_config`` says.
        environment: Names of the worker's variables that the steps want.

    Raises:
        DeclarationError: naming what is wrong.
    """
    if backend not in BACKENDS:
        wrong = f"backend is {backend!r}{nearest(backend, BACKENDS)}"
        raise _wrong(wrong, listed(BACKENDS), "correct backend")
    if backend == LOCAL:
        if config:
            raise _wrong(
                f"backend_config has {listed(config)} and backend is {LOCAL!r}",
                f"a backend_config with backend={KUBERNETES!r} or {DATABRICKS!r}",
                "name the backend, or remove backend_config",
            )
        return None
    if backend == KUBERNETES:
        _refuse_kubernetes(config)
    else:
        _refuse_databricks(config)
    # Known faults first, each with its own remedy; then the general check for unknown keys.
    fields = _KUBERNETES_FIELDS if backend == KUBERNETES else _DATABRICKS_FIELDS
    _refuse(backend, config, fields, environment)
    return placed(backend, {fields[key]: value for key, value in config.items()})


def placed(backend: str, fields: Mapping[str, Any]) -> Placement:
    """Return the placement that has these fields."""
    return ClusterPlacement(**fields) if backend == KUBERNETES else DatabricksPlacement(**fields)


def _refuse_kubernetes(config: Mapping[str, Any]) -> None:
    if _BUILT_BY_MLFLOW in config:
        raise _wrong(
            f"backend_config has {_BUILT_BY_MLFLOW!r}, for which MLflow builds an image on the "
            "worker and pushes it",
            "the project's own docker_env image, into which the commit's files are brought",
            f"remove it; or have images built elsewhere and name them: image='.../x:{COMMIT}'",
        )
    if "kube-job-template" in config and "kube-job-template-path" in config:
        raise _wrong("backend_config has two templates", "one of them", "remove the other")


def _refuse_databricks(config: Mapping[str, Any]) -> None:
    if "spark_version" in config:
        raise _wrong(
            "backend_config is the specification of a cluster itself",
            'that specification under "new_cluster"',
            'write {"new_cluster": {...}}, which MLflow takes, too',
        )
    if not config.get("new_cluster"):
        raise _wrong(
            f"backend_config has {listed(config) if config else 'nothing'}, and no new_cluster",
            "a cluster of each step's own, so that nothing of another step is on it",
            'write {"new_cluster": {"spark_version": ..., "node_type_id": ..., "num_workers": 0}}',
        )


def _refuse(
    backend: str,
    config: Mapping[str, Any],
    fields: Collection[str],
    environment: Collection[str],
) -> None:
    for key in config:
        if key not in fields:
            wrong = f"backend_config has {key!r}{nearest(key, fields)}"
            raise _wrong(wrong, listed(fields), "correct backend_config")
    # The address is written into the job as a plain variable.
    if secret := secret_in(config.get("tracking-uri", "")):
        raise _wrong(
            f"tracking-uri is a URL with {secret}, which the Job would show",
            "an address without credentials",
            f"give the Job MLFLOW_TRACKING_TOKEN: {_VARIABLES[backend]}",
        )
    if environment:
        raise _wrong(
            f"environment has {listed(environment)}, whose values the Job would show",
            f"no environment with backend={backend!r}",
            _VARIABLES[backend],
        )


def _wrong(found: str, allowed: str, action: str) -> DeclarationError:
    return DeclarationError(found, allowed=allowed, action=action)
