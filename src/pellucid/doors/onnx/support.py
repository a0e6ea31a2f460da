"""Which operators of a model are not known, all at once."""

from __future__ import annotations

from collections import Counter

from pellucid.core.counts import count
from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.graph import Model
from pellucid.doors.onnx.running.registry import find

_SHOWN = 20


def unknown(model: Model) -> Counter[tuple[str, int]]:
    """Operators that nothing computes, with the operator set, counted."""
    met = Counter((node.domain, node.op, node.version) for node in model.graph.walk())
    return Counter(
        {
            (f"{domain}::{op}" if domain else op, version): count
            for (domain, op, version), count in met.items()
            if (domain, op) != ("", "Constant") and find(domain, op, version) is None
        }
    )


def refuse_unknown(model: Model) -> None:
    """Raise `BadModel` that names every unknown operator with its domain and operator set."""
    found = unknown(model)
    if found:
        parts = [f"{printable(title, 60)} (set {version}, {count}x)" for (title, version), count in found.most_common()]
        more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
        raise BadModel(
            f"{model.name or 'The model'} uses {count(len(parts), 'operator that is', 'operators that are')} not "
            f"known: {', '.join(parts[:_SHOWN])}{more}.",
            "Its map can still be drawn; to run it, export it with the standard's operators.",
        )
