"""The way back through a pass: gradients of a score, and a sentence where the network forbids them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.core.target import Target


def slopes(name: str, score: Tensor, leaves: Sequence[Tensor]) -> list[Tensor]:
    """The gradient of the summed score at each leaf, zero at those that it does not reach; nothing if it reaches none.

    Raises `BadModel` when network `name` wrote over numbers that its own gradient needs.
    """
    try:
        found: tuple[Tensor | None, ...] = torch.autograd.grad(score.sum(), list(leaves), allow_unused=True)
    except RuntimeError as error:
        if "modified by an inplace operation" not in str(error):
            raise
        raise BadModel(
            f"{name} cannot be differentiated: it writes over numbers that its gradient needs (an operation in place).",
            "Let it write into a new tensor (h = h + 1, not h += 1), or use a method without gradients: occlusion.",
        ) from error
    if all(grad is None for grad in found):  # quantized operations look differentiable and are not
        return []
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, found, strict=True)]


def no_gradient(target: Target) -> BadModel:
    """What is said when the score cannot be differentiated."""
    return BadModel(
        f"The score {target} does not depend differentiably on what is to be explained.",
        "The model detaches, rounds or ignores it; use a perturbation method such as occlusion.",
    )
