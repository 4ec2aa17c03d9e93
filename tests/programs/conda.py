"""Stands in for conda, mamba and micromamba where there is none: builds from this Python.

It takes the command lines that the real ones take (conda 24, mamba 1, micromamba 2, by their
documentation) and refuses others; it reads of a conda.yaml no more than that it is there.
"""

from __future__ import annotations

import sys
import venv
from itertools import pairwise
from pathlib import Path

MICROMAMBA = {
    "create": ["create", "--yes", "--prefix", None, "--file", None],
    "explicit": ["env", "export", "--explicit", "--md5", "--prefix", None],
}
CONDA = {
    "create": ["env", "create", "--quiet", "--prefix", None, "--file", None],
    "explicit": ["list", "--explicit", "--md5", "--prefix", None],
}
PACKAGE = "https://conda.example/conda-forge/linux-64/gdal-3.9.0-py311_0.conda"
SCRIPT = 'export GDAL_DATA="$CONDA_PREFIX/share/gdal"\n'


def main(name: str, argv: list[str]) -> int:
    """Do what a command asks for."""
    for command, form in (MICROMAMBA if name == "micromamba" else CONDA).items():
        if len(argv) == len(form) and all(f in {None, a} for f, a in zip(form, argv, strict=True)):
            values = dict(pairwise(argv))
            return {"create": create, "explicit": explicit}[command](values)
    print(f"{name}: error: unrecognized arguments: {argv}", file=sys.stderr)
    return 2


def create(values: dict[str, str]) -> int:
    """Make an environment."""
    text, folder = Path(values["--file"]).read_text(), Path(values["--prefix"])
    if "python=3.4" in text:
        print("nothing provides python 3.4.*", file=sys.stderr)
        return 1
    venv.create(folder, symlinks=True)
    (folder / "conda-meta").mkdir()
    (folder / "conda-meta" / "gdal-3.9.0-py311_0.json").write_text("{}")
    (folder / "etc" / "conda" / "activate.d").mkdir(parents=True)
    (folder / "etc" / "conda" / "activate.d" / "gdal.sh").write_text(SCRIPT)
    return 0


def explicit(values: dict[str, str]) -> int:
    """Print the list from which the environment can be made again."""
    assert (Path(values["--prefix"]) / "conda-meta").is_dir()
    print(f"@EXPLICIT\n{PACKAGE}#0123456789abcdef0123456789abcdef")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
