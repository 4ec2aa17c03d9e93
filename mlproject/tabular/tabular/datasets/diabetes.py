"""Disease progression of 442 diabetes patients after one year, unscaled. Touches nothing."""

from tabular.declaration import Bundled, Column, DataSet

DATASET = DataSet(
    name="diabetes",
    title="442 patients, 10 measurements; the progression of the disease after one year",
    source=Bundled("load_diabetes", {"scaled": False}),
    target="target",
    task="regression",
    columns={
        "age": Column(minimum=0, maximum=120),
        "sex": Column(minimum=1, maximum=2),
        "bmi": Column(minimum=5, maximum=100),
        "bp": Column(minimum=20, maximum=250),
        **{name: Column(minimum=0, maximum=1000) for name in ("s1", "s2", "s3", "s4", "s5", "s6")},
        "target": Column(minimum=0, maximum=1000),
    },
    terms="Efron et al. 2004, bundled with scikit-learn",
)
