"""Placeholders stand only where a quoted value stays one word."""

from __future__ import annotations

import pytest

from understudy.runner.process.quoting import unsafe_placeholders

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "command",
    [
        "python train.py --rate {rate} --name={name}",
        "echo 'a' {x} \"b\"",
        "echo $(python a.py {x})",
        "echo ${{HOME}} {x} # done",
        "a#b {x}",
        "cat <<< {x}",
        "echo \\' {x}",
        "python a.py \\\n  {x}",
        "# first\npython a.py {x}",
    ],
)
def test_safe(command: str) -> None:
    """Bare placeholders, whatever is around them."""
    assert unsafe_placeholders(command) == {}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("python a.py '{x}'", "quotes"),
        ('python a.py "--x={x}"', "quotes"),
        ("bash -c \"python '{x}'\"", "quotes"),
        ("echo `python a.py {x}`", "back-ticks"),
        ("python a.py # {x}", "a comment"),
        ("cat <<EOF\n{x}\nEOF", "a here-document"),
        ("echo \\{x}", "an escape"),
        ('echo "a\\"{x}"', "quotes"),
    ],
)
def test_unsafe(command: str, reason: str) -> None:
    """Where the value's own quotes lose their meaning."""
    assert unsafe_placeholders(command) == {"x": reason}
