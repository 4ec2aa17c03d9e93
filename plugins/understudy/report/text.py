"""Text and numbers as a page shows them. Pure.

What comes from data may hold anything. Escaping is the template engine's work; here is what
escaping leaves in: characters that nobody sees, that turn the reading order around, or that never
end.
"""

from __future__ import annotations

import math
import re
from typing import Final

LONGEST: Final = 600
"""Characters of one text that a page shows; the record has all of them."""

_SURROGATES: Final = re.compile(r"[\ud800-\udfff]")
_CONTROLS: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Control and format characters, those of the bidirectional algorithm among them (Unicode TR 9,
TR 36). The two joiners stay: Persian, Hindi and families of emoji are written with them."""
_MINUS: Final = "\u2212"
_SCIENTIFIC_FROM: Final = 1e7
_SCIENTIFIC_BELOW: Final = 1e-4


def shown(value: object, longest: int = LONGEST) -> str:
    """Return a text with every unseen character made visible, its middle cut out if too long."""
    text = str(value)
    cut = len(text) - longest
    if cut > 0:
        tail = longest // 3
        text = f"{text[: longest - tail]} [... {cut:,} more characters ...] {text[-tail:]}"
    # A lone surrogate cannot be encoded as UTF-8, so the page could not be written with it.
    encodable = _SURROGATES.sub("\ufffd", text)
    return _CONTROLS.sub(lambda found: f"[U+{ord(found[0]):04X}]", encodable)


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits; a dash for None, NaN by its name."""
    if value is None:
        return "\u2013"
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite" if value > 0 else f"{_MINUS}infinite"
    return _typeset(_rounded(value, digits))


def signed(value: float | None, digits: int = 4) -> str:
    """Return a difference: like ``number``, with a plus sign where it is above zero."""
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and math.isfinite(value) else text


def stated(value: float | None, digits: int = 6) -> str:
    """Return a number as a person would write it: without zeros at its end."""
    if value is None or not math.isfinite(value):
        return number(value)
    return _typeset(f"{value:.{digits}g}")


def count(value: float | None) -> str:
    """Return a whole number with its thousands set apart."""
    return "\u2013" if value is None else f"{value:,.0f}"


def percent(share: float | None, digits: int = 3) -> str:
    """Return a share of one as a percentage."""
    return "\u2013" if share is None else f"{number(100 * share, digits)} %"


def probability(value: float | None) -> str:
    """Return a p-value: never as exactly 0, which no test can give."""
    smallest = 1e-4
    if value is None:
        return "\u2013"
    return f"< {smallest:g}" if value < smallest else number(value, 3)


def size(octets: float) -> str:
    """Return a number of bytes in the unit (powers of 1000) that reads best."""
    steps = ("B", "kB", "MB", "GB", "TB")
    power = min(int(math.log(max(abs(octets), 1), 1000)), len(steps) - 1)
    return f"{number(octets / 1000**power, 3)} {steps[power]}"


def _rounded(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    if _SCIENTIFIC_BELOW <= abs(value) < _SCIENTIFIC_FROM:
        places = digits - 1 - math.floor(math.log10(abs(value)))
        return f"{value:,.{max(places, 0)}f}"
    return f"{value:.{digits - 1}e}"


def _typeset(text: str) -> str:
    return text.replace("-", _MINUS)
