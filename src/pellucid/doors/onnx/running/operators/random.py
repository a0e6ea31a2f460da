"""Random numbers, from the Run's generator: the same for the same seed of the run, node and shape."""

from __future__ import annotations

import torch
from torch import Tensor

from pellucid.core.run import current
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator
from pellucid.doors.onnx.running.values import dtype


def _generator(node: Node) -> torch.Generator:
    return current().generator("onnx", node.kind.name, node.op, node.get("seed", 0.0))


def _kind(node: Node, like: Tensor | None = None) -> torch.dtype:
    code = node.get("dtype")
    if code is None:
        return like.dtype if like is not None and like.is_floating_point() else torch.float32
    return dtype(code)


def _normal(node: Node, shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
    drawn = torch.randn(shape, generator=_generator(node))
    scale, mean = float(node.get("scale", 1.0)), float(node.get("mean", 0.0))
    return (drawn * scale + mean).to(kind)


def _uniform(node: Node, shape: tuple[int, ...], kind: torch.dtype) -> Tensor:
    low, high = float(node.get("low", 0.0)), float(node.get("high", 1.0))
    return (torch.rand(shape, generator=_generator(node)) * (high - low) + low).to(kind)


@operator("RandomNormal")
def random_normal(node: Node) -> Tensor:
    """Normal noise of a stated shape."""
    return _normal(node, tuple(node.get("shape", ())), _kind(node))


@operator("RandomNormalLike")
def random_normal_like(node: Node, x: Tensor) -> Tensor:
    """Normal noise in the shape of the input."""
    return _normal(node, tuple(x.shape), _kind(node, x)).to(x.device)


@operator("RandomUniform")
def random_uniform(node: Node) -> Tensor:
    """Even noise of a stated shape."""
    return _uniform(node, tuple(node.get("shape", ())), _kind(node))


@operator("RandomUniformLike")
def random_uniform_like(node: Node, x: Tensor) -> Tensor:
    """Even noise in the shape of the input."""
    return _uniform(node, tuple(x.shape), _kind(node, x)).to(x.device)


@operator("Bernoulli")
def bernoulli(node: Node, x: Tensor) -> Tensor:
    """1 with the probability that the input states, else 0."""
    code = node.get("dtype")
    drawn = torch.rand(x.shape, generator=_generator(node), dtype=torch.float64).to(x.device)
    return (drawn < x).to(x.dtype if code is None else dtype(code))


@operator("Multinomial")
def multinomial(node: Node, x: Tensor) -> Tensor:
    """Classes drawn by unnormalized log-probabilities."""
    kind = dtype(node.get("dtype", 6))
    shares = torch.softmax(x.detach().double().cpu(), -1)
    drawn = torch.multinomial(shares, node.get("sample_size", 1), replacement=True, generator=_generator(node))
    return drawn.to(kind).to(x.device)
