"""Where on the map an explanation stands on its own rules, and where it fell back to the plain gradient."""

from __future__ import annotations

import re

from pellucid.architecture.graph import Graph
from pellucid.architecture.overlay import Measure
from pellucid.architecture.sources.draft import sums
from pellucid.core.explanation import Explanation


def covered(graph: Graph, explanation: Explanation) -> Measure:
    """The share of operations that the method's rules cover: 0 or 1 for each, a mean for each group.

    Operations are matched by name to those that the explanation says had no rule.  Of a method without rules of its own
    everything is covered: it uses the plain gradient, or none, on purpose.

    >>> from pellucid.architecture.graph import Edges, nodes, only_root
    >>> import torch, pellucid as pl
    >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Softmax(1))
    >>> e = pl.methods.guided_backprop(model, torch.ones(1, 2), 0)
    >>> covered(Graph("two", "", nodes("linear", "softmax"), only_root("Net"), Edges()), e).nodes
    (1.0, 0.0)
    """
    missing = {name.replace("_", "") for name in explanation.without_rule}  # "max_pool", "attention", "mish", ...
    shares = [
        None if family == "io" else float(family not in missing and _bare(op) not in missing)
        for op, family in zip(graph.nodes.op, graph.nodes.family, strict=True)
    ]
    parent, group = graph.groups.parent, graph.nodes.group
    total = sums(parent, [(g, v or 0.0) for g, v in zip(group, shares, strict=True)])
    count = sums(parent, [(g, int(v is not None)) for g, v in zip(group, shares, strict=True)])
    groups = tuple(t / n if n else None for t, n in zip(total, count, strict=True))
    return Measure(f"Covered by the rules of {explanation.method}", "", tuple(shares), groups, "share", "mean")


def _bare(op: str) -> str:
    return re.sub(r"_|[123]d$", "", op.lower())
