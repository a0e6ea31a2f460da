"""Control flow: branches and loops, whose bodies are child modules.

A body takes its own inputs, then the values around the node that any of its bodies reads.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.core.run import current
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import Numbers, one

_UNENDING = 1_000_000


@operator("If", read=(0,))
def branch(node: Node, condition: Numbers, *around: Any) -> Any:
    """One of two subgraphs."""
    return node.subgraph("then_branch" if one(condition) else "else_branch")(*around)


def _several(out: Any) -> tuple[Any, ...]:
    return out if isinstance(out, tuple) else (out,)


@operator("Loop", read=(0, 1))
def loop(node: Node, trips: Numbers | None, condition: Numbers | None, *rest: Any) -> Any:
    """The body again and again while its condition holds; the last values, then what every turn put out, stacked."""
    carried = list(rest[: node.kind.explicit - 2])
    around, body = rest[node.kind.explicit - 2 :], node.subgraph("body")
    most = _UNENDING if trips is None else int(one(trips))
    going = True if condition is None else bool(one(condition))
    gathered: list[list[Any]] = [[] for _ in range(node.count - len(carried))]
    turn = 0
    while turn < most and going:
        current().checkpoint()
        where = next((v.device for v in carried if isinstance(v, Tensor)), None)
        out = _several(body(torch.tensor(turn, device=where), torch.tensor(going, device=where), *carried, *around))
        going, carried = bool(out[0]), list(out[1 : 1 + len(carried)])
        for values, value in zip(gathered, out[1 + len(carried) :], strict=True):
            values.append(value)
        turn += 1
    if turn == _UNENDING:
        raise BadModel(f"A loop has not ended after {turn:,} turns.", "Export the model with a limit.")
    return (*carried, *(torch.stack(v) if v else torch.zeros(0) for v in gathered))


@operator("Scan", since=8)
def scan_batched(node: Node, lengths: Tensor | None, *rest: Any) -> Any:
    """Operator set 8: a scan over the second axis, each sample for itself."""
    if lengths is not None:
        raise BadModel("Scan of operator set 8 with lengths is not imported.", "Export it with set 9 or newer.")
    states = node.kind.explicit - 1 - node.get("num_scan_inputs", 1)
    own, around = rest[: node.kind.explicit - 1], rest[node.kind.explicit - 1 :]
    results = [_several(_scanned(node, [v[i] for v in own], around, states)) for i in range(own[0].shape[0])]
    return tuple(torch.stack(parts) for parts in zip(*results, strict=True))


@operator("Scan", since=9)
def scan(node: Node, *rest: Any) -> Any:
    """The body on every slice of some inputs, with a state that it carries along."""
    own, around = list(rest[: node.kind.explicit]), rest[node.kind.explicit :]
    return _scanned(node, own, around, node.kind.explicit - node.get("num_scan_inputs", 1))


def _scanned(node: Node, own: list[Any], around: tuple[Any, ...], states: int) -> tuple[Any, ...]:
    state, scans = own[:states], own[states:]
    axes = node.get("scan_input_axes", [0] * len(scans))
    backwards = node.get("scan_input_directions") or node.get("directions") or [0] * len(scans)
    slices = [x.unbind(axis) for x, axis in zip(scans, axes, strict=True)]
    slices = [s[::-1] if back else s for s, back in zip(slices, backwards, strict=True)]
    gathered: list[list[Any]] = [[] for _ in range(node.count - states)]
    for values in zip(*slices, strict=True):
        current().checkpoint()
        out = _several(node.subgraph("body")(*state, *values, *around))
        state = list(out[:states])
        for into, value in zip(gathered, out[states:], strict=True):
            into.append(value)
    out_axes = node.get("scan_output_axes", [0] * len(gathered))
    turned = node.get("scan_output_directions", [0] * len(gathered))
    stacked = [
        torch.stack(v[::-1] if back else v, axis) for v, back, axis in zip(gathered, turned, out_axes, strict=True)
    ]
    return (*state, *stacked)
