"""What is sent to a served model of images, and what it answers."""

from __future__ import annotations

import re

import numpy as np
import pytest
from mlflow.exceptions import MlflowException

from shared.named_answers import as_images, named

pytestmark = pytest.mark.unit

GREY, COLOUR = (4, 5), (4, 5, 3)
RAW = np.random.default_rng(0).integers(0, 256, (3, 4, 5))


def test_answers_have_the_names_of_the_classes() -> None:
    """Also where these are no identifiers; float32 becomes float64."""
    answers = named(np.array([[0.25, 0.75], [0.5, 0.5]], dtype="float32"), ["T-shirt/top", "b c"])
    assert answers.to_dict("records") == [
        {"prediction": "b c", "probability_T-shirt/top": 0.25, "probability_b c": 0.75},
        {"prediction": "T-shirt/top", "probability_T-shirt/top": 0.5, "probability_b c": 0.5},
    ]


@pytest.mark.parametrize(
    "sent",
    [
        RAW,
        RAW.astype("uint8"),
        RAW + 0.25,
        RAW.astype(object),
        RAW.tolist(),
        RAW.reshape(3, 20),
        RAW.reshape(3, 4, 5, 1),
    ],
)
def test_images_in_every_form(sent: object) -> None:
    """Whatever the type; flat, or with a channel; 200.25 is what resizing makes of bytes."""
    if isinstance(sent, np.ndarray) and sent.dtype.kind == "f":
        sent = np.minimum(sent, 255)
    found = as_images(sent, GREY, 255)
    assert found.dtype == np.uint8
    assert found.tolist() == RAW.tolist()


@pytest.mark.parametrize("form", [(4, 5), (4, 5, 1), (20,)])
def test_one_image_without_a_batch(form: tuple[int, ...]) -> None:
    """It is a batch of one."""
    assert as_images(RAW[0].reshape(form), GREY, 255).tolist() == [RAW[0].tolist()]


@pytest.mark.parametrize("form", [(4, 5, 3), (60,), (1, 4, 5, 3), (1, 60)])
def test_colour(form: tuple[int, ...]) -> None:
    """The last dimension is the channels."""
    image = np.arange(60)
    assert as_images(image.reshape(form), COLOUR, 255).tolist() == [image.reshape(COLOUR).tolist()]


@pytest.mark.parametrize("number", [0, 1, 255])
def test_a_dark_image_of_whole_numbers_is_one(number: int) -> None:
    """Nobody can tell it from another range, so it is answered."""
    assert as_images(np.full(GREY, number), GREY, 255).max() == number


@pytest.mark.parametrize(
    ("sent", "brightest", "words"),
    [
        (RAW / 255, 255, "the pixels go from 0"),
        ((RAW > 127).astype(float), 255, "the pixels go from 0 to 1. Allowed"),
        (RAW / 127.5 - 1, 255, "the pixels go from -"),
        (RAW + 1, 255, "to 256. Allowed"),
        (RAW, 16, "whole numbers from 0 to 16. Next: send the pixels as they are in the image"),
        (RAW * np.nan, 255, "from nan to nan"),
        (RAW[:, :3], 255, "has the shape (3, 3, 5). Allowed: one image of the shape (4, 5)"),
        (np.zeros((3, 5, 4)), 255, "has the shape (3, 5, 4)"),
        (np.zeros((0, 4, 5)), 255, "has the shape (0, 4, 5)"),
        (np.array([[1, 2], [3]], dtype=object), 255, "is no array of numbers"),
        (np.array([["a"] * 5] * 4, dtype=object), 255, "is no array of numbers"),
        (np.array(7), 255, "has the shape ()"),
    ],
)
def test_what_is_clearly_something_else_is_refused(
    sent: object, brightest: int, words: str
) -> None:
    """With status 400, what was found, and what the model takes; never an answer."""
    with pytest.raises(MlflowException, match=re.escape(words)) as refused:
        as_images(sent, GREY, brightest)
    assert refused.value.get_http_status_code() == 400
