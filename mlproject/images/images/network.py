"""The network: raw pixels in, one probability per class out. Imports Keras; touches nothing.

Blocks of convolution and pooling, each of which halves the image and doubles the filters, then one
dense layer. The first layers bring the pixels into shape and normalise them, so that whoever holds
the model needs to know nothing of that.
"""

from math import log2

import keras
from keras import layers

from images.facts import Facts

SMALLEST = 2  # pixels of the shorter side that the last block leaves, at least
MOST_BLOCKS, WIDEST = 5, 8
KERNEL = 3  # pixels
INPUT = "images"


def blocks(rows: int, columns: int) -> int:
    """Return how many blocks fit an image of that size in pixels."""
    return min(max(int(log2(max(min(rows, columns) / SMALLEST, 1))), 1), MOST_BLOCKS)


def build(facts: Facts, width: int, dropout: float) -> keras.Model:
    """Return the untrained network.

    It takes uint8 of shape (images, rows, columns) for grey images, (images, rows, columns, 3) for
    colour, and gives float32 of shape (images, classes), rows summing to one.

    Args:
        facts: of the images, with mean and standard deviation.
        width: filters of the first convolution.
        dropout: share of the last features that each training step leaves out, 0 to below 1.
    """
    images = keras.Input(facts.image_shape, dtype="uint8", name=INPUT)
    hidden = layers.Reshape(facts.shape, name="channels")(images)
    hidden = layers.Normalization(
        mean=facts.mean, variance=[deviation**2 for deviation in facts.std], name="normalization"
    )(hidden)
    for number in range(blocks(*facts.shape[:2])):
        filters = width * min(2**number, WIDEST)
        hidden = layers.Conv2D(
            filters, KERNEL, padding="same", activation="relu", name=f"convolution_{number + 1}"
        )(hidden)
        hidden = layers.MaxPooling2D(padding="same", name=f"pooling_{number + 1}")(hidden)
    hidden = layers.Flatten(name="features")(hidden)
    hidden = layers.Dropout(dropout, name="dropout")(hidden)
    # In float32 also where a policy of mixed precision is set.
    outputs = layers.Dense(
        len(facts.classes), activation="softmax", dtype="float32", name="probabilities"
    )(hidden)
    return keras.Model(images, outputs, name=f"{facts.dataset}_network")


def without_optimizer(network: keras.Model) -> keras.Model:
    """Return the same network without what only training needs, two thirds of its file."""
    plain = keras.models.clone_model(network)
    plain.set_weights(network.get_weights())
    return plain
