"""Bicycles rented per hour in Washington, 2011 and 2012: demand that drifts. Touches nothing."""

from tabular.declaration import Column, DataSet, Holdout, Remote, TimeColumn

DATASET = DataSet(
    name="bike_sharing",
    title="17,379 hours, weather and calendar; the number of bicycles rented",
    source=(
        Remote(
            "https://archive.ics.uci.edu/static/public/275/bike+sharing+dataset.zip",
            "b70182d0d0508e9abbb79306ce5c0cec34869000f8220175ac83d11dbe845401",
            member="hour.csv",
            member_sha256="e03de4ee4ef4dc376ac6e04bf829673c6269e8eba5c60fa121640fa2f829504f",
        ),
    ),
    target="cnt",
    task="regression",
    columns={
        "dteday": Column(kind="text"),
        "season": Column(minimum=1, maximum=4),
        "yr": Column(minimum=0, maximum=1),
        "mnth": Column(minimum=1, maximum=12),
        "hr": Column(minimum=0, maximum=23),
        "holiday": Column(minimum=0, maximum=1),
        "weekday": Column(minimum=0, maximum=6),
        "workingday": Column(minimum=0, maximum=1),
        "weathersit": Column(minimum=1, maximum=4),
        "temp": Column(minimum=0, maximum=1),
        "atemp": Column(minimum=0, maximum=1),
        "hum": Column(minimum=0, maximum=1),
        "windspeed": Column(minimum=0, maximum=1),
        "cnt": Column(minimum=0),
    },
    left_out={
        "instant": "a running number",
        "dteday": "the date; its parts are features already",
        "casual": "a part of the target",
        "registered": "a part of the target",
    },
    identity=("dteday", "hr"),
    time=TimeColumn("time", date="dteday", hour="hr"),
    slices=("season", "workingday", "weathersit"),
    holdout=Holdout("newest", days=7),
    terms="Fanaee-T and Gama 2013, CC BY 4.0",
)
