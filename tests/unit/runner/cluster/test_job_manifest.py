"""The Job that is made of a template and an order."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from understudy.errors import ClusterError, ProjectError
from understudy.runner.cluster.job_manifest import manifest
from understudy.runner.cluster.remote import JobSpec, pack
from understudy.runner.projectfile import DockerImage, ProjectFile
from understudy.spec.placement import ClusterPlacement

pytestmark = pytest.mark.unit

URI = "http://mlflow:5000"
SECRET = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}


def order(docker: DockerImage | None = None, **fields: Any) -> JobSpec:
    """Return an order with defaults."""
    project = ProjectFile(Path("/x"), "p", {}, "docker_env", None, docker)
    step = {"command": "echo {a}", "parameters": {}}
    return JobSpec("understudy-train-1", project, Path("/x"), "c0ffee", step, "run", "7", **fields)


def first(job: dict[str, Any]) -> dict[str, Any]:
    """Return the Job's first container."""
    return dict(job["spec"]["template"]["spec"]["containers"][0])


def test_a_template_keeps_what_is_not_ours() -> None:
    """Resources, accounts and secrets stay; name, command and the run's variables are ours."""
    template = {
        "metadata": {"namespace": "x", "generateName": "y", "labels": {"team": "ml"}},
        "spec": {
            "ttlSecondsAfterFinished": 60,
            "activeDeadlineSeconds": 30,
            "template": {
                "spec": {
                    "serviceAccountName": "trainer",
                    "containers": [
                        {
                            "name": "main",
                            "image": "acme/x",
                            "args": ["y"],
                            "env": [SECRET, {"name": "MLFLOW_RUN_ID", "value": "theirs"}],
                        }
                    ],
                }
            },
        },
    }
    before = json.dumps(template)
    job = manifest(order(limit=90.5), ClusterPlacement(), template, URI)
    assert json.dumps(template) == before
    assert job["metadata"]["name"] == "understudy-train-1"
    assert job["metadata"]["labels"]["team"] == "ml"
    assert {"namespace", "generateName"}.isdisjoint(job["metadata"])
    assert (job["spec"]["ttlSecondsAfterFinished"], job["spec"]["backoffLimit"]) == (60, 0)
    assert job["spec"]["activeDeadlineSeconds"] == 30
    container = first(job)
    variables = {one["name"]: one for one in container["env"]}
    assert variables["TOKEN"] == SECRET
    assert variables["MLFLOW_RUN_ID"]["value"] == "run"
    assert len(variables) == len(container["env"])
    assert "args" not in container


def test_the_image_is_the_configurations_then_the_projects_then_the_templates() -> None:
    """Without any, nothing is submitted."""
    template = {"spec": {"template": {"spec": {"containers": [{"image": "third"}]}}}}
    docker = DockerImage("second")
    one = manifest(order(docker), ClusterPlacement(image="r/x:{commit}"), template, URI)
    assert first(one)["image"] == "r/x:c0ffee"
    assert first(manifest(order(docker), ClusterPlacement(), template, URI))["image"] == "second"
    assert first(manifest(order(), ClusterPlacement(), template, URI))["image"] == "third"
    with pytest.raises(ProjectError, match="Nothing names the image"):
        manifest(order(), ClusterPlacement(), {}, URI)


def test_what_the_project_wants_from_outside_comes_from_the_template() -> None:
    """The worker's own value would be readable in the Job."""
    docker = DockerImage("x", copied=("TOKEN",))
    with pytest.raises(ProjectError, match="wants the variables TOKEN"):
        manifest(order(docker), ClusterPlacement(), {}, URI)
    template = {"spec": {"template": {"spec": {"containers": [{"env": [SECRET]}]}}}}
    assert SECRET in first(manifest(order(docker), ClusterPlacement(), template, URI))["env"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"kind": "Pod", "apiVersion": "v1"}, "is of kind Pod of v1"),
        ({"spec": {"parallelism": 2}}, "has parallelism 2"),
        ({"spec": {"completions": 3}}, "has completions 3"),
    ],
)
def test_a_template_that_is_no_single_job_is_refused(
    template: dict[str, Any], message: str
) -> None:
    """A step is one MLflow run."""
    with pytest.raises(ClusterError, match=message):
        manifest(order(), ClusterPlacement(image="x"), template, URI)


def test_the_container_becomes_the_entry_point(tmp_path: Path) -> None:
    """Its command, run here: a value is one word whatever is in it."""
    value = "a 'b' $(touch no) \"c\" {d}"
    step = {"parameters": {"a": {"type": "string", "value": value}}, "command": "echo {a}; exit 7"}
    given = order().step | step | {"folder": str(tmp_path)}
    asked = JobSpec("n", order(DockerImage("x")).project, Path("/x"), "c", given)
    job = manifest(asked, ClusterPlacement(), {}, URI)
    variables = {one["name"]: one["value"].replace("$$(", "$(") for one in first(job)["env"]}
    variables["UNDERSTUDY_STEP"] = json.dumps(given)
    done = subprocess.run(
        first(job)["command"],
        env={"PATH": f"{Path(sys.executable).parent}:{os.defpath}", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.splitlines()[1:], done.returncode) == ([value], 7), done.stderr
    assert not list(tmp_path.iterdir())


def test_an_archive_is_the_same_for_the_same_files(tmp_path: Path) -> None:
    """Whose they are and how old they are does not count; what was read-only can be removed."""
    folder = tmp_path / "project"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.py").write_text("x")
    (folder / ".git").write_text("gitdir: elsewhere")
    (folder / "inner" / "a.py").chmod(0o444)
    packed = []
    for age in (1, 10**9):
        os.utime(folder / "inner" / "a.py", (age, age))
        packed.append(pack(folder, folder, tmp_path).read_bytes())
    assert packed[0] == packed[1]
    with tarfile.open(fileobj=io.BytesIO(packed[0])) as opened:
        assert opened.getnames() == ["inner", "inner/a.py"]
        assert opened.getmember("inner/a.py").mode & 0o200
