"""The identity of a step: steps with the same one may stand for each other. Pure.

A wrong reuse is worse than none, so everything that can change a step's result is part of it, and
what cannot be known makes a step that has no identity at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from understudy.contract import key_of

SCHEME: Final = "step 1"
"""Part of every key: raise it when the meaning of a component changes."""
# The parameters that scrypt's author gives for interactive logins: 16 MiB, some 50 ms.
_SCRYPT: Final = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}


class UnknownContentError(Exception):
    """The content of something cannot be relied on; the text says why. Internal to ``runner``."""


@dataclass(frozen=True, slots=True)
class StepIdentity:
    """All that a step's result may depend on.

    Attributes:
        tree: Git's id of the project's files.
        entry_point: Its name.
        environment: Identity of what is installed.
        parameters: Values as they are handed over, by name; without the inputs.
        inputs: What identifies the content of each input, by parameter: ("artifact", path,
            SHA-256) or ("model", immutable id).
        variables: Environment variables that the step was given by name. They may be secret.
    """

    tree: str
    entry_point: str
    environment: str
    parameters: Mapping[str, str]
    inputs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)

    def key(self) -> str:
        """Return 64 hex digits, the same for the same identity and for no other.

        Where there are variables the key comes from scrypt, salted with the rest: it is shown as
        a tag, and must not let anybody try out short passwords quickly.
        """
        plain = key_of(
            SCHEME,
            self.tree,
            self.entry_point,
            self.environment,
            _in_order(self.parameters),
            _in_order(self.inputs),
        )
        if not self.variables:
            return plain
        # The salt is the rest of the identity and not random: the same step needs the same key.
        secret = _in_order(self.variables).encode()
        return hashlib.scrypt(secret, salt=bytes.fromhex(plain), **_SCRYPT).hex()


def _in_order(values: Mapping[str, str | Sequence[str]]) -> str:
    """Return a mapping as JSON text, whatever order it was written in."""
    return json.dumps(
        {name: value if isinstance(value, str) else list(value) for name, value in values.items()},
        sort_keys=True,
    )
