"""What can be searched of the network: its spaces by name, what stays as it is. Touches nothing.

The number of epochs is searched only where a space names it: more of them are hardly ever worse,
so that it costs a study its time and teaches little. Early stopping and pruning spare what is idle.
"""

from collections.abc import Mapping
from typing import Any

from images import train
from shared.search_space import Space
from shared.space_reading import DEFAULT, GRID, Searchable, read_fixed, read_space

_NOT_SEARCHED = ("data", "random_state")
_EXAMPLE = '{"learning_rate": {"low": 0.0001, "high": 0.01, "log": true}, "filters": [8, 16, 32]}'
_SPACES: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {
        "learning_rate": {"low": 1e-4, "high": 0.03, "log": True},
        "filters": {"low": 8, "high": 32, "log": True},
        "dropout": {"low": 0.0, "high": 0.6},
        "batch_size": [32, 64, 128],
    },
    GRID: {
        "learning_rate": [0.01, 0.001, 0.0001],
        "filters": [8, 16, 32],
    },
}


def space_of(text: str, fixed: str, *, grid: bool) -> Space:
    """Return the space that a search for the network's parameters shall try.

    Args:
        text: a name of `space_reading.NAMES`, or a JSON object; '' for the default.
        fixed: a JSON object of parameters with one value in all trials; '' for none.
        grid: whether every point is to be tried.

    Raises:
        ParameterError: for a space that is empty or wrong, naming everything that is.
    """
    options = {one.name: one for one in train.OPTIONS if not one.required}
    values = read_fixed(fixed, options, _EXAMPLE)
    searched = {name: one for name, one in options.items() if name not in _NOT_SEARCHED}
    return read_space(text, values, Searchable(searched, _SPACES, _EXAMPLE), grid=grid)
