"""Reads the tags that a user gives a run. Touches nothing."""

from shared.errors import ParameterError
from shared.tracking import ERROR_TAG
from tabular.lists import split_list

_OURS = ("mlflow.", "understudy.", "data.", ERROR_TAG)


def own_tags(text: str) -> dict[str, str]:
    """Return the user's tags.

    Args:
        text: `name=value`, several with commas between them.

    Raises:
        ParameterError: if a part has another form, or a name that the steps or MLflow use.
    """
    pairs = [part.partition("=") for part in split_list(text)]
    wrong = [
        name or value
        for name, sign, value in pairs
        if not sign or not name.strip() or name.strip().startswith(_OURS)
    ]
    if wrong:
        raise ParameterError(
            f"tags has {wrong[0].strip()!r}",
            allowed=f"name=value, with commas; no name that begins with {', '.join(_OURS)}",
            action="correct -P tags=...",
        )
    return {name.strip(): value.strip() for name, _, value in pairs}
