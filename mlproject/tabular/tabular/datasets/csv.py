"""Any CSV of the user's, by URL or path, or a folder of them. Touches nothing."""

from tabular.declaration import DataSet, UserFile

DATASET = DataSet(
    name="csv",
    title="a CSV file of your own: source, target, separator, identity, time_column, task, ...",
    source=UserFile("csv", described=True),
)
