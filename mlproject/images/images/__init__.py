"""An MLproject for image sets with a class per image: data, checks, split, network, export.

Each entry point of the MLproject is one module here (`download`, `explore`, `preprocess`, `search`,
`train`, `validate`, `publish`, `main`). The package touches only the MLflow run of its step, a
temporary folder, what `publish` is told to write, and where `search` keeps its studies. TensorFlow
is imported by the steps that need it only.
"""

from importlib.util import find_spec

if find_spec("shared") is None:
    raise ImportError(
        "The package shared is not here: the link of that name in the project leads to nothing. "
        "Allowed: the folder shared beside the project, or a copy of it in the project. "
        "Next: copy the project with cp -rL, or clone it where Git makes symbolic links."
    )
