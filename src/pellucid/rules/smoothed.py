"""The smoothed rule: values stay, and the step in a rectifier's slope becomes a sigmoid."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from pellucid.core.rule import Rule, Step


def smoothed(sharpness: float) -> Rule:
    """For ReLU the slope sigmoid(b x), which is softplus's; for ReLU6 the difference of two."""
    return Rule(
        "smoothed slopes",
        {"relu": partial(_at, sharpness, (0.0,)), "relu6": partial(_at, sharpness, (0.0, 6.0))},
        keeps=frozenset({"max_pool", "silu", "gelu", "sigmoid", "tanh", "elu", "softplus", "mish"}),
    )


def _at(sharpness: float, kinks: tuple[float, ...], step: Step) -> tuple[Tensor, ...]:
    slope = torch.zeros_like(step.x[0])
    for i, kink in enumerate(kinks):
        slope = slope + (-1) ** i * torch.sigmoid(sharpness * (step.x[0] - kink))
    return (step.up * slope,)
