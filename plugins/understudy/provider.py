"""What Airflow asks an installed distribution about itself. Reads package metadata only."""

from __future__ import annotations

from importlib.metadata import metadata
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
