"""Takes credentials out of text before it is logged, stored or shown. Pure."""

from __future__ import annotations

import re

_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s'\"]*@")
_HEADER = re.compile(r"(?i)(authorization:\s*(?:basic|bearer)\s+)\S+")


def redacted(text: str) -> str:
    """Return the text with the user-info of every URL and every authorisation header removed."""
    return _HEADER.sub(r"\1***", _USERINFO.sub(r"\g<scheme>", text))
