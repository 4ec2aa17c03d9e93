"""What an Airflow connection of type kubernetes opens a cluster with."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.errors import ClusterError
from understudy.runner.cluster.kubernetes_cluster import KubernetesCluster
from understudy.spec.placement import ClusterPlacement

pytestmark = pytest.mark.unit

WHERE = ClusterPlacement(connection="k8s")
TOKEN = "t0k3n-of-somebody"  # noqa: S105 - of nobody
USERS = f"""
users: [{{name: me, user: {{token: {TOKEN}}}}}]
clusters: [{{name: here, cluster: {{server: "https://127.0.0.1:1"}}}}]
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
current-context: here
"""


@pytest.mark.parametrize("prefix", ["", "extra__kubernetes__"])
def test_the_fields_of_airflows_provider(prefix: str) -> None:
    """Also as Airflow 2 wrote them; what opens the cluster is known, and is not shown."""
    given = {"kube_config": USERS, "namespace": "training", "cluster_context": "here"}
    cluster = KubernetesCluster(WHERE, {prefix + name: value for name, value in given.items()})
    assert (cluster.secrets, cluster.place) == ((TOKEN,), "training@here")
    assert TOKEN not in repr(cluster)
    assert cluster.clean(f"Bearer {TOKEN} is wrong") == "Bearer *** is wrong"


@pytest.mark.parametrize(("given", "checked"), [(True, False), ("true", False), ("false", True)])
def test_whether_a_certificate_is_checked(given: Any, checked: bool) -> None:  # noqa: ANN401, FBT001
    """A form gives a bool, the environment text; and text that says false is false."""
    cluster = KubernetesCluster(WHERE, {"kube_config": USERS, "disable_verify_ssl": given})
    assert cluster._api.configuration.verify_ssl is checked


@pytest.mark.parametrize("given", ["just text", "a: [b\ntoken: " + TOKEN, "[]"])
def test_a_kubeconfig_that_is_none(given: str) -> None:
    """The fault is told without the line that has it."""
    with pytest.raises(ClusterError, match="'k8s' is no kubeconfig") as caught:
        _ = KubernetesCluster(WHERE, {"kube_config": given}).secrets
    assert TOKEN not in str(caught.value)
