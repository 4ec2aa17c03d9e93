"""The red wines alone, as older courses have them: eleven laboratory values. Touches nothing."""

from dataclasses import replace

from tabular.datasets.wine_quality import DATASET as BOTH
from tabular.datasets.wine_quality import RED

DATASET = replace(
    BOTH,
    name="wine_quality_red",
    title="1,599 red wines, 11 laboratory values; quality from 0 to 10",
    source=(replace(RED, adds={}),),
    columns={name: column for name, column in BOTH.columns.items() if name != "color"},
    slices=(),
)
