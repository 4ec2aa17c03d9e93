"""Mean and standard deviation: NumPy's, exactly, in any order; and those that are given."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from images.batches import Pixels
from images.normalization import PixelSums, given
from shared.errors import DataError, ParameterError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("channels", [1, 3])
def test_they_are_numpys(random_images: Callable[..., Pixels], channels: int) -> None:
    """Per channel, and the same to the last bit whatever the batches."""
    pixels = random_images(50, 6, 7, channels)
    whole, pieces = PixelSums(channels), PixelSums(channels)
    whole.add(pixels)
    for image in pixels[::-1]:
        pieces.add(image[np.newaxis])
    mean, std = whole.fitted()
    assert (mean, std) == pieces.fitted()
    assert mean == pytest.approx(pixels.mean(axis=(0, 1, 2)))
    assert std == pytest.approx(pixels.std(axis=(0, 1, 2)))


def test_equal_pixels_cannot_be_normalised(random_images: Callable[..., Pixels]) -> None:
    """The deviation would be zero; the channel's value is named."""
    sums = PixelSums(3)
    pixels = random_images(5, 4, 4, 3)
    pixels[..., 1] = 7
    sums.add(pixels)
    with pytest.raises(DataError, match="all pixels of a channel of the training images are 7"):
        sums.fitted()


def test_given_numbers() -> None:
    """One for all channels, or one for each."""
    assert given("", "mean", 3) == ()
    assert given("0.5", "std", 3) == (0.5, 0.5, 0.5)
    assert given("1,2,-3", "mean", 3) == (1.0, 2.0, -3.0)


@pytest.mark.parametrize(
    ("text", "name"),
    [("a", "mean"), ("1,2", "mean"), ("nan", "mean"), ("inf", "std"), ("0", "std"), ("-1", "std")],
)
def test_wrong_numbers(text: str, name: str) -> None:
    """Too few, not finite, or a deviation that is not above zero."""
    with pytest.raises(ParameterError, match=f"'{name}' is '{text}'"):
        given(text, name, 3)
