"""A way back to units that are off: where a rectifier blocks everything, what would switch it on may pass.

A dream that begins where all of a target's units are off has no gradient to follow.  Through a blocked rectifier this
rule sends a part of what flows back, if that pushes the input towards where it is not blocked (after the redirected
gradients of Lucid; Mordvintsev et al. 2018).
"""

import torch

from pellucid.core.operations.kinds import RECTIFIERS
from pellucid.core.rule import Rule, Step


def redirect(share: float) -> Rule:
    """The rule that lets `share` of a blocked gradient through."""

    def back(step: Step) -> tuple[torch.Tensor, ...]:
        (x,) = step.x
        (slope,) = step.vjp(torch.ones_like(step.up))
        below = x <= 0  # what is blocked above zero is a rectifier's upper end
        helps = torch.where(below, step.up > 0, step.up < 0)
        return (torch.where((slope == 0) & helps, share * step.up, slope * step.up),)

    return Rule("redirected gradients", dict.fromkeys(RECTIFIERS, back), keeps=frozenset({"max_pool"}))
