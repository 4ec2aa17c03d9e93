"""World Happiness Report 2021, from a file of the user's: its address needs a login.

Touches nothing.
"""

from tabular.declaration import Column, DataSet, UserFile

DATASET = DataSet(
    name="world_happiness",
    title="149 countries, six indicators and the region; the ladder score from 0 to 10",
    source=UserFile("csv"),
    target="Ladder score",
    task="regression",
    columns={
        "Country name": Column(kind="text"),
        "Regional indicator": Column(kind="text", nullable=True),
        "Logged GDP per capita": Column(nullable=True, minimum=0, maximum=20),
        "Social support": Column(nullable=True, minimum=0, maximum=1),
        "Healthy life expectancy": Column(nullable=True, minimum=20, maximum=100),
        "Freedom to make life choices": Column(nullable=True, minimum=0, maximum=1),
        "Generosity": Column(nullable=True, minimum=-1, maximum=1),
        "Perceptions of corruption": Column(nullable=True, minimum=0, maximum=1),
        "Ladder score": Column(minimum=0, maximum=10),
    },
    left_out={
        "Country name": "the identity of the row",
        "Standard error of ladder score": "an error bar of the target",
        "upperwhisker": "an error bar of the target",
        "lowerwhisker": "an error bar of the target",
        "Ladder score in Dystopia": "a constant of the report",
        "Explained by: *": "a part of the target",
        "Dystopia + residual": "a part of the target",
    },
    identity=("Country name",),
    slices=("Regional indicator",),
    terms="World Happiness Report 2021; terms unclear, do not redistribute",
)
