"""Starts a module of ours on a Python that has no Understudy installed: ``launch.py MODULE ...``.

The gate's environment holds libraries only; the code is that of the process that asks, found by
the place of this file. Standard library only.
"""

import gc
import runpy
import sys
from importlib import util
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_ALLOCATIONS = 200_000
"""Objects between two collections; as many as mypy chose for its processes, as short as these."""


def main() -> None:
    """Make this very copy of the package importable, nothing beside it, and run the module."""
    # Looking for garbage is a tenth of what the libraries' imports take, and finds hardly any.
    gc.set_threshold(_ALLOCATIONS)
    initial = _PACKAGE / "__init__.py"
    spec = util.spec_from_file_location(
        _PACKAGE.name, initial, submodule_search_locations=[str(_PACKAGE)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(initial)
    package = sys.modules[_PACKAGE.name] = util.module_from_spec(spec)
    spec.loader.exec_module(package)
    runpy.run_module(sys.argv.pop(1), run_name="__main__")


if __name__ == "__main__":
    main()
