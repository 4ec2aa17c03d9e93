"""Files that the epochs of a training leave: TensorBoard's event files, and checkpoints.

The curves in MLflow say the same as the event files, which are for those who have TensorBoard open
anyway. Imports Keras and TensorFlow. Touches the folder it is given and the active MLflow run.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.core.framework.summary_pb2 import DATA_CLASS_SCALAR, SummaryMetadata

EVENTS = "tensorboard_logs"
CHECKPOINTS = "checkpoints"
"""Artifact folders."""
_VALIDATION = "val_"
# What `tf.summary.scalar` would say; that function needs the package tensorboard, this does not.
_SCALAR = SummaryMetadata(
    plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"), data_class=DATA_CLASS_SCALAR
)


class EventFiles(keras.callbacks.Callback):
    """Writes each epoch's figures under the tags that Keras's own callback has (`epoch_loss`).

    Args:
        folder: gets the folders `train` and `validation`.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._writers: dict[str, tf.summary.SummaryWriter] = {}

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the figures, with the epoch, from 1, as their step."""
        for name, value in (logs or {}).items():
            part = "validation" if name.startswith(_VALIDATION) else "train"
            with self._writer(part).as_default(step=epoch + 1):
                tag = f"epoch_{name.removeprefix(_VALIDATION)}"
                tf.summary.write(tag, tf.constant(value, tf.float32), metadata=_SCALAR)

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        """Close the files."""
        del logs
        for writer in self._writers.values():
            writer.close()

    def _writer(self, part: str) -> tf.summary.SummaryWriter:
        if part not in self._writers:
            self._writers[part] = tf.summary.create_file_writer(str(self._folder / part))
        return self._writers[part]


class Checkpoints(keras.callbacks.Callback):
    """Logs the weights of each epoch that is better than all before, at once.

    Better is a smaller validation loss, or training loss where nothing watches. A training that is
    killed so leaves what it had reached.

    Args:
        folder: for the file on its way.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder, self._best = folder, math.inf

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Log `epoch_<number>.weights.h5`, from 1, with the state of the optimizer."""
        import mlflow

        figures = logs or {}
        loss = figures.get("val_loss", figures.get("loss", math.inf))
        if loss >= self._best:
            return
        self._best = loss
        path = self._folder / f"epoch_{epoch + 1:03}.weights.h5"
        self.model.save_weights(path)
        mlflow.log_artifact(str(path), CHECKPOINTS)
        path.unlink()
