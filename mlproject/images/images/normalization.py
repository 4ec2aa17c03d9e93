"""Mean and standard deviation of pixels, exactly, in one pass over any number of images.

Pixels are whole numbers up to 255, so sums of them and of their squares are whole numbers too and
lose nothing: the result does not depend on the order. Touches nothing.
"""

from math import sqrt

import numpy as np

from images.batches import Pixels
from shared.errors import DataError, ParameterError


class PixelSums:
    """Sums over the pixels of images, per channel.

    Args:
        channels: of every image.
    """

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._sums = [0] * channels
        self._squares = [0] * channels

    def add(self, pixels: Pixels) -> None:
        """Add images of shape (images, rows, columns, channels)."""
        values = pixels.reshape(-1, len(self._sums)).astype(np.int64)
        self._count += len(values)
        self._sums = [a + int(b) for a, b in zip(self._sums, values.sum(axis=0), strict=True)]
        squares = (values * values).sum(axis=0)
        self._squares = [a + int(b) for a, b in zip(self._squares, squares, strict=True)]

    def fitted(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and (population) standard deviation per channel, in the pixels' unit.

        Raises:
            DataError: if all pixels of a channel are equal, so that nothing can be told apart.
        """
        number = self._count
        mean = tuple(total / number for total in self._sums)
        # n * sum(x^2) - sum(x)^2 is whole, so the subtraction is exact.
        spread = [
            number * square - total * total
            for square, total in zip(self._squares, self._sums, strict=True)
        ]
        if 0 in spread:
            raise DataError(
                f"all pixels of a channel of the training images are {mean[spread.index(0)]:g}",
                allowed="images that differ",
                action="look at the pictures of explore, and at where the images come from",
            )
        return mean, tuple(sqrt(value) / number for value in spread)


def given(text: str, name: str, channels: int) -> tuple[float, ...]:
    """Return the numbers of the parameter `mean` or `std`, one per channel; () for ''.

    Raises:
        ParameterError: if they are not as many finite numbers, or a standard deviation is not
            above 0.
    """
    if not text:
        return ()
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) == 1:
        numbers *= channels
    least = 0.0 if name == "std" else -np.inf
    if len(numbers) != channels or not all(least < number < np.inf for number in numbers):
        raise ParameterError(
            f"parameter '{name}' is {text!r}",
            allowed=f"'' (fitted), a finite number{' above 0' if name == 'std' else ''}, or "
            f"{channels} of them by commas",
            action=f"correct -P {name}=...",
        )
    return numbers
