"""The map of a network as a picture: which graph, how far it is open, and what its boxes are colored by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pellucid.architecture.graph import Graph
from pellucid.architecture.overlay import Measure, Thumbnail


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """A graph to be laid out and drawn.

    Groups are open down to `depth`; None: as many as fit about sixty boxes.  Boxes have the color of their family of
    operations, or of `measure`, whose numbers they then show.  `pictures` are thumbnails by node.
    """

    graph: Graph
    depth: int | None = None
    measure: Measure | None = None
    pictures: Mapping[int, Thumbnail] = field(default_factory=dict)
    alt: str = ""
    caption: str = ""
