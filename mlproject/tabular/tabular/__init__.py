"""An MLproject for any table with a target: data sets, checks, split, models and metrics.

Each entry point of the MLproject is one module here (`download`, `explore`, `preprocess`, `search`,
`train`, `validate`, `main`). The package touches only the MLflow run of its step, a temporary
folder, and where `search` keeps its studies.
"""

import os
from importlib.util import find_spec

if find_spec("shared") is None:
    raise ImportError(
        "The package shared is not here: the link of that name in the project leads to nothing. "
        "Allowed: the folder shared beside the project, or a copy of it in the project. "
        "Next: copy the project with cp -rL, or clone it where Git makes symbolic links."
    )

# Before any library that has threads: while these wait they should not spin, since other trials and
# steps want the processor, too (boosting beside one other process: three to eight times as fast).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
