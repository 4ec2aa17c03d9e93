"""Exports the network as a SavedModel that TensorFlow Serving can serve. Imports TensorFlow.

Its signature takes raw images and gives `probabilities` (images, classes) and `prediction`, the
name of the likeliest class; both are part of the graph, so no Python code of ours or of Keras is
needed to run it. Touches only the folder it is asked to write.
"""

from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

from images.facts import Facts
from images.network import INPUT
from shared.json_files import write_json

SIGNATURE = "serving_default"
CLASSES_FILE = "assets.extra/classes.json"
"""The classes in the order of the probabilities; TensorFlow leaves this folder to its users."""


def export(network: keras.Model, facts: Facts, folder: Path) -> None:
    """Write the SavedModel into the new folder `folder`, whose name is its version.

    Args:
        network: the trained network.
        facts: shape and classes of its images.
        folder: TensorFlow Serving takes its name, a whole number, as the version.
    """
    names = tf.constant(facts.classes)

    def serve(images: tf.Tensor) -> Mapping[str, tf.Tensor]:
        probabilities = network(images, training=False)
        likeliest = tf.argmax(probabilities, axis=-1)
        return {"probabilities": probabilities, "prediction": tf.gather(names, likeliest)}

    archive = keras.export.ExportArchive()
    archive.track(network)
    images = tf.TensorSpec((None, *facts.image_shape), tf.uint8, name=INPUT)
    archive.add_endpoint(SIGNATURE, serve, input_signature=[images])
    archive.write_out(str(folder), verbose=False)
    (folder / CLASSES_FILE).parent.mkdir()
    write_json(list(facts.classes), folder / CLASSES_FILE)
