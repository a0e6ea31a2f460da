"""The address of a value inside a network."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pellucid.core.errors import BadInput

_PATTERN = re.compile(r"(?P<path>[^:#]*)(#(?P<call>\d+))?(:(?P<at>[\w.]+))?")


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """What module `path` puts out the `call`-th time it runs (0 is the first).

    `at` is "output", "input", or an operation inside the module: "relu.1" is the second relu that runs in that call.
    The empty path is the network itself.

    >>> str(Site("layer1.0", 1)), Site.parse("layer1.0#1") == Site("layer1.0", 1)
    ('layer1.0#1', True)
    """

    path: str
    call: int = 0
    at: str = "output"

    def __str__(self) -> str:
        return self.path + (f"#{self.call}" if self.call else "") + (f":{self.at}" if self.at != "output" else "")

    @staticmethod
    def parse(text: str) -> Site:
        """The site that `str(site)` wrote."""
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise BadInput(f"{text!r} is not a site.", "Write path, path#call or path#call:operation, e.g. layer1.0#1.")
        return Site(found["path"], int(found["call"] or 0), found["at"] or "output")

    @property
    def operation(self) -> tuple[str, int] | None:
        """The operation's name and which of its runs in that module call, when the site is an operation."""
        if self.at in ("output", "input"):
            return None
        name, _, number = self.at.rpartition(".")
        return (name, int(number)) if name and number.isdigit() else (self.at, 0)
