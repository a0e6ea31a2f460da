"""One step of an optimizer, as files written for training hold it; and what is refused there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator

_DOMAIN = "ai.onnx.preview.training"
Step: TypeAlias = Callable[..., Sequence[Tensor]]


def _each(step: Step, node: Node, rate: Tensor, turn: Tensor, values: Sequence[Tensor], kinds: int) -> Any:
    """Inputs come sorted by kind: all weights, all gradients, all states of the first kind, ...; so do the outputs."""
    count = len(values) // kinds
    groups: Iterator[tuple[Tensor, ...]] = (values[i::count] for i in range(count))  # type: ignore[misc]
    found = [step(node, rate, turn, *group) for group in groups]
    return tuple(v for kind in zip(*found, strict=True) for v in kind)


def _gradient(node: Node, x: Tensor, gradient: Tensor) -> Tensor:
    decay: float = node.get("norm_coefficient", 0.0)
    return decay * x + gradient


@operator("Adagrad", domain=_DOMAIN)
def adagrad(node: Node, rate: Tensor, turn: Tensor, *values: Tensor) -> Any:
    """Steps shrink with the sum of squared gradients so far."""
    return _each(_adagrad, node, rate, turn, values, 3)


def _adagrad(node: Node, rate: Tensor, turn: Tensor, x: Tensor, g: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    g = _gradient(node, x, g)
    h = h + g * g
    rate = rate / (1 + turn * node.get("decay_factor", 0.0))
    return x - rate * g / (torch.sqrt(h) + node.get("epsilon", 1e-6)), h


@operator("Momentum", domain=_DOMAIN)
def momentum(node: Node, rate: Tensor, turn: Tensor, *values: Tensor) -> Any:
    """Steps along a running mean of gradients, plainly or looking ahead (Nesterov)."""
    return _each(_momentum, node, rate, turn, values, 3)


def _momentum(node: Node, rate: Tensor, turn: Tensor, x: Tensor, g: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    g, alpha = _gradient(node, x, g), node.get("alpha", 0.0)
    v = alpha * v + torch.where(turn > 0, node.get("beta", 1.0), 1.0) * g
    return x - rate * (g + alpha * v if node.get("mode") == "nesterov" else v), v


@operator("Adam", domain=_DOMAIN)
def adam(node: Node, rate: Tensor, turn: Tensor, *values: Tensor) -> Any:
    """Steps by running means of gradients and of their squares."""
    return _each(_adam, node, rate, turn, values, 4)


def _adam(node: Node, rate: Tensor, turn: Tensor, x: Tensor, g: Tensor, v: Tensor, h: Tensor) -> tuple[Tensor, ...]:
    g, alpha, beta = _gradient(node, x, g), node.get("alpha", 0.9), node.get("beta", 0.999)
    v, h = alpha * v + (1 - alpha) * g, beta * h + (1 - beta) * g * g
    unbiased = torch.sqrt(1 - beta**turn) / (1 - alpha**turn)
    rate = torch.where(turn > 0, rate * unbiased, rate)
    new = x - rate * v / (torch.sqrt(h) + node.get("epsilon", 1e-6))
    return (1 - node.get("norm_coefficient_post", 0.0)) * new, v, h


@operator("Gradient", domain=_DOMAIN)
def gradient(node: Node, *values: Any) -> Any:
    """Refused: which part of the graph it differentiates is said by names that only a training session has."""
    raise BadModel("The model holds a Gradient node, which belongs to training.", "Export the model for inference.")


@operator("ImageDecoder")
def image_decoder(node: Node, data: Any) -> Any:
    """Refused: a file that somebody sent would choose which picture parser runs on what."""
    raise BadModel("The model decodes picture files itself.", "Cut that node off; give it decoded pixels.")


@operator("ATen", domain="org.pytorch.aten")
@operator("ATen")
def aten(node: Node, *values: Any) -> Any:
    """Refused: it is a call of torch by name, which the standard knows nothing about."""
    name = node.get("operator", "unknown")
    raise BadModel(f"The model calls torch's own {str(name)[:40]!r}.", "Export it with the standard's operators.")
