"""Convolutions, forwards and transposed, and the paddings that pools share with them."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator

_CONV = (F.conv1d, F.conv2d, F.conv3d)
_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def paddings(
    node: Node, size: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[list[int], list[int]]:
    """How much is added before and after each spatial axis, by `pads` or `auto_pad`."""
    n, how = len(size), node.get("auto_pad", "NOTSET")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for length, k, s, d in zip(size, kernel, strides, dilations, strict=True):
            total = max((-(-length // s) - 1) * s + (k - 1) * d + 1 - length, 0)
            low = total // 2 if how == "SAME_UPPER" else -(-total // 2)
            before.append(low)
            after.append(total - low)
        return before, after
    pads = list(node.get("pads", [0] * 2 * n)) if how == "NOTSET" else [0] * 2 * n
    return pads[:n], pads[n:]


def turned(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """As `F.pad` wants them: last axis first, before and after in turn."""
    return [p for pair in zip(reversed(before), reversed(after), strict=True) for p in pair]


def spatial(node: Node, n: int, kinds: int = 3) -> None:
    """Raise `BadModel` when torch has no such operation over `n` spatial axes."""
    if not 1 <= n <= kinds:
        raise BadModel(f"{node.op} over {n} spatial axes was given; torch has 1 to {kinds}.", "Export it differently.")


@operator("Conv")
def conv(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution over one, two or three spatial axes."""
    n = weight.dim() - 2
    spatial(node, n)
    strides, dilations = list(node.get("strides", [1] * n)), list(node.get("dilations", [1] * n))
    before, after = paddings(node, x.shape[2:], weight.shape[2:], strides, dilations)
    if before != after:
        x, before = F.pad(x, turned(before, after)), [0] * n
    return _CONV[n - 1](x, weight, bias, strides, before, dilations, node.get("group", 1))


@operator("ConvTranspose")
def conv_transpose(node: Node, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The transpose of a convolution; what `pads` and `output_shape` do not keep is cut off at the end."""
    n = weight.dim() - 2
    spatial(node, n)
    strides, dilations = list(node.get("strides", [1] * n)), list(node.get("dilations", [1] * n))
    extra = list(node.get("output_padding", [0] * n))
    spans = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    before, after = _cut(node, x.shape[2:], strides, spans, extra)
    pad = [max(0, min(b, a)) for b, a in zip(before, after, strict=True)]
    add = [max(e, 0) for e in extra]
    free = [a < max(s, d) for a, s, d in zip(add, strides, dilations, strict=True)]
    group, inner = node.get("group", 1), add if all(free) else [0] * n
    out = _TRANSPOSED[n - 1](x, weight, bias, strides, pad, inner, group, dilations)
    rest = [[p - b, p - a + e - i] for p, b, a, e, i in zip(pad, before, after, extra, inner, strict=True)]
    if any(map(any, rest)):
        out = F.pad(out, [v for pair in reversed(rest) for v in pair])
    return out


def _cut(
    node: Node, size: Sequence[int], strides: Sequence[int], spans: Sequence[int], extra: Sequence[int]
) -> tuple[list[int], list[int]]:
    """How much is cut off before and after each spatial axis."""
    n, how, wanted = len(size), node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if wanted is None and how in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [length * s for length, s in zip(size, strides, strict=True)]
    if wanted is None:
        pads = list(node.get("pads", [0] * 2 * n)) if how == "NOTSET" else [0] * 2 * n
        return pads[:n], pads[n:]
    before, after = [], []
    for length, s, span, e, target in zip(size, strides, spans, extra, list(wanted)[-n:], strict=True):
        total = s * (length - 1) + e + span - target
        low = total // 2 if how == "SAME_UPPER" else total - total // 2
        low = max(low, 0)  # what is missing is added at the end
        before.append(low)
        after.append(total - low)
    return before, after
