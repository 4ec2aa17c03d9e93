"""The data sets, one module each: what a module calls `DATASET` is one. Touches nothing."""

import importlib
import pkgutil
from functools import cache

from images.declaration import DataSet
from shared.errors import ParameterError, nearest


@cache
def known() -> dict[str, DataSet]:
    """Return every declared data set by its name, in alphabetical order of the modules."""
    modules = (
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    )
    return {module.DATASET.name: module.DATASET for module in modules}


def find(name: str) -> DataSet:
    """Return the data set called `name`.

    Raises:
        ParameterError: if there is none; the nearest name is suggested.
    """
    sets = known()
    if name in sets:
        return sets[name]
    raise ParameterError(
        f"there is no data set '{name}'{nearest(name, sets)}",
        allowed=", ".join(sorted(sets)),
        action="pass one of these as -P dataset=..., or 'folder' with images of your own",
    )
