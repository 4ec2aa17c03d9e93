"""What a person writes without this project: `python rows_plain.py TABLE MODEL TREES`.

Reads a Parquet table, splits off the newest fifth, fits on the rest, and scores both parts.
"""

import sys

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

table, kind, trees = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = pd.read_parquet(table).sort_values("time", kind="stable")
held = len(rows) // 5
parts = {"train": rows.iloc[:-held], "holdout": rows.iloc[-held:]}
numbers = [name for name in rows if name.startswith("number")]
texts = [name for name in rows if name.startswith("text")]
if kind == "hist_gradient_boosting":
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=float("nan"))
    prepare = ColumnTransformer([("numbers", "passthrough", numbers), ("texts", encode, texts)])
    model = HistGradientBoostingRegressor(max_iter=trees, random_state=42)
else:
    one_each = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    steps = [("numbers", SimpleImputer(strategy="median"), numbers), ("texts", one_each, texts)]
    prepare = ColumnTransformer(steps)
    model = RandomForestRegressor(n_estimators=trees, max_depth=12, random_state=42)
fitted = make_pipeline(prepare, model).fit(parts["train"], parts["train"]["target"])
for name, part in parts.items():
    said = fitted.predict(part)
    for score in (root_mean_squared_error, mean_absolute_error, r2_score):
        sys.stdout.write(f"{name} {score.__name__} {score(part['target'], said):.6g}\n")
