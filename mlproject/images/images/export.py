"""Exports the network as a SavedModel that TensorFlow Serving can serve. Imports TensorFlow.

Its signature takes raw images and gives what the MLflow model gives, see `named_answers`:
`prediction`, the name of the likeliest class, and `probability_<class>` for each. All of it is part
of the graph, so no Python code of ours or of Keras is needed to run it. Touches only the folder it
is asked to write.
"""

from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

from images.facts import Facts
from images.network import INPUT
from shared.json_files import write_json
from shared.named_answers import PREDICTION, PROBABILITY

SIGNATURE = "serving_default"
CLASSES_FILE = "assets.extra/classes.json"
"""The classes in their order, which the outputs' names do not show. The folder is for its users."""


def export(network: keras.Model, facts: Facts, folder: Path) -> None:
    """Write the SavedModel into the new folder `folder`, whose name is its version.

    Args:
        network: the trained network.
        facts: shape and classes of its images.
        folder: TensorFlow Serving takes its name, a whole number, as the version.
    """
    names = tf.constant(facts.classes)

    def serve(images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        largest = tf.cast(facts.brightest, tf.uint8)
        tf.debugging.assert_less_equal(images, largest, f"Allowed: pixels up to {facts.brightest}")
        shares = network(images, training=False)
        by_name = {f"{PROBABILITY}{name}": shares[:, n] for n, name in enumerate(facts.classes)}
        return {PREDICTION: tf.gather(names, tf.argmax(shares, axis=-1)), **by_name}

    archive = keras.export.ExportArchive()
    archive.track(network)
    images = tf.TensorSpec((None, *facts.image_shape), tf.uint8, name=INPUT)
    archive.add_endpoint(SIGNATURE, serve, input_signature=[images])
    archive.write_out(str(folder), verbose=False)
    (folder / CLASSES_FILE).parent.mkdir()
    write_json(list(facts.classes), folder / CLASSES_FILE)
