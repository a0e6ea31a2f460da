"""Activations of every operator set, and softmax with its relatives."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.run import current
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import one


@operator("Relu", shapely=True)
def relu(node: Node, x: Tensor) -> Tensor:
    """max(x, 0)."""
    return F.relu(x)


@operator("Sigmoid")
def sigmoid(node: Node, x: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return torch.sigmoid(x)


@operator("LeakyRelu")
def leaky_relu(node: Node, x: Tensor) -> Tensor:
    """x, times `alpha` where it is negative."""
    return F.leaky_relu(x, node.get("alpha", 0.01))


@operator("PRelu")
def prelu(node: Node, x: Tensor, slope: Tensor) -> Tensor:
    """x, times a learned slope where it is negative."""
    slope = slope.to(x.dtype)
    if x.is_floating_point() and x.dim() > 1 and slope.numel() in (1, x.shape[1]):
        per_channel = slope.dim() == 1 and node.version < 7  # later ones broadcast from the last axis
        if slope.numel() == 1 or per_channel or slope.shape[-(x.dim() - 1) :] == (x.shape[1], *[1] * (x.dim() - 2)):
            return F.prelu(x, slope.reshape(-1))
    return torch.where(x < 0, x * slope, x)


@operator("Elu")
def elu(node: Node, x: Tensor) -> Tensor:
    """Alpha (exp(x) - 1) where x is negative."""
    return F.elu(x, node.get("alpha", 1.0))


@operator("Celu")
def celu(node: Node, x: Tensor) -> Tensor:
    """Alpha (exp(x / alpha) - 1) where x is negative."""
    return F.celu(x, node.get("alpha", 1.0))


@operator("Selu")
def selu(node: Node, x: Tensor) -> Tensor:
    """The self-normalizing unit; torch's own when it has the usual two constants."""
    alpha, gamma = float(node.get("alpha", 1.6732632)), float(node.get("gamma", 1.0507010))
    if abs(alpha - 1.6732632) < 1e-6 and abs(gamma - 1.0507010) < 1e-6:
        return F.selu(x)
    return gamma * F.elu(x, alpha)


@operator("Softplus")
def softplus(node: Node, x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return F.softplus(x)


@operator("Softsign")
def softsign(node: Node, x: Tensor) -> Tensor:
    """X / (1 + |x|)."""
    return F.softsign(x)


@operator("HardSigmoid")
def hard_sigmoid(node: Node, x: Tensor) -> Tensor:
    """Alpha x + beta, held within 0 and 1."""
    alpha, beta = node.get("alpha", 0.2), node.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(alpha * x + beta, 0, 1)


@operator("HardSwish")
def hard_swish(node: Node, x: Tensor) -> Tensor:
    """X times its hard sigmoid."""
    return F.hardswish(x)


@operator("Gelu")
def gelu(node: Node, x: Tensor) -> Tensor:
    """X times the normal distribution's function, exact or by tanh."""
    return F.gelu(x, approximate=node.get("approximate", "none"))


@operator("Mish")
def mish(node: Node, x: Tensor) -> Tensor:
    """X tanh(softplus(x))."""
    return F.mish(x)


@operator("Swish")
def swish(node: Node, x: Tensor) -> Tensor:
    """X times the sigmoid of alpha x."""
    alpha = node.get("alpha", 1.0)
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


@operator("ThresholdedRelu")
def thresholded_relu(node: Node, x: Tensor) -> Tensor:
    """X where it is greater than alpha, else 0."""
    return F.threshold(x, node.get("alpha", 1.0), 0.0)


@operator("Shrink")
def shrink(node: Node, x: Tensor) -> Tensor:
    """X moved towards 0 by `bias`, and 0 within `lambd` of it."""
    bias, limit = node.get("bias", 0.0), node.get("lambd", 0.5)
    bias = bias if x.is_floating_point() else int(bias)
    return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, torch.zeros_like(x)))


@operator("Clip", shapely=True)
def clip(node: Node, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """X held within limits: attributes in old operator sets, inputs since 11."""
    least = node.get("min") if low is None else low
    most = node.get("max") if high is None else high
    fixed = [name in node._buffers or name in node.fixed for name in _names(node)]
    if all(fixed) or not isinstance(least if least is not None else most, Tensor):
        least, most = one(least), one(most)
        if least == 0 and most is None and x.is_floating_point():
            return F.relu(x)
        if (least, most) == (0, 6) and x.is_floating_point():
            return F.relu6(x)
        return x if least is None and most is None else torch.clamp(x, least, most)
    return torch.clamp(x, least, most)


def _names(node: Node) -> list[str]:
    """Where the limits are kept; a limit that is computed has no such place."""
    return [part if isinstance(part, str) else "" for part in node.parts[1:] if part is not None]


def _as_matrix(x: Tensor, axis: int) -> Tensor:
    """Before operator set 13: everything from `axis` on is one axis."""
    axis = axis % x.dim() if x.dim() else 0
    return x.reshape(prod(x.shape[:axis]), -1)


def _of_matrix(function: Callable[[Tensor, int], Tensor], node: Node, x: Tensor) -> Tensor:
    axis = node.get("axis", 1)
    if axis in (-1, x.dim() - 1):  # as it is, so that rules see one softmax over one axis
        return function(x, -1)
    return function(_as_matrix(x, axis), -1).reshape(x.shape)


@operator("Softmax", since=1)
def softmax_of_matrix(node: Node, x: Tensor) -> Tensor:
    """Softmax over all axes from `axis` on together."""
    return _of_matrix(F.softmax, node, x)


@operator("Softmax", since=13)
def softmax(node: Node, x: Tensor) -> Tensor:
    """Softmax over one axis."""
    return F.softmax(x, node.get("axis", -1))


@operator("LogSoftmax", since=1)
def log_softmax_of_matrix(node: Node, x: Tensor) -> Tensor:
    """The logarithm of softmax over all axes from `axis` on together."""
    return _of_matrix(F.log_softmax, node, x)


@operator("LogSoftmax", since=13)
def log_softmax(node: Node, x: Tensor) -> Tensor:
    """The logarithm of softmax over one axis."""
    return F.log_softmax(x, node.get("axis", -1))


@operator("Hardmax", since=1)
def hardmax_of_matrix(node: Node, x: Tensor) -> Tensor:
    """1 at the first greatest value of all axes from `axis` on together, else 0."""
    matrix = _as_matrix(x, node.get("axis", 1))
    return F.one_hot(matrix.argmax(-1), matrix.shape[-1]).to(x.dtype).reshape(x.shape)


@operator("Hardmax", since=13)
def hardmax(node: Node, x: Tensor) -> Tensor:
    """1 at the first greatest value along an axis, else 0."""
    axis = node.get("axis", -1)
    hot = F.one_hot(x.argmax(axis), x.shape[axis])
    return hot.movedim(-1, axis).to(x.dtype)


@operator("Dropout")
def dropout(
    node: Node, x: Tensor, ratio: Tensor | None = None, training: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """What goes in comes out, unless the file itself says that it trains."""
    share = 0.5 if ratio is None else one(ratio)
    if training is None or not one(training) or share == 0:
        return x, torch.ones_like(x, dtype=torch.bool)
    generator = current().generator("onnx", node.kind.name, "Dropout")
    kept = (torch.rand(x.shape, generator=generator) >= share).to(x.device)
    return torch.where(kept, x / (1 - share), torch.zeros_like(x)), kept
