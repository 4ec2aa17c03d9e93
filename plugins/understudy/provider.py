"""What Airflow asks an installed distribution: about itself, and which files may have Dags.

Reads package metadata and the files asked for; imports nothing of Airflow's.
"""

from __future__ import annotations

import zipfile
from importlib.metadata import metadata
from pathlib import Path
from typing import Final, TypedDict

DISTRIBUTION: Final = "understudy"


# Airflow's own spelling of the keys has hyphens, which a class body cannot have.
ProviderInfo = TypedDict(
    "ProviderInfo",
    {"package-name": str, "name": str, "description": str, "versions": list[str]},
)


def get_provider_info() -> ProviderInfo:
    """Return the description that Airflow's provider manager checks against its schema.

    The plug-in is not named here: the entry point group ``airflow.plugins`` registers it, and
    named in both places Airflow reports it as a duplicate.
    """
    about = metadata(DISTRIBUTION)
    return {
        "package-name": DISTRIBUTION,
        "name": "Understudy",
        "description": about["Summary"],
        "versions": [about["Version"]],
    }


def might_contain_dag(file_path: str, zip_file: zipfile.ZipFile | None = None) -> bool:
    """Whether Airflow's Dag processor is to import a file: ``[core] might_contain_dag_callable``.

    Airflow's own rule passes over ``from understudy import pipeline`` without a word, unless
    "airflow" and "dag" happen to stand in the file, too.

    Args:
        file_path: The file; with ``zip_file``, the name of a member of that archive.
        zip_file: An archive of Dag files.

    Raises:
        OSError: the file cannot be read.
    """
    if zip_file is not None:
        return may_have_dags(zip_file.read(file_path))
    return zipfile.is_zipfile(file_path) or may_have_dags(Path(file_path).read_bytes())


def may_have_dags(content: bytes) -> bool:
    """Whether a Python file's content names this package, or fits Airflow's own rule."""
    text = content.lower()
    return b"understudy" in text or (
        b"airflow" in text and any(word in text for word in (b"dag", b"asset"))
    )
