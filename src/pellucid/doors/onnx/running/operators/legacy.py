"""Operators that the standard dropped or only tried, but files still hold."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator


@operator("Affine")
def affine(node: Node, x: Tensor) -> Tensor:
    """Alpha x + beta."""
    factor: float = node.get("alpha", 1.0)
    shift: float = node.get("beta", 0.0)
    return factor * x + shift


@operator("Scale")
def scale(node: Node, x: Tensor) -> Tensor:
    """X times a number."""
    factor: float = node.get("scale", 1.0)
    return factor * x


@operator("ImageScaler")
def image_scaler(node: Node, x: Tensor) -> Tensor:
    """A picture times a number, with a bias for each channel."""
    bias = torch.tensor(node.get("bias", (0.0,)), dtype=x.dtype, device=x.device)
    factor: float = node.get("scale", 1.0)
    return factor * x + bias.reshape(-1, *[1] * (x.dim() - 2))


@operator("ParametricSoftplus")
def parametric_softplus(node: Node, x: Tensor) -> Tensor:
    """Alpha log(1 + exp(beta x))."""
    factor: float = node.get("alpha", 1.0)
    return factor * F.softplus(node.get("beta", 1.0) * x)


@operator("ScaledTanh")
def scaled_tanh(node: Node, x: Tensor) -> Tensor:
    """Alpha tanh(beta x)."""
    factor: float = node.get("alpha", 1.0)
    return factor * torch.tanh(node.get("beta", 1.0) * x)


@operator("Crop")
def crop(node: Node, x: Tensor) -> Tensor:
    """A picture without its borders (left, top, right, bottom), or of a size from its upper left one on."""
    left, top, right, bottom = node.get("border", (0, 0, 0, 0))
    size = node.get("scale") or (x.shape[2] - top - bottom, x.shape[3] - left - right)
    return x[:, :, top : top + size[0], left : left + size[1]]
