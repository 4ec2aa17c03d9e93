"""What a line is that is no row of the table. Touches nothing."""

from dataclasses import dataclass

LONGEST_TEXT = 200  # characters of a malformed line that are kept for the report


@dataclass(frozen=True)
class Malformed:
    """A line that is no row of the table.

    Attributes:
        line: number of the line in its file, from 1, the header included; 0 if unknown.
        reason: what is wrong with it.
        text: the line, shortened.
    """

    line: int
    reason: str
    text: str
