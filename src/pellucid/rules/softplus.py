"""Softplus in the place of every ReLU: a network that bends where the other has kinks."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.rule import Rule


def softplus(sharpness: float) -> Rule:
    """The rule that computes log(1 + exp(b x)) / b where the network computes max(x, 0); b is the sharpness.

    It changes what goes forward too: this is the only rule that explains another network, as near as b is large.
    """

    def smooth(x: Tensor, inplace: bool = False) -> Tensor:
        out = F.softplus(x.clone() if inplace else x, sharpness)
        return x.copy_(out) if inplace else out

    def into(x: Tensor) -> Tensor:
        return smooth(x, inplace=True)

    spelled: dict[object, Callable[..., Tensor]] = dict.fromkeys((F.relu, torch.relu, Tensor.relu), smooth)
    return Rule("softplus", {}, expands=spelled | dict.fromkeys((F.relu_, torch.relu_, Tensor.relu_), into))
