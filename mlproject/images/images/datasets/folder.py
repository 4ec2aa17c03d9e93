"""The user's own pictures: a folder or an archive with one folder per class. Touches nothing."""

from images.declaration import DataSet, Folder

DATASET = DataSet(
    name="folder",
    title="your folder or archive of pictures, one folder per class",
    source=Folder(),
)
