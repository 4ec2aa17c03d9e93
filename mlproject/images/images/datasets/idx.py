"""The user's own idx files, the format of MNIST. Touches nothing."""

from images.declaration import DataSet, OwnIdx

DATASET = DataSet(
    name="idx",
    title="your folder or archive of idx files, named as MNIST's are",
    source=OwnIdx(),
)
