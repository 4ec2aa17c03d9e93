"""Where steps run: what ``backend=`` and ``backend_config=`` of a pipeline or operator say. Pure.

The names of a Kubernetes configuration are those of MLflow's own backend of that name, so that the
file of ``mlflow run --backend kubernetes --backend-config`` can be taken over; what that backend
does and ours does not is refused with the way that ours has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from understudy.contract import BACKENDS, KUBERNETES, LOCAL
from understudy.declared import declared
from understudy.errors import DeclarationError, listed, nearest
from understudy.redact import secret_in

COMMIT: Final = "{commit}"
"""Stands for the full commit id in the name of an image that was built from the commit."""
_BUILT_BY_MLFLOW: Final = "repository-uri"


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
    poll_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0


_FIELDS: Final = {
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


def placement(
    backend: str, config: Mapping[str, Any], environment: Collection[str] = ()
) -> ClusterPlacement | None:
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
                f"a backend_config with backend={KUBERNETES!r}",
                "name the backend, or remove backend_config",
            )
        return None
    _refuse(config, environment)
    return ClusterPlacement(**{_FIELDS[key]: value for key, value in config.items()})


def _refuse(config: Mapping[str, Any], environment: Collection[str]) -> None:
    if _BUILT_BY_MLFLOW in config:
        raise _wrong(
            f"backend_config has {_BUILT_BY_MLFLOW!r}, for which MLflow builds an image on the "
            "worker and pushes it",
            "the project's own docker_env image, into which the commit's files are brought",
            f"remove it; or have images built elsewhere and name them: image='.../x:{COMMIT}'",
        )
    for key in config:
        if key not in _FIELDS:
            wrong = f"backend_config has {key!r}{nearest(key, _FIELDS)}"
            raise _wrong(wrong, listed(_FIELDS), "correct backend_config")
    if "kube-job-template" in config and "kube-job-template-path" in config:
        raise _wrong("backend_config has two templates", "one of them", "remove the other")
    if secret := secret_in(config.get("tracking-uri", "")):
        raise _wrong(
            f"tracking-uri is a URL with {secret}, which the Job would show",
            "an address without credentials",
            "give the container MLFLOW_TRACKING_TOKEN from a Secret, in kube-job-template",
        )
    if environment:
        raise _wrong(
            f"environment has {listed(environment)}, whose values the Job would show",
            f"no environment with backend={KUBERNETES!r}",
            "give the container its variables in kube-job-template, secrets with secretKeyRef",
        )


def _wrong(found: str, allowed: str, action: str) -> DeclarationError:
    return DeclarationError(found, allowed=allowed, action=action)
