"""Which axis of a recorded value holds its channels: behind a permutation it may be any."""

from __future__ import annotations

from pellucid.core.recording.positions import moved
from pellucid.core.recording.tape import Tape
from pellucid.core.recording.windows import Call


def channel_axes(tape: Tape) -> dict[int, int]:
    """The axis of the channels of every value that stems from a picture or a convolution, by the value's number.

    >>> import torch
    >>> from pellucid.core.recording.record import record_module
    >>> class Last(torch.nn.Conv2d):
    ...     def forward(self, x):
    ...         return super().forward(x).permute(0, 2, 3, 1).relu()
    >>> tape = record_module(Last(3, 8, 3), (torch.zeros(1, 3, 9, 9),), {})
    >>> [channel_axes(tape)[op.outputs[0]] for op in tape.operations]
    [1, 3, 3]
    """
    found = {v.id: 1 for v in tape.values if v.origin == "input" and len(v.shape) > 3}
    for op, step in zip(tape.operations, tape.steps, strict=True):
        source = next((v for v in op.inputs if v in found), None)
        for out in op.outputs:
            if op.name.startswith("conv") and len(tape.values[out].shape) > 3:
                found.setdefault(out, 1)
            if source is None or out in found:
                continue
            given, made = tape.values[source].shape, tape.values[out].shape
            moves = moved(op.name, Call(step, given, made)) or {}
            axis, _ = moves.get(found[source], (found[source] + len(made) - len(given), None))
            if 0 < axis < len(made):
                found[out] = axis
    return found
