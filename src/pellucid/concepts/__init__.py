"""What a network works with between its input and its answer: concepts found, named beforehand, or of single channels.

`craft` finds a class's concepts; `tcav` asks whether a concept of yours matters; `relevance` and `references` show what
single channels stand for; `groups` sorts the channels of a picture; `between` says how one site makes up another.
"""

from __future__ import annotations

from pellucid.concepts.between import Between, between
from pellucid.concepts.craft import applied, craft
from pellucid.concepts.found import Concepts
from pellucid.concepts.groups import Groups, groups
from pellucid.concepts.references import References, references
from pellucid.concepts.relevance import Relevance, relevance
from pellucid.concepts.tcav import tcav
from pellucid.concepts.tested import Tcav, Tested

__all__ = (
    "Between", "Concepts", "Groups", "References", "Relevance", "Tcav", "Tested",
    "applied", "between", "craft", "groups", "references", "relevance", "tcav",
)  # fmt: skip
