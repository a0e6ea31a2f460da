"""The map of a network as a result: its graph, its totals and what is laid over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pellucid.architecture.graph import Graph
from pellucid.architecture.overlay import Overlay
from pellucid.architecture.text import to_text
from pellucid.architecture.totals import Totals
from pellucid.core.shown import Shown

if TYPE_CHECKING:
    from pellucid.core.explanation import Explanation

_INPUT = "It needs an input: --input cat.jpg, or pl.map(net, x)."
_NEEDS = {
    **dict.fromkeys(("zeros", "low", "high", "mean", "spread", "dead", "saturated", "gradient"), _INPUT),
    "time": "It needs a run that is timed: pl.map(net, x, time=True).",
    "trust": "It needs an explanation: found.explained_by(explanation).",
    "field": "It needs a run: give an input or its shape.",
}


@dataclass(frozen=True, slots=True, eq=False)
class Architecture(Shown):
    """What a network is made of.

    `graph` are its operations, groups and edges, `totals` their sums, `overlay` numbers and pictures by node and group
    (parameters, FLOPs and memory always; with an input also activations).  `notes` say what it was run on and what was
    not known.  `color` names the measure that pictures are colored by; empty: by family of operation.  `metadata` is
    what a file says about itself.
    """

    graph: Graph
    totals: Totals
    overlay: Overlay = field(default_factory=Overlay, repr=False)
    notes: tuple[str, ...] = ()
    color: str = ""
    depth: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, repr=False)

    def colored(self, by: str) -> Architecture:
        """The same map with its boxes colored by a measure; empty: by family.  Raises `BadOption` if there is none."""
        from pellucid.core.errors import BadOption

        if by and by not in self.overlay.measures:
            there = f"There is: {', '.join(self.overlay.measures)}."
            need = _NEEDS.get(by, "")
            raise BadOption(f"There is nothing to color by {by!r}.", f"{need} {there}".lstrip())
        return replace(self, color=by)

    def explained_by(self, explanation: Explanation) -> Architecture:
        """The same map with what an explanation's rules cover laid over it as "trust", and its trust card in the notes.

        An operation that is not covered ran under the plain gradient: what flows through it is not the method's.
        """
        from pellucid.architecture.overlays.trust import covered

        said = [f"{c.name}: {c.verdict.name.lower()}." for c in explanation.checks]
        overlay = self.overlay.with_measures({"trust": covered(self.graph, explanation)})
        return replace(self, overlay=overlay, notes=(*self.notes, *said))

    def opened(self, depth: int | None) -> Architecture:
        """The same map with groups opened down to a depth; None: as many as can be seen at once."""
        return replace(self, depth=depth)

    def folded(self) -> Architecture:
        """The same map as it is drawn: long lists of operations in groups of their own, which are no modules.

        Patterns that repeat are one group a time, what is left is cut where a single value is handed on, so that
        the whole network is seen in about sixty boxes.  Such a group has the path of the module that it is a part of.
        """
        from pellucid.architecture.stretches.folding import folded
        from pellucid.architecture.stretches.measured import spread_over

        if self.totals.tensors:  # names of weights say more than what would be made of them
            return self
        graph, was = folded(self.graph)
        return (
            self if graph is self.graph else replace(self, graph=graph, overlay=spread_over(self.overlay, graph, was))
        )

    @property
    def text(self) -> str:
        """Everything as JSON text, in columns; what `save("map.json")` writes."""
        show = {"color": self.color, "depth": self.depth}
        return to_text(self.graph, self.totals, self.overlay, self.notes, show)
