"""python_env.yaml and conda.yaml with the files that they name: read in full, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import ProjectError
from understudy.runner.environment import dependencies
from understudy.runner.environment.dependencies import Dependencies
from understudy.runner.projectfile import ProjectFile

pytestmark = pytest.mark.unit


def read(
    folder: Path, content: str, *, conda: bool = False, within: Path | None = None
) -> Dependencies:
    """Write an environment file into a project's folder, and read it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ("conda.yaml" if conda else "python_env.yaml")
    path.write_text(content)
    kind = "conda_env" if conda else "python_env"
    return dependencies.read(ProjectFile(folder, "x", {}, kind, path, repository=within))


def lines(wanted: Dependencies) -> list[list[str]]:
    """Return each stage's lines, with paths from the project's folder."""
    return [list(stage) for stage in wanted.relative_lines()]


def test_files_within_files(tmp_path: Path) -> None:
    """Each relative to the file it stands in; a change of any is another environment."""
    content = (
        'python: "3.11"\nbuild_dependencies: [pip]\ndependencies: [-r req/lock.txt, six==1.16.0]'
    )
    digests = []
    for name, pin in (("a", "x==1"), ("b", "x==1 # why"), ("c", "x==2")):
        folder = tmp_path / name
        (folder / "req").mkdir(parents=True)
        (folder / "req/lock.txt").write_text("--requirement=more.txt # more\ny==1 \\\n  --hash=z")
        (folder / "req/more.txt").write_text(pin)
        found = read(folder, content)
        assert lines(found) == [["pip"], [pin[:4], "y==1   --hash=z", "six==1.16.0"]]
        assert [file.name for file in found.files] == ["lock.txt", "more.txt"]
        digests.append(found.digest())
    assert digests[0] == digests[1] != digests[2]


def test_constraints_install_nothing_and_count(tmp_path: Path) -> None:
    """They stay a file of their own for pip."""
    digests = []
    for pin in ("x<2", "x<3"):
        (tmp_path / "bounds.txt").write_text(pin)
        found = read(tmp_path, "dependencies: [-c bounds.txt, x]")
        assert lines(found) == [["-c ./bounds.txt", "x"]]
        digests.append(found.digest())
    assert digests[0] != digests[1]


def test_packages_of_the_repository(tmp_path: Path) -> None:
    """By paths from the project or the file; what they hold counts, where they are does not."""
    digests = []
    for name, version in (("a", "1"), ("b", "1"), ("c", "2")):
        root = tmp_path / name
        (root / "lib/src").mkdir(parents=True)
        (root / "lib/src/__init__.py").write_text(f"VERSION = {version}")
        (root / "lib/__pycache__").mkdir()
        (root / "lib/__pycache__/x.pyc").write_text(name)
        (root / "p/req/wheels").mkdir(parents=True)
        (root / "p/req/wheels/one-1.whl").write_text("")
        (root / "p/req/all.txt").write_text(
            "-e ../lib[extra] ; python_version > '3'\n./wheels/one-1.whl\n"
            "two @ file:req/wheels/one-1.whl\n--find-links wheels\n"
        )
        found = read(root / "p", "dependencies: [-r req/all.txt]", within=root)
        assert lines(found) == [
            [
                "../lib[extra] ; python_version > '3'",
                "./req/wheels/one-1.whl",
                "two @ ./req/wheels/one-1.whl",
                "--find-links ./req/wheels",
            ]
        ]
        assert [path.name for path in found.local] == ["lib", "one-1.whl"]
        digests.append(found.digest())
    assert digests[0] == digests[1] != digests[2]


def test_what_is_no_path_stays_as_it_is(tmp_path: Path) -> None:
    """Options, markers, addresses; an editable checkout of Git is installed and not editable."""
    (tmp_path / "req.txt").write_text(
        "numpy[x]>=1; python_version<'4' # why\n--pre\n-i https://host/simple\n"
        "-e git+https://host/x.git@1a2b#egg=x\ny @ https://host/y-1.whl\n# all\n"
    )
    assert lines(read(tmp_path, "dependencies: [-r req.txt]")) == [
        [
            "numpy[x]>=1; python_version<'4'",
            "--pre",
            "-i https://host/simple",
            "git+https://host/x.git@1a2b#egg=x",
            "y @ https://host/y-1.whl",
        ]
    ]


def test_a_password_is_known_and_counts_for_nothing(tmp_path: Path) -> None:
    """A new token makes no new environment."""
    digests = []
    for token in ("t0ken-of-old", "t0ken-of-new"):
        found = read(
            tmp_path, f"dependencies: ['--extra-index-url https://me:{token}@host/simple', x]"
        )
        assert found.credentials == (token,)
        assert token in lines(found)[0][0]
        digests.append(found.digest())
    assert digests[0] == digests[1]
    named = read(tmp_path, "dependencies: ['-i https://${TOKEN}@host/simple']")
    assert named.variables == ("TOKEN",)


@pytest.mark.parametrize(
    ("content", "python", "stages"),
    [
        ("dependencies: [python=3.11, pip, {pip: [a>=1]}]", "3.11", [["pip"], ["a>=1"]]),
        ("dependencies: [python==3.11.7]", "3.11.7", []),
        ("dependencies: ['python>=3.10', {pip: [a, b]}]", ">=3.10", [["a", "b"]]),
        ("dependencies: [numpy=1.21, pip, {pip: ['-r r.txt']}]", "",
         [["pip", "numpy==1.21.*"], ["six"]]),
        ("{}", "", []),
    ],
)  # fmt: skip
def test_conda(tmp_path: Path, content: str, python: str, stages: list[list[str]]) -> None:
    """What is conda's first, then the pip part, which may replace some of them."""
    (tmp_path / "r.txt").write_text("six")
    found = read(tmp_path, content, conda=True)
    assert (found.python, lines(found)) == (python, stages)


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
        ("dependencies: ['-r https://me:pw@host/r.txt']", False, "address https://host/r.txt"),
        ("dependencies: ['./x']", False, "./x, which is not there"),
        ("dependencies: [{npm: [x]}]", True, "{'npm': ['x']}, which is no package"),
        ("dependencies: [3.8]", True, "3.8, which is no package"),
        ("dependencies: ['numpy=>']", True, "'numpy=>'"),
    ],
)
def test_refused(tmp_path: Path, content: str, conda: bool, message: str) -> None:  # noqa: FBT001
    """Nothing is dropped silently."""
    with pytest.raises(ProjectError, match=r"Allowed: .* Next: ") as caught:
        read(tmp_path, content, conda=conda)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "-r /proc/self/environ",
        "-r ../outside.txt",
        "-r link.txt",
        "-r gone/../../outside.txt",
        "-c ../outside.txt",
        "-r inner.txt",
        "-r .git/config",
        "../outside.txt",
        "-e ..",
        "x @ file:///etc",
        "-r ../not-even-there.txt",
    ],
)
def test_outside_of_the_repository(tmp_path: Path, line: str) -> None:
    """No file there is read: what is read becomes an artifact. Nor is said whether it is there."""
    (tmp_path / "outside.txt").write_text("s3cret")
    project = tmp_path / "repository"
    (project / ".git").mkdir(parents=True)
    (project / ".git/config").write_text("s3cret")
    (project / "link.txt").symlink_to("../outside.txt")
    (project / "inner.txt").write_text("-r /proc/self/environ")
    with pytest.raises(ProjectError, match="lies outside of the repository") as caught:
        read(project, f"dependencies: ['{line}']")
    assert "s3cret" not in str(caught.value)


def test_the_environment_file_itself_lies_in_the_repository(tmp_path: Path) -> None:
    """An MLproject may name any path."""
    outside = tmp_path / "python_env.yaml"
    outside.write_text("dependencies: []")
    project = ProjectFile(tmp_path / "p", "x", {}, "python_env", outside)
    with pytest.raises(ProjectError, match=r"MLproject names .*python_env.yaml, which lies out"):
        dependencies.read(project)


def test_a_circle_of_files(tmp_path: Path) -> None:
    """Ends."""
    (tmp_path / "a.txt").write_text("-r a.txt")
    with pytest.raises(ProjectError, match="circle"):
        read(tmp_path, "dependencies: [-r a.txt]")


@pytest.mark.parametrize("line", ["--req x.txt", "--constr=x.txt", "--build-constraint x.txt"])
def test_no_option_reads_a_file_unseen(tmp_path: Path, line: str) -> None:
    """Abbreviations are pip's own; what is not known here may name any file of the machine."""
    with pytest.raises(ProjectError, match=r"has the option --\S+, which is not known here"):
        read(tmp_path, f"dependencies: ['{line}']")
