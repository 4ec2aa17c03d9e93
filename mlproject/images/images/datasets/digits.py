"""Handwritten digits of 8 x 8 pixels. Touches nothing."""

from images.declaration import Bundled, DataSet

DATASET = DataSet(
    name="digits",
    title="1,797 handwritten digits, 8 x 8 pixels of 0 to 16",
    source=Bundled(),
    classes=tuple("0123456789"),
    shape=(8, 8, 1),
    brightest=16,
    terms="Alpaydin and Kaynak 1998, CC BY 4.0, bundled with scikit-learn",
)
