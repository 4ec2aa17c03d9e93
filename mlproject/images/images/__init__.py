"""An MLproject for image sets with a class per image: data, checks, split, network, export.

Each entry point of the MLproject is one module here (`download`, `explore`, `preprocess`, `train`,
`validate`, `publish`, `main`). The package touches only the MLflow run of its step, a temporary
folder, and what `publish` is told to write. TensorFlow is imported by the steps that need it only.
"""
