"""Entry point `download`: brings the images of a data set as of a date and logs them under `raw/`.

What *as of* means: for the bundled digits, which are replayed, those that arrived on or before its
day; the other sets have no times, so they have no past, and the log says so. Touches the MLflow
run, the network and a temporary folder.
"""

import datetime as dt
import itertools
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from images.batches import Batch
from images.declaration import Bundled, DataSet
from images.facts import RAW_FILE, Facts
from images.identity import ARRIVAL, Content, fingerprints, positions
from images.pictures_in import Form
from images.sources import Delivery, Wanted, bring
from images.tables import PART, Images, Shape, writing
from shared.commandline import Option, read_as_of
from shared.errors import DataError, ParameterError
from shared.json_files import MALFORMED_FILE, write_json
from shared.space import room_for
from shared.tracking import Step, log_new_params, main, say

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")

OPTIONS = (
    Option("dataset", "digits", "name of the data set"),
    Option("as_of", "", "ISO 8601 date or time, UTC; '' for everything there is"),
    Option("source", "", "path or URL of your images, for folder, idx and npz"),
    Option("image_size", "", "columns x rows that your pictures are scaled to, such as 64x48"),
    Option(
        "channels",
        0,
        "what your pictures become: 1 grey, 3 colour, 0 as they are",
        minimum=0,
        maximum=3,
    ),
)


def download(values: Mapping[str, Any]) -> None:
    """Do the step within the active MLflow run, as `Step.work` says."""
    from images.datasets import find

    moment = read_as_of(values["as_of"])
    as_of = None if moment is None else moment.date()
    data_set = find(values["dataset"])
    wanted = _wanted(data_set, values)
    with tempfile.TemporaryDirectory() as place:
        delivery = bring(data_set, wanted, Path(place) / "incoming")
        batches, newest_day = _as_of(data_set, delivery.batches, as_of)
        raw = Path(place) / "raw"
        raw.mkdir()
        with room_for(raw, 0):
            stored = _Stored(data_set)
            stored.store(batches, raw / RAW_FILE)
            facts = stored.facts(delivery.source, values["as_of"], newest_day)
            facts.write(raw)
            write_json([asdict(each) for each in delivery.malformed], raw / MALFORMED_FILE)
        _log(facts, delivery, stored.counts, raw)
    log_new_params({**values, "source": delivery.source if values["source"] else ""})


def _wanted(data_set: DataSet, values: Mapping[str, Any]) -> Wanted:
    """Return what the user says about their images.

    Raises:
        ParameterError: if something is said that cannot be or has no effect.
    """
    size, channels = values["image_size"], values["channels"]
    match = _SIZE.fullmatch(size)
    if (size and not match) or channels == 2:  # noqa: PLR2004 - no picture has two
        raise ParameterError(
            f"image_size is {size!r} and channels is {channels}",
            allowed="columns x rows, such as 64x48, or ''; 1 (grey), 3 (colour) or 0",
            action="correct -P image_size=... or -P channels=...",
        )
    given = [name for name in ("image_size", "channels") if values[name]]
    given = ["source", *given] if values["source"] and not data_set.users else given
    if given and data_set.name != "folder":
        raise ParameterError(
            f"data set '{data_set.name}' takes no {' and no '.join(given)}",
            allowed="source for 'folder', 'idx' and 'npz'; image_size and channels for 'folder'",
            action="leave it out, or choose another data set",
        )
    columns, rows = map(int, match.groups()) if match else (0, 0)
    return Wanted(values["source"], Form(columns, rows, channels))


def _as_of(
    data_set: DataSet, batches: Iterator[Batch], as_of: dt.date | None
) -> tuple[Iterator[Batch], str]:
    """Return the images there were as of the day, and the day of the newest one."""
    if as_of is None:
        return batches, ""
    if not isinstance(data_set.source, Bundled):
        say(f"{data_set.name} has no times: as_of {as_of} changes nothing")
        return batches, ""
    replay = data_set.source.replay
    day = replay.newest(as_of)
    return (_arrived(batch, data_set.source, as_of) for batch in batches), day.isoformat()


def _arrived(batch: Batch, source: Bundled, as_of: dt.date) -> Batch:
    there = source.replay.arrived(positions(fingerprints(batch.pixels), ARRIVAL), as_of)
    labels = list(itertools.compress(batch.labels, there.tolist()))
    return Batch(batch.pixels[there], labels, batch.part)


class _Stored:
    """Images on their way into the file, and what is known about them afterwards.

    Attributes:
        counts: images of each class.
    """

    def __init__(self, data_set: DataSet) -> None:
        self.counts: Counter[str] = Counter()
        self._parts: set[str] = set()
        self._data_set, self._content = data_set, Content()
        self._shape: Shape = data_set.shape or (0, 0, 0)

    def store(self, batches: Iterator[Batch], path: Path) -> None:
        """Write all images into the file `path`.

        Raises:
            DataError: if there is none, or one that is not as the data set declares.
        """
        first = next(batches, None)
        if first is None:
            raise DataError(
                "there is not one image that can be read",
                allowed="at least one",
                action="check the source, and whether its files are pictures",
            )
        rows, columns, channels = first.pixels.shape[1:]
        self._shape = self._data_set.shape or (rows, columns, channels)
        with writing(path, self._shape, PART) as writer:
            for batch in itertools.chain([first], batches):
                brightest = int(batch.pixels.max(initial=0))
                if brightest > self._data_set.brightest:
                    raise DataError(
                        f"a pixel of {self._data_set.name} is {brightest}",
                        allowed=f"0 to {self._data_set.brightest}",
                        action="check where the images come from",
                    )
                marks = [batch.part] * len(batch.labels)
                writer.write(Images(batch.pixels, batch.labels, marks))
                self._content.add(fingerprints(batch.pixels), batch.labels, marks)
                self.counts.update(batch.labels)
                self._parts.add(batch.part)

    def facts(self, source: str, as_of: str, newest_day: str) -> Facts:
        """Return the facts, when all images are stored."""
        data_set = self._data_set
        tested = data_set.users and "test" in self._parts
        return Facts(
            dataset=data_set.name,
            shape=self._shape,
            classes=data_set.classes or tuple(sorted(self.counts, key=_natural)),
            brightest=data_set.brightest,
            holdout="test" if tested else data_set.holdout,
            images=self.counts.total(),
            source=source,
            as_of=as_of,
            newest=newest_day,
            sha256=self._content.hexdigest(),
        )


def _natural(name: str) -> tuple[int, str]:
    """Sort numbers by their value, before other names."""
    return (int(name), "") if name.isdecimal() else (sys.maxsize, name)


def _log(facts: Facts, delivery: Delivery, counts: Mapping[str, int], folder: Path) -> None:
    import mlflow

    mlflow.log_artifacts(str(folder), "raw")
    mlflow.set_tags(
        {
            "data.sha256": facts.sha256,
            "data.rows": str(facts.images),
            "data.newest": facts.newest,
            "data.source": facts.source,
            "data.as_of": facts.as_of,
        }
    )
    say(
        f"{facts.dataset}: {facts.images:,} images, {facts.form}, {len(counts)} classes, "
        f"from {facts.source}"
    )
    if delivery.malformed:
        worst = delivery.malformed[0]
        say(f"{len(delivery.malformed):,} files became no image; {worst.name}: {worst.reason}")


STEP = Step("download", OPTIONS, download)

if __name__ == "__main__":
    sys.exit(main(STEP))
