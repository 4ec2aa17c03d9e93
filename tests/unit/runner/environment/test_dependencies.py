"""python_env.yaml and conda.yaml: read in full, or refused with a sentence that helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import ProjectError
from understudy.runner.environment import dependencies

pytestmark = pytest.mark.unit


def written(folder: Path, content: str) -> Path:
    """Write an environment file."""
    path = folder / "env.yaml"
    path.write_text(content)
    return path


def test_python_env_with_a_lock_file(tmp_path: Path) -> None:
    """Lines stay, files become absolute, and their content is in the digest, their place not."""
    content = (
        'python: "3.11"\nbuild_dependencies: [pip]\ndependencies: [-r lock.txt, "six==1.16.0"]'
    )
    digests = []
    for name, pin in (("a", "x==1"), ("b", "x==1"), ("c", "x==2")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "lock.txt").write_text("-r more.txt\n")
        (folder / "more.txt").write_text(pin)
        found = dependencies.read(written(folder, content), conda=False)
        assert found.lines == ("pip", f"-r {folder}/lock.txt", "six==1.16.0")
        assert [file.name for file in found.files] == ["lock.txt", "more.txt"]
        digests.append(found.digest())
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("content", "python", "lines"),
    [
        ("dependencies: [python=3.11, pip, {pip: [mlflow]}]", "3.11", ("mlflow",)),
        ("dependencies: [python==3.11.7]", "3.11.7", ()),
        ("dependencies: ['python>=3.10', {pip: [a, b]}]", ">=3.10", ("a", "b")),
        ("{}", "", ()),
    ],
)
def test_conda(tmp_path: Path, content: str, python: str, lines: tuple[str, ...]) -> None:
    """The pip part is enough where conda brings only Python."""
    found = dependencies.read(written(tmp_path, content), conda=True)
    assert (found.python, found.lines) == (python, lines)


@pytest.mark.parametrize(
    ("content", "conda", "message"),
    [
        ("python: 3.10", False, "number"),
        ("pyhton: '3.10'", False, "unknown fields: pyhton"),
        ("dependencies: six", False, "not a list of strings"),
        ("dependencies: [1]", False, "not a list of strings"),
        ("- a", False, "not a mapping"),
        ("a: [", False, "cannot be read"),
        ("dependencies: [-r gone.txt]", False, "gone.txt, which is not there"),
        ("dependencies: ['-e .']", False, "installs from a folder"),
        ("dependencies: ['./x']", False, "installs from a folder"),
        ("dependencies: ['x @ file:///x']", False, "installs from a folder"),
        ("dependencies: [numpy=1.26, scipy]", True, "only conda can install: numpy=1.26, scipy"),
    ],
)
def test_refused(tmp_path: Path, content: str, conda: bool, message: str) -> None:  # noqa: FBT001
    """Nothing is dropped silently."""
    with pytest.raises(ProjectError, match=r"Allowed: .* Next: ") as caught:
        dependencies.read(written(tmp_path, content), conda=conda)
    assert message in str(caught.value)


def test_a_circle_of_files(tmp_path: Path) -> None:
    """Ends."""
    (tmp_path / "a.txt").write_text("-r a.txt")
    with pytest.raises(ProjectError, match="circle"):
        dependencies.read(written(tmp_path, "dependencies: [-r a.txt]"), conda=False)
