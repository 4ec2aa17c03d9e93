"""The user's own images as NumPy arrays: x_train, y_train, x_test, y_test. Touches nothing."""

from images.declaration import DataSet, Npz

DATASET = DataSet(
    name="npz",
    title="your file of NumPy arrays, laid out as Keras's own data sets",
    source=Npz(),
)
