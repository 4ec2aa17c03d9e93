"""docker-compose.yaml keeps its promises on paper: a fast test that reads it and starts nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import understudy
from understudy.containers import worker
from understudy.containers.first_start import FOLDERS

pytestmark = pytest.mark.unit

CHECKOUT = Path(__file__).parents[2]
OBSOLETE = {"version"}
OBSOLETE_IN_SERVICES = {"container_name", "links", "external_links", "volumes_from", "log_driver"}
SECRET = re.compile(r"(?i)passw|secret|token|fernet|api_?key")
Service = dict[str, Any]


def _stack() -> dict[str, Any]:
    content = yaml.safe_load((CHECKOUT / "docker-compose.yaml").read_text("utf-8"))
    assert isinstance(content, dict)
    return content


STACK = _stack()
SERVICES: dict[str, Service] = STACK["services"]
ONE_SHOT = {
    name
    for service in SERVICES.values()
    for name, awaited in service.get("depends_on", {}).items()
    if awaited["condition"] == "service_completed_successfully"
}
LASTING = sorted(SERVICES.keys() - ONE_SHOT)


def _strings(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from (str(key), *_strings(value))
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value)
    else:
        yield str(node)


def _default(reference: str) -> str:
    """Return a text as it is when no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", reference)


def _variables() -> Iterator[tuple[str, str]]:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            yield name, str(value)


def test_no_key_is_obsolete() -> None:
    """Compose warns about these, or has something better."""
    assert not OBSOLETE & STACK.keys()
    for service in SERVICES.values():
        assert not OBSOLETE_IN_SERVICES & service.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    """An address of 0.0.0.0, the default, would be open past the host's firewall."""
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", _default(port))


def test_only_the_pages_are_published() -> None:
    """Databases, broker and store are nobody's business outside."""
    pages = {"api-server", "champion", "grafana", "mlflow", "prometheus"}
    assert {name for name in SERVICES if SERVICES[name].get("ports")} == pages


def test_only_mlflow_reaches_the_store() -> None:
    """Its internal ports know no accounts."""
    there = {name for name in SERVICES if "store" in SERVICES[name].get("networks", ())}
    assert there == {"mlflow", "store"}
    assert SERVICES["store"]["networks"] == ["store"]
    assert STACK["networks"]["store"]["internal"]


def test_steps_see_none_of_airflows_keys() -> None:
    """Workers run projects' code; the champion's server and the metrics need only to read."""
    allowed = {
        "worker": {"worker-secrets", "tracking-secrets"},
        "heavy-worker": {"worker-secrets", "tracking-secrets"},
        "champion": {"reader-secrets"},
        "metrics": {"reader-secrets"},
    }
    for name, volumes in allowed.items():
        mounts = (mount.partition(":")[0] for mount in SERVICES[name]["volumes"])
        assert {mount for mount in mounts if mount.endswith("-secrets")} == volumes
        assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" not in SERVICES[name]["environment"]


@pytest.mark.parametrize("name", LASTING)
def test_memory_and_processes_are_limited(name: str) -> None:
    """One service's leak must not end the others."""
    limits = SERVICES[name]["deploy"]["resources"]["limits"]
    assert {"memory", "pids"} <= limits.keys()


@pytest.mark.parametrize("extra", ["gpu", "git-dags"])
def test_what_is_added_belongs_to_services_that_exist(extra: str) -> None:
    """A further file that names another service would make an incomplete one."""
    added = yaml.safe_load(_text(f"docker-compose.{extra}.yaml"))
    assert added["services"].keys() <= SERVICES.keys()


def test_every_secret_has_a_folder_in_the_image_and_a_volume() -> None:
    """A volume takes the owner of the folder in the image: without one, nobody could write."""
    mounts = (mount.split(":") for mount in SERVICES["secrets"]["volumes"])
    assert {target for _, target in mounts} == {f"/etc/understudy/{name}" for name in FOLDERS}
    made = re.findall(r"install -d .*-m 07\d\d ([a-z ]+)", _text("Dockerfile"))
    assert set(FOLDERS) <= set(" ".join(made).split())


def test_no_variable_holds_a_secret() -> None:
    """Variables show in ``docker inspect``: what is secret is named as a file, or not at all."""
    for name, value in _variables():
        if SECRET.search(name):
            assert name.endswith("_FILE"), name
            assert value.startswith("/"), name


def test_no_address_holds_a_password() -> None:
    """Libpq takes the passwords from a file that its owner alone can read."""
    for text in _strings(STACK):
        assert not re.search(r"://[^/@\s]*:[^/@\s]+@", text)


def test_no_variable_for_a_secret_has_a_default() -> None:
    """A default password is everybody's password."""
    for text in _strings(STACK):
        for name in re.findall(r"\$\{(\w+):?-", text):
            assert not SECRET.search(name)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    """To a version, by a tag that can be replaced with a digest or a mirror's name."""
    tag = _default(SERVICES[name]["image"]).partition(":")[2]
    assert re.match(r"v?\d", tag)


def test_the_base_image_is_pinned_alike_in_both_files() -> None:
    """Docker build without compose makes the same image."""
    compose = _default(SERVICES["secrets"]["build"]["args"]["PYTHON_IMAGE"])
    dockerfile = (CHECKOUT / "Dockerfile").read_text("utf-8")
    assert f"ARG PYTHON_IMAGE={compose}\n" in dockerfile
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", compose)


def test_the_image_has_the_version_of_the_package() -> None:
    """So that an older image is not taken for the checkout's."""
    assert _default(SERVICES["mlflow"]["image"]) == f"understudy:{understudy.__version__}"


def _text(name: str) -> str:
    return (CHECKOUT / name).read_text("utf-8")


@pytest.mark.parametrize("name", LASTING)
def test_whatever_lasts_has_a_health_check_and_is_restarted(name: str) -> None:
    """A health check is a command, without a shell, that may fail a few times."""
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["healthcheck"]["retries"] > 1
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(ONE_SHOT))
def test_what_runs_once_is_not_restarted(name: str) -> None:
    """Its failure must end the start, and be seen."""
    assert SERVICES[name]["restart"] == "no"


@pytest.mark.parametrize("name", LASTING)
def test_services_wait_for_health_and_not_for_a_start(name: str) -> None:
    """A container that was started may be far from answering."""
    for awaited in SERVICES[name].get("depends_on", {}).values():
        assert awaited["condition"] in {"service_healthy", "service_completed_successfully"}


@pytest.mark.parametrize("name", SERVICES)
def test_logs_are_bounded_and_privileges_are_not_gained(name: str) -> None:
    """Docker itself keeps a log for ever."""
    service = SERVICES[name]
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_change_its_image_or_has_roots_rights(name: str) -> None:
    """But workers, whose projects write to their home. An official image gives its data away."""
    service, works = SERVICES[name], name in {"worker", "heavy-worker"}
    assert service["cap_drop"] == ["ALL"]
    ours = {"KILL", "SETGID", "SETUID"} if works else set()
    official = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"}
    assert set(service.get("cap_add", ())) in (ours, official)
    assert service["read_only"] is not works


@pytest.mark.parametrize("name", ["worker", "heavy-worker"])
def test_no_step_reads_what_its_worker_knows(name: str) -> None:
    """The passwords lie where root alone may go, and root imports nothing that a step wrote."""
    service = SERVICES[name]
    (mount,) = (one for one in service["volumes"] if one.startswith("worker-secrets:"))
    assert mount.split(":")[1] == str(worker.CLOSED / "worker")
    assert f"install -d -m 0700 {worker.CLOSED} " in _text("Dockerfile")
    assert not str(worker.CLOSED).startswith("/etc/understudy")  # all of that is in a backup
    assert not {"PGPASSFILE", "AIRFLOW__CELERY__RESULT_BACKEND"} & service["environment"].keys()
    assert service["environment"]["AIRFLOW_HOME"].startswith("/opt/")
    for command in (service["command"], service["healthcheck"]["test"][1:]):
        assert command[0] == "python"
        assert command[1].startswith("-I")


def test_the_stores_last_port_asks_for_a_certificate() -> None:
    """SeaweedFS has it open wherever its S3 interface is."""
    variables = SERVICES["store"]["environment"]
    assert set(variables) == {"WEED_GRPC_CA", "WEED_GRPC_S3_CERT", "WEED_GRPC_S3_KEY"}
    assert set(variables.values()) == {"/etc/understudy/store/peers.pem"}


def test_what_steps_write_is_not_run_by_the_champions_server() -> None:
    """A step may write into environments and uv's cache: the volumes are two."""
    mounts = {
        name: {mount.partition(":")[0] for mount in SERVICES[name]["volumes"] if ":ro" not in mount}
        for name in ("worker", "champion")
    }
    assert not mounts["worker"] & mounts["champion"]


def test_the_stores_parts_listen_where_only_they_are() -> None:
    """Filer, master and volumes ask nobody for credentials; the host reaches every bridge."""
    command = SERVICES["store"]["command"]
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.ip.bind=0.0.0.0"} <= set(command)


def test_the_repository_is_asked_for_by_name() -> None:
    """Compose then ends with the sentence that says where to write it."""
    asked = {value for name, value in _variables() if name == "AIRFLOW_VAR_UNDERSTUDY_REPOSITORY"}
    assert len(asked) == 1
    assert asked.pop().startswith("${UNDERSTUDY_REPOSITORY:?")


def test_every_volume_is_declared_and_used() -> None:
    """A name that is mistyped on one side would lose data at the next start."""
    mounts = [
        _default(mount) for service in SERVICES.values() for mount in service.get("volumes", [])
    ]
    sources = {mount.partition(":")[0] for mount in mounts}
    assert {source for source in sources if not source.startswith(".")} == set(STACK["volumes"])
    for mount in mounts:
        if mount.startswith("."):
            assert mount.endswith(":ro")


def test_only_the_first_start_may_write_secrets() -> None:
    """A reader that could write them could lock out the others."""
    for name in SERVICES.keys() - {"secrets"}:
        for mount in SERVICES[name].get("volumes", []):
            source, _, options = mount.split(":", 2) if mount.count(":") > 1 else (mount, "", "")
            if "-secrets" in source:
                assert "ro" in options.split(","), mount
