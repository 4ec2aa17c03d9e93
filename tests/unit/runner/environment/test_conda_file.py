"""conda.yaml in the index's words: names, versions, and what no index has."""

from __future__ import annotations

import re

import pytest

from understudy.runner.environment import conda_file
from understudy.runner.environment.conda_file import UntranslatableError, translated

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("item", "line"),
    [
        # Versions.
        ("numpy", "numpy"),
        ("numpy=1.21", "numpy==1.21.*"),
        ("numpy = 1.21", "numpy==1.21.*"),
        ("numpy==1.21", "numpy==1.21"),
        ("numpy 1.21", "numpy==1.21"),
        ("numpy=1.2.*", "numpy==1.2.*"),
        ("numpy=1.2*", "numpy==1.2.*"),
        ("numpy==1.2.*", "numpy==1.2.*"),
        ("numpy=*", "numpy"),
        ("numpy>=1,<2", "numpy>=1,<2"),
        ("numpy >= 1.0 , < 2", "numpy>=1.0,<2"),
        ("numpy>=1.2.*", "numpy>=1.2"),
        ("numpy!=1.5.*", "numpy!=1.5.*"),
        ("numpy~=1.21.0", "numpy~=1.21.0"),
        ("numpy=1.2|1.3", "numpy==1.3.*"),
        ("scipy>=1.4,!=1.6|>=2", "scipy>=2"),
        ("scikit-learn=0.24rc1", "scikit-learn==0.24rc1"),
        ("pytz=2018i", "pytz"),
        # Builds, fields, channels, addresses.
        ("numpy=1.21.6=py39h6f4d8f0_0", "numpy==1.21.6"),
        ("numpy==1.21.6=py39h6f4d8f0_0", "numpy==1.21.6"),
        ("numpy 1.8.1 py27_0", "numpy==1.8.1"),
        ("tensorflow=2.0=gpu*", "tensorflow==2.0"),
        ("numpy[version='>=1.8,<2', build=x]", "numpy>=1.8,<2"),
        ('numpy[version="1.8.*"]', "numpy==1.8.*"),
        ("conda-forge::numpy=1.21", "numpy==1.21.*"),
        ("conda-forge/linux-64::numpy", "numpy"),
        ("https://host/noarch/six-1.16.0-pyh6c4a22f_0.tar.bz2", "six==1.16.0"),
        # Names.
        ("pytorch=1.7.1=py3.8_cuda11.0_0", "torch==1.7.1"),
        ("py-xgboost=1.3.3", "xgboost==1.3.3.*"),
        ("opencv=4.5.3=py38_0", "opencv-python-headless==4.5.3.*"),
        ("opencv==4.5.3", "opencv-python-headless==4.5.3.*"),
        ("tensorflow-gpu=2.4.*", "tensorflow==2.4.*"),
        ("matplotlib-base", "matplotlib"),
        ("docker-py=4.1.0", "docker==4.1.0.*"),
        ("msgpack-python", "msgpack"),
        ("ray-tune=2", "ray[tune]==2.*"),
        ("librosa", "librosa"),
        ("pip<=21.2", "pip<=21.2"),
    ],
)  # fmt: skip
def test_a_package(item: str, line: str) -> None:
    """Each in a line of its own for the index."""
    found = translated("conda.yaml", [item])
    assert (found.lines, found.left_out) == ((line,), ())


@pytest.mark.parametrize(
    ("item", "python"),
    [
        ("python=3.8", "3.8"),
        ("python==3.8.10", "3.8.10"),
        ("python=3.8.*", "3.8"),
        ("python 3.8", "3.8"),
        ("python=3.7.3=h0371630_0", "3.7.3"),
        ("conda-forge::python>=3.6,<3.9", ">=3.6,<3.9"),
        ("python=3.8|3.9", "3.9"),
        ("python", ""),
    ],
)
def test_python(item: str, python: str) -> None:
    """As it is asked for on this machine."""
    found = translated("conda.yaml", [item])
    assert (found.python, found.lines, found.left_out) == (python, (), ())


@pytest.mark.parametrize(
    "item",
    [
        "r-base=4.1", "r-tidyverse", "bioconductor-deseq2", "cudatoolkit=10.2", "pytorch-cuda=11.7",
        "cuda-toolkit", "gcc_linux-64", "gxx", "compilers", "libgcc-ng=9.1.0=hdf63c60_0",
        "_libgcc_mutex", "openssl", "tk", "mkl=2021.4.0", "blas=1.0=mkl", "nodejs", "graphviz",
        "vs2015_runtime",
    ],
)  # fmt: skip
def test_what_no_index_has(item: str) -> None:
    """Is named with its reason, and alone: PyPI's tk, say, is something else."""
    found = translated("conda.yaml", [item, "numpy"])
    assert found.lines == ("numpy",)
    assert [name for name, _ in found.left_out] == [item]
    (told,) = found.told()
    assert re.match(rf"Not installed of conda.yaml, .*: {re.escape(item)} \(.+\). Where ", told)
    assert "'conda'" in told
    assert "numpy" not in told


def test_the_tools_come_first_and_the_pip_part_as_it_is() -> None:
    """MLflow installs pip, setuptools and wheel where conda.yaml lists them."""
    items = ["numpy=1.21", "wheel", "pip=20.0.2", {"pip": ["-r more.txt"]}, {"pip": None}]
    found = translated("conda.yaml", items)
    assert found.lines == ("wheel", "pip==20.0.2.*", "numpy==1.21.*")
    assert found.names == ("wheel", "pip", "numpy")
    assert found.pip == ("-r more.txt",)


def test_the_log_and_the_record() -> None:
    """A few changes in the log, all of them in the record, and nothing of a channel's token."""
    many = [f"package{number}=1" for number in range(20)]
    items = ["https://host/t/t0ken/x::pytorch", *many, "r-base", "tk", "r-dplyr", "python=3.8"]
    found = translated("env.yml", items)
    changes, lacking = found.told()
    assert "has it: r-base, r-dplyr (R); tk (Python brings it). Where" in lacking
    assert changes.startswith("env.yml was translated for the Python index: x::pytorch -> torch,")
    assert changes.endswith("and 13 more")
    text = found.text()
    assert re.search(r"^torch +# x::pytorch$", text, re.MULTILINE)
    assert re.search(r"^package19==1\.\* +# package19=1$", text, re.MULTILINE)
    assert "# Python 3.8\n" in text
    assert "# not installed: r-base (R)" in text
    assert "t0ken" not in changes + text
    assert not list(translated("env.yml", ["numpy>=1", "pip"]).told())


@pytest.mark.parametrize("item", [{"npm": ["x"]}, {"pip": "x"}, 3.8, None, "", "==1", "numpy=>"])
def test_what_is_no_package(item: object) -> None:
    """Is shown as it is."""
    with pytest.raises(UntranslatableError):
        translated("conda.yaml", [item])


def test_the_tables_say_a_reason_for_each_line_once() -> None:
    """Three columns in ours; no name twice; nothing that the other table says as well."""
    ours = list(conda_file._table("conda_exceptions.tsv"))
    assert all(of_index and why for _, of_index, why in ours)
    names = [name for name, *_ in ours]
    assert len(names) == len(set(names))
    theirs = {name: of_index for name, of_index, _ in conda_file._table("conda_names.tsv")}
    assert len(theirs) > 150
    assert not [name for name, of_index, _ in ours if theirs.get(name) == of_index]
