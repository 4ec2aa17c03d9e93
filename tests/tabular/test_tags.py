"""Tags of the user's own."""

from __future__ import annotations

import re

import pytest

from shared.errors import ParameterError
from tabular.tags import own_tags

pytestmark = pytest.mark.unit


def test_tags_are_names_and_values() -> None:
    """One, many, none; a value may hold a sign of equality."""
    assert own_tags("") == {}
    assert own_tags("author=Ada") == {"author": "Ada"}
    assert own_tags("version=1.2, release=spring,note=a=b") == {
        "version": "1.2",
        "release": "spring",
        "note": "a=b",
    }


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("author", "author"),
        ("=Ada", "Ada"),
        ("mlflow.user=me", "mlflow.user"),
        ("error=no", "error"),
    ],
)
def test_other_forms_and_reserved_names_are_refused(text: str, word: str) -> None:
    """What a step or MLflow says about a run nobody else may say."""
    with pytest.raises(ParameterError, match=re.escape(f"tags has '{word}'")):
        own_tags(text)
