"""What a network works with between its input and its answer: concepts found, named beforehand, or of single channels.

`craft` finds a class's concepts; `tcav` asks whether a concept of yours matters; `relevance` and `references` show what
single channels stand for; `groups` sorts the channels of a picture; `between` says how one site makes up another.
"""

from __future__ import annotations

from pellucid.concepts.craft import applied, craft
from pellucid.concepts.found import Concepts
from pellucid.concepts.tcav import tcav
from pellucid.concepts.tested import Tcav, Tested

__all__ = ("Concepts", "Tcav", "Tested", "applied", "craft", "tcav")
