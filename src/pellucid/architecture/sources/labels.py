"""The second line of an operation's box: its weights' shape, and what sets it apart from others of its name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pellucid.core.recording.step import Step
from pellucid.core.recording.tape import Operation, Tape

_CONV = ((3, "stride", 1), (4, "padding", 0), (5, "dilation", 1), (6, "groups", 1))
_BACK = ((3, "stride", 1), (4, "padding", 0), (6, "groups", 1), (7, "dilation", 1))
_POOL = ((1, "kernel_size", None), (2, "stride", None), (3, "padding", 0))
_SIZE = ((1, "output_size", None),)
_DIM = ((1, "dim", None),)
_DIMS = ((1, "dim0", None), (2, "dim1", None))
# by operation: where an argument stands, its name, and the value that goes without saying
_SAID: Mapping[str, tuple[tuple[int, str, Any], ...]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONV),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _BACK),
    **{f"{kind}_pool{n}d": _POOL for kind in ("max", "avg") for n in (1, 2, 3)},
    **{f"adaptive_{kind}_pool{n}d": _SIZE for kind in ("max", "avg") for n in (1, 2, 3)},
    **dict.fromkeys(
        ("softmax", "log_softmax", "cat", "concat", "stack", "mean", "sum", "amax", "unsqueeze", "squeeze", "chunk",
         "split", "argmax", "cumsum", "glu"),
        _DIM,
    ),
    **dict.fromkeys(("transpose", "swapaxes"), _DIMS),
    "group_norm": ((1, "num_groups", None),),
    "permute": ((1, "dims", None),),
    "scaled_dot_product_attention": ((5, "is_causal", False),),
    "multi_head_attention_forward": ((4, "num_heads", None),),
    "interpolate": ((1, "size", None), (2, "scale_factor", None), (3, "mode", "nearest")),
    "leaky_relu": ((1, "negative_slope", None),),
    "clamp": ((1, "min", None), (2, "max", None)),
    "hardtanh": ((1, "min_val", None), (2, "max_val", None)),
    "pad": ((1, "pad", None), (2, "mode", "constant")),
    "einsum": ((0, "equation", None),),
}  # fmt: skip
_SHORT = {
    "dim0": "axes ",
    "dim1": "",
    "min_val": "from ",
    "max_val": "to ",
    "min": "from ",
    "max": "to ",
    "kernel_size": "",
    "output_size": "to ",
    "equation": "",
    "num_heads": "heads ",
    "num_groups": "groups ",
}


def label(op: Operation, step: Step, tape: Tape) -> str:
    """What a reader wants to know beside the name: `16x3x3x3, stride 2, padding 1`; empty where there is nothing.

    >>> import torch
    >>> from pellucid.core.recording.record import record_module
    >>> tape = record_module(torch.nn.Conv2d(3, 16, 3, stride=2), (torch.zeros(1, 3, 8, 8),), {})
    >>> label(tape.operations[0], tape.steps[0], tape)
    '16x3x3x3, stride 2'
    """
    weights = [tape.values[v].shape for v in op.inputs if tape.values[v].origin == "parameter"]
    largest = max(weights, key=lambda s: (len(s), math.prod(s)), default=())
    said = ["x".join(map(str, largest))] if largest else []
    for place, name, usual in _SAID.get(op.name.rstrip("_"), ()):
        value = step.args[place] if place < len(step.args) else step.kwargs.get(name)
        text = value_text(value, ", " if name in ("pad", "dims") else "x")
        if text and text != value_text(usual):
            said.append(_SHORT.get(name, f"{name.replace('_', ' ')} ") + text)
    return ", ".join(said)


def value_text(value: Any, joint: str = "x") -> str:
    """An argument as it is drawn: numbers that are all one number once, else joined; tensors are nothing to read.

    >>> value_text((2, 2)), value_text([1, 2]), value_text(None), value_text("same"), value_text(True)
    ('2', '1x2', '', 'same', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, tuple | list) and value and all(isinstance(v, int | float) for v in value):
        return f"{value[0]:g}" if len(set(value)) == 1 else joint.join(f"{v:g}" for v in value)
    if isinstance(value, int | float):
        return f"{value:g}"
    return value[:40] if isinstance(value, str) else ""
