"""Any Parquet file of the user's, by URL or path, or a folder of them. Touches nothing."""

from tabular.declaration import DataSet, UserFile

DATASET = DataSet(
    name="parquet",
    title="a Parquet file of your own: source, target, identity, time_column, task, ...",
    source=UserFile("parquet", described=True),
)
