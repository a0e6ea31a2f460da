"""What happened in a network on one input: ranges, zeros, dead and saturated units, and pictures of channels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from pellucid.architecture.given import Call
from pellucid.architecture.graph import ROOT, Graph
from pellucid.architecture.overlay import Measure, Scale, Thumbnail
from pellucid.architecture.overlays.channels import channel_axes
from pellucid.architecture.overlays.places import last_nodes, nodes_by_operation, spread
from pellucid.architecture.stretches.folding import folded
from pellucid.architecture.tree import pictured_nodes
from pellucid.core.recording.step import Step
from pellucid.core.recording.tape import Operation, Tape

SIDE, CHANNELS, MOST_PICTURES = 24, 4, 600
NEAR = 0.01  # of the whole range: that close to its end a unit counts as saturated
_BOUNDS: Mapping[str, tuple[float, float]] = {
    "sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "softsign": (-1.0, 1.0), "hardsigmoid": (0.0, 1.0), "relu6": (0.0, 6.0),
}  # fmt: skip
_MEASURES: Mapping[str, tuple[str, Scale]] = {
    "low": ("Smallest value", "linear"),
    "high": ("Largest value", "linear"),
    "mean": ("Mean", "linear"),
    "spread": ("Standard deviation", "log"),
    "zeros": ("Share of zeros", "share"),
    "dead": ("Share of dead units (zero everywhere)", "share"),
    "saturated": ("Share of saturated values", "share"),
}
Found = tuple[dict[str, Measure], dict[int, Thumbnail]]


def activity(tape: Tape, model: nn.Module, call: Call, graph: Graph) -> Found:
    """Numbers and pictures of what every operation put out, by running the recorded pass once more.

    A unit is a channel, a feature of a row, or of a token.  It is dead when it is exactly zero at every place of every
    sample.  Values are saturated where a bounded activation is within a hundredth of its range from an end at which
    its slope is nothing; a zero of ReLU6 counts as a zero, not as saturated.
    """
    nodes = nodes_by_operation(tape, graph)
    found: dict[str, dict[int, float]] = defaultdict(dict)
    pictures: dict[int, Thumbnail] = {}
    channels = channel_axes(tape)
    pictured = _pictured(graph)

    def see(op: Operation, values: Mapping[int, Tensor]) -> None:
        value = values.get(op.outputs[0]) if op.outputs else None
        if op.index not in nodes or value is None or not value.is_floating_point() or not value.numel():
            return
        if value.is_mkldnn:  # optimized scripts have a layout that few operations know
            value = value.to_dense()
        if value.layout != torch.strided or value.is_nested:  # torch has no arithmetic for these that would tell
            return
        node = nodes[op.index]
        axis = channels.get(op.outputs[0], unit_axis(value.ndim, op.name)) if value.ndim > 3 else None
        for name, number in numbers(value, op, tape.steps[op.index], axis).items():
            found[name][node] = number
        if node in pictured and (picture := thumbnail(value, axis or 1)) is not None:
            pictures[node] = picture

    with torch.no_grad():
        tape.replay(model, call.args, call.kwargs, see=see)
    last = last_nodes(tape, graph)
    measures = {
        name: Measure(title, "", *spread(found[name], graph, last), scale)
        for name, (title, scale) in _MEASURES.items()
        if found[name]
    }
    return measures, pictures


def _pictured(graph: Graph) -> Container[int]:
    """The nodes of which pictures are kept: all, or of very many first those that are seen when all is closed."""
    shapes = graph.nodes.shape
    able = [node for node, shape in enumerate(shapes) if shape is not None and len(shape) > 2]
    if len(able) <= MOST_PICTURES:
        return frozenset(able)
    drawn, _ = folded(graph)
    leaving, depths = pictured_nodes(drawn, frozenset(able)), drawn.depths
    outer = [leaving[group] for group in sorted(range(len(depths)), key=depths.__getitem__)]
    alone = [node for node in able if graph.nodes.group[node] == drawn.nodes.group[node] == ROOT]
    ordered = dict.fromkeys(node for node in (*alone, *outer, *able) if node is not None)
    return frozenset(islice(ordered, MOST_PICTURES))


def numbers(value: Tensor, op: Operation, step: Step, axis: int | None = None) -> dict[str, float]:
    """The numbers of one value, with its units along an axis; what is infinite or no number is left out of them."""
    v = value.detach().double().nan_to_num(0.0, 0.0, 0.0)
    units = v.ndim > 1
    out = {
        "low": float(v.min()),
        "high": float(v.max()),
        "mean": float(v.mean()),
        "spread": float(v.std(correction=0)),
        "zeros": float((v == 0).double().mean()),
    }
    if units:
        axis = unit_axis(v.ndim, op.name) if axis is None else axis
        rest = [a for a in range(v.ndim) if a != axis]
        out["dead"] = float((v == 0).all(dim=rest[0]).double().mean()) if len(rest) == 1 else _dead(v, axis)
    ends = _ends(op, step)
    if ends is not None:
        low, high = ends
        margin = NEAR * (high - low)
        above = v >= high - margin
        reached = above if op.name.rstrip("_") in ("relu6", "hardtanh") and low == 0 else above | (v <= low + margin)
        out["saturated"] = float(reached.double().mean())
    return out


def _dead(v: Tensor, axis: int) -> float:
    return float((v == 0).movedim(axis, 0).flatten(1).all(1).double().mean())


def unit_axis(axes: int, name: str) -> int:
    """The axis along which units lie: channels of pictures and of 1-d convolutions, else the last one.

    >>> unit_axis(4, "relu"), unit_axis(3, "linear"), unit_axis(3, "conv1d"), unit_axis(2, "linear")
    (1, 2, 1, 1)
    """
    return 1 if axes > 3 or "1d" in name else axes - 1


def _ends(op: Operation, step: Step) -> tuple[float, float] | None:
    name = op.name.rstrip("_")
    if name == "hardtanh":
        low, high = (
            step.args[i] if i < len(step.args) else step.kwargs.get(key, usual)
            for i, key, usual in ((1, "min_val", -1.0), (2, "max_val", 1.0))
        )
        return float(low), float(high)
    return _BOUNDS.get(name)


def thumbnail(value: Tensor, axis: int = 1) -> Thumbnail | None:
    """The first sample's channels that vary most from place to place, or its tokens by features; None for other shapes.

    `axis`: where the channels of a map are.  Of a map that is one line of places all channels are one picture.

    >>> thumbnail(torch.ones(1, 8, 32, 32)).channels, thumbnail(torch.ones(1, 8)) is None
    ((0, 1, 2, 3), True)
    """
    if value.ndim < 3:  # numbers and rows have no places
        return None
    v = value.detach()[:1].float().nan_to_num(0.0, 0.0, 0.0)
    v = v.movedim(axis, 1) if v.ndim == 4 else v
    if v.ndim == 4 and min(v.shape[2:]) > 1:
        told = v[0].std((1, 2), correction=0)  # a channel that is strong everywhere alike shows nothing
        channels = told.sort(descending=True, stable=True).indices[:CHANNELS]
        maps = v[:, channels]
    elif v.ndim == 4 and max(v.shape[2:]) > 1 < v.shape[1]:  # a line of places: all channels, one above the other
        channels, maps = torch.zeros(1, dtype=torch.long), v.flatten(2)[:, None]
    elif v.ndim == 3 and min(v.shape[1:]) > 1:
        channels, maps = torch.zeros(1, dtype=torch.long), v[:, None]
    else:
        return None
    height, width = (min(int(n), SIDE) for n in maps.shape[2:])
    small = functional.adaptive_avg_pool2d(maps, (height, width))[0].cpu()
    low, high = float(small.min()), float(small.max())
    signed = low < 0
    reach = max(abs(low), abs(high))
    low, high = (-reach, reach) if signed else (0.0, high)
    share = (small - low) / ((high - low) or 1.0)
    pixels = (share * 255).round().clamp(0, 255).to(torch.uint8).numpy().tobytes()
    return Thumbnail(height, width, tuple(channels.tolist()), low, high, signed, pixels)
