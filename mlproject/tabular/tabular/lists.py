"""Reads a parameter that is a list. Touches nothing."""

import re


def split_list(text: str) -> list[str]:
    r"""Return the parts between commas, without blanks around them; `\,` is a comma in a part."""
    parts = (part.strip().replace("\\,", ",") for part in re.split(r"(?<!\\),", text))
    return [part for part in parts if part]
