"""Benign or malignant, from 30 measurements of cell nuclei (Wisconsin). Touches nothing."""

from tabular.declaration import Bundled, Column, DataSet

MEASUREMENTS = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
FEATURES = (
    *(f"mean {name}" for name in MEASUREMENTS),
    *(f"{name} error" for name in MEASUREMENTS),
    *(f"worst {name}" for name in MEASUREMENTS),
)

DATASET = DataSet(
    name="breast_cancer",
    title="569 tumours, 30 measurements; benign or malignant",
    source=Bundled("load_breast_cancer", class_names=True),
    target="target",
    task="classification",
    columns={
        **{name: Column(minimum=0) for name in FEATURES},
        "target": Column(kind="text", choices=("benign", "malignant")),
    },
    terms="Wolberg et al. 1995, CC BY 4.0, bundled with scikit-learn",
)
