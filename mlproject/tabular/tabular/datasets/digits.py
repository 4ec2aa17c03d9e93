"""Handwritten digits of 8 x 8 pixels as a table: one column per pixel. Touches nothing."""

from tabular.declaration import Bundled, Column, DataSet

SIDE = 8  # pixels
BRIGHTEST = 16

DATASET = DataSet(
    name="digits",
    title="1,797 handwritten digits, 64 pixels of 0 to 16; which digit it is",
    source=Bundled("load_digits"),
    target="target",
    task="classification",
    columns={
        **{
            f"pixel_{row}_{column}": Column(minimum=0, maximum=BRIGHTEST)
            for row in range(SIDE)
            for column in range(SIDE)
        },
        "target": Column(minimum=0, maximum=9),
    },
    terms="Alpaydin and Kaynak 1998, CC BY 4.0, bundled with scikit-learn",
)
