"""The lineage of a step, recorded on its MLflow run. Touches the tracking server only."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from understudy.contract import Tag
from understudy.runner.reuse.identity import StepIdentity
from understudy.runner.reuse.inputs import Inputs, StepInput
from understudy.store import artifacts
from understudy.store.tracking import log_inputs, tracking_errors

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run
    from mlflow.tracking import MlflowClient

    from understudy.runner.environment.store import Environment

# Hex digits; MLflow's column for a dataset's digest takes 36 characters.
_DIGEST: Final = 32
# How pip freeze shows this package where it runs from its own checkout.
_OURS_EDITABLE: Final = f"-e {Path(__file__).parents[4].as_uri()}"


@dataclass(frozen=True, slots=True)
class Lineage:
    """What the result of a step depends on, as far as it is known.

    Attributes:
        entry_point: Its name.
        values: Every parameter's value, exactly as the entry point gets it.
        inputs: What is known of those that are inputs.
        key: Its identity's key; '' where it has none.
        unknown: Why it has none; '' where it has one.
    """

    entry_point: str
    values: Mapping[str, str]
    inputs: Inputs
    key: str
    unknown: str

    def tags(self) -> dict[str, str]:
        """Return the tags that a new run of the step gets."""
        reuse = {Tag.REUSE_KEY: self.key} if self.key else {Tag.NOT_REUSABLE: self.unknown}
        return artifacts.as_tags({**self._texts(), **reuse})

    def log(self, client: MlflowClient, run: Run) -> None:
        """Log what tags cannot hold: long texts, and the inputs as MLflow's UI shows them."""
        from mlflow.entities import LoggedModelInput

        known = self.inputs.known
        models = [LoggedModelInput(i.digest) for i in known.values() if i.is_model]
        data = [self._dataset(name, known[name]) for name in known if not known[name].is_model]
        with tracking_errors():
            artifacts.write_long(client, run, self._texts())
            if data or models:
                log_inputs(client, run.info.run_id, data, models)

    def _texts(self) -> dict[Tag, str]:
        inputs = {
            name: {"address": found.address, "digest": found.digest}
            for name, found in self.inputs.known.items()
        }
        return {Tag.PARAMETERS: json.dumps(dict(self.values)), Tag.INPUTS: json.dumps(inputs)}

    def _dataset(self, name: str, found: StepInput) -> DatasetInput:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        # MLflow's own dataset digests cover the first 10,000 rows only (3.17): a SHA-256 of the
        # content stands here in their place.
        source = json.dumps({"uri": found.address, "sha256": found.digest})
        return DatasetInput(
            Dataset(name, found.digest[:_DIGEST], source_type="mlflow-run", source=source),
            [InputTag("mlflow.data.context", self.entry_point)],
        )


def key_and_doubt(
    tree: str,
    entry_point: str,
    environment: Environment,
    inputs: Inputs,
    variables: Mapping[str, str],
) -> tuple[str, str]:
    """Return a step's key, or '' and why it has none.

    Args:
        tree: Git's id of the project's files; '' for a folder that is run as it is.
        entry_point: Its name.
        environment: What it runs in.
        inputs: Its parameters.
        variables: Environment variables that were given by name.
    """
    doubt = next(_doubts(tree, environment, inputs), "")
    if doubt:
        return "", doubt
    known = {name: found.identity for name, found in inputs.known.items()}
    content = environment.digest
    if not content:
        path = environment.variables(os.environ.get("PATH", ""))["PATH"]
        python = str(Path(shutil.which("python", path=path) or "").resolve())
        content = json.dumps(["local", python, _packages(environment)])
    identity = StepIdentity(tree, entry_point, content, inputs.plain, known, variables)
    return identity.key(), ""


def _doubts(tree: str, environment: Environment, inputs: Inputs) -> Iterator[str]:
    if not tree:
        yield "its code is a folder that is run as it is"
    for name, reason in inputs.unknown.items():
        yield f"the content of {name!r} is not known: {reason}"
    if environment.digest:
        return
    # Why a local Python may change while its list of packages stays the same.
    packages = _packages(environment)
    if not packages or os.environ.get("PYTHONPATH"):
        yield "what is installed in the local Python is not known"
    for line in packages:
        if line.startswith("-e ") or "file:" in line:
            yield f"the local Python has {line!r}, whose content may change"


def _packages(environment: Environment) -> list[str]:
    """Return what is installed, but for this package, which no project imports."""
    return [line for line in environment.installed.splitlines() if line != _OURS_EDITABLE]
