"""Red and white vinho verde: eleven laboratory values and a taster's mark. Touches nothing."""

from tabular.declaration import Column, DataSet, Remote

FOLDER = "https://archive.ics.uci.edu/ml/machine-learning-databases/wine-quality"
RED = Remote(
    f"{FOLDER}/winequality-red.csv",
    "4a402cf041b025d4566d954c3b9ba8635a3a8a01e039005d97d6a710278cf05e",
    separator=";",
    adds={"color": "red"},
)

DATASET = DataSet(
    name="wine_quality",
    title="6,497 wines, 11 laboratory values and the colour; quality from 0 to 10",
    source=(
        RED,
        Remote(
            f"{FOLDER}/winequality-white.csv",
            "76c3f809815c17c07212622f776311faeb31e87610d52c26d87d6e361b169836",
            separator=";",
            adds={"color": "white"},
        ),
    ),
    target="quality",
    task="regression",
    columns={
        "fixed acidity": Column(minimum=0, maximum=100),
        "volatile acidity": Column(minimum=0, maximum=10),
        "citric acid": Column(minimum=0, maximum=10),
        "residual sugar": Column(minimum=0, maximum=200),
        "chlorides": Column(minimum=0, maximum=5),
        "free sulfur dioxide": Column(minimum=0, maximum=1000),
        "total sulfur dioxide": Column(minimum=0, maximum=1000),
        "density": Column(minimum=0.9, maximum=1.2),
        "pH": Column(minimum=0, maximum=14),
        "sulphates": Column(minimum=0, maximum=10),
        "alcohol": Column(minimum=0, maximum=25),
        "color": Column(kind="text", choices=("red", "white")),
        "quality": Column(minimum=0, maximum=10),
    },
    slices=("color",),
    terms="Cortez et al. 2009, CC BY 4.0, doi 10.24432/C56S3T",
)
