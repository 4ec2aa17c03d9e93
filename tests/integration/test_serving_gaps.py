"""Rows with missing cells over ``understudy serve``, for models that others have made."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pandas as pd
import pytest
from tests.fixtures.machine import CHECKOUT
from tests.fixtures.rehearsal import FIT_MODEL, logged, rows_with_gaps

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient
    from tests.fixtures.rehearsal import RehearsalSetup
    from tests.fixtures.serving import Serving

pytestmark = [
    pytest.mark.integration,
    pytest.mark.long("fits and serves models of several libraries"),
]
COUNTING = CHECKOUT / "tests" / "models" / "counting_gaps.py"
FEATURES = ["size", "whole", "truth"]
INTEGERS = ("size:double", "whole:long", "text:string")
FORMS = {"split": "whole", "records": "whole", "csv": "column 1"}
"""Forms of a request, and how MLflow's server names the column of integers that has a gap."""


@dataclass(frozen=True)
class Served:
    """A model with a version of each kind, and what the fitted ones say offline to all rows."""

    serving: Serving
    versions: dict[str, str]
    offline: dict[str, list[float]]

    def asked(self, form: str, rows: pd.DataFrame) -> httpx.Response:
        """Send rows as ``split``, ``records`` or ``csv``; what is missing is null, or empty."""
        address = f"{self.serving.address}/invocations"
        if form == "csv":
            header, text = {"content-type": "text/csv"}, rows.to_csv(index=False)
            return httpx.post(address, content=text, headers=header, trust_env=False, timeout=60)
        cells = rows.astype("object").where(rows.notna(), None)
        body = {"dataframe_records": cells.to_dict("records")}
        if form == "split":
            split = {"columns": list(cells), "data": cells.to_numpy().tolist()}
            body = {"dataframe_split": split}
        return httpx.post(address, json=body, trust_env=False, timeout=60)


@pytest.fixture(scope="module")
def served(
    rehearsal_setup: RehearsalSetup,
    serve: Callable[[MlflowClient, str, Path], AbstractContextManager[Serving]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    """Log and register a version of each kind, and serve the model."""
    client, model = rehearsal_setup.client, f"gaps {uuid.uuid4().hex[:8]}"
    where, folder = (client.tracking_uri, rehearsal_setup.experiment), tmp_path_factory.mktemp("g")
    made = {
        "integers": logged(*where, COUNTING, *INTEGERS),
        "python": logged(*where, COUNTING, "unsigned"),
    }
    rows_with_gaps().to_parquet(folder / "rows.parquet")
    offline = {}
    for library in ("sklearn", "xgboost"):
        made[library] = logged(*where, folder / "rows.parquet", library, of=FIT_MODEL)
        said = pd.read_parquet(folder / "predictions.parquet")
        offline[library] = [float(one) for one in said["prediction"]]
    client.create_registered_model(model)
    versions = {
        name: client.create_model_version(model, f"models:/{one}", model_id=one).version
        for name, one in made.items()
    }
    with serve(client, model, folder / "serve.log") as serving:
        yield Served(serving, versions, offline)


ROWS = pd.DataFrame({"size": [0.5, None, 2.0], "whole": [1, 2, 3], "text": ["u", None, None]})
"""The gaps of three rows are 0, 2 and 1; none is of a whole number."""


@pytest.mark.parametrize("form", FORMS)
def test_integers_in_the_signature(served: Served, form: str) -> None:
    """What they miss is refused by the column, and nothing else is; never guessed."""
    served.serving.champion(served.versions["integers"])
    assert served.asked(form, ROWS).json() == {"predictions": [0.0, 2.0, 1.0]}
    for rows in (ROWS.head(1), ROWS):
        gap = rows.assign(whole=rows["whole"].mask(rows.index == 0))
        refused = served.asked(form, gap)
        assert refused.status_code == 400
        assert FORMS[form] in refused.text
    assert served.asked(form, ROWS.tail(2)).json() == {"predictions": [2.0, 1.0]}


@pytest.mark.parametrize("form", FORMS)
def test_a_python_model_without_a_signature(served: Served, form: str) -> None:
    """It is handed every gap, of whole numbers, too."""
    served.serving.champion(served.versions["python"])
    gap = ROWS.assign(whole=ROWS["whole"].mask(ROWS.index == 0))
    assert served.asked(form, gap).json() == {"predictions": [1.0, 2.0, 1.0]}
    assert served.asked(form, gap.head(1)).json() == {"predictions": [1.0]}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at_once", [1, 40])
def test_scikit_learn_without_a_signature(served: Served, form: str, at_once: int) -> None:
    """It takes the None of JSON for missing: every row is answered as offline."""
    for rows, said in requests(served, "sklearn", at_once):
        assert served.asked(form, rows).json()["predictions"] == pytest.approx(said)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at_once", [1, 40])
def test_xgboost_without_a_signature(served: Served, form: str, at_once: int) -> None:
    """As offline, or refused, where a gap makes objects of a column; whole rows are answered."""
    for rows, said in requests(served, "xgboost", at_once):
        answer = served.asked(form, rows)
        if answer.is_success:
            assert answer.json()["predictions"] == pytest.approx(said)
            continue
        assert answer.status_code == 400
        assert "DataFrame.dtypes" in answer.text
        assert rows.isna().any(axis=None)


def requests(
    served: Served, library: str, at_once: int
) -> Iterator[tuple[pd.DataFrame, list[float]]]:
    """Let a library's version be champion; yield rows, and what it said to them offline."""
    served.serving.champion(served.versions[library])
    rows = rows_with_gaps()[FEATURES]
    for start in range(0, min(4 * at_once, len(rows)), at_once):
        part = slice(start, start + at_once)
        yield rows.iloc[part], served.offline[library][part]
