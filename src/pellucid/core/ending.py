"""How a network ends, found by running it once on one sample, and remembered with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.head import Head, ends_in_sigmoid
from pellucid.core.network import Network
from pellucid.core.run import Meter, current, running
from pellucid.core.target import Target
from pellucid.core.tensors import Tensors, rows

_SIGMOID = (
    "The network ends in a sigmoid, so that a probability is explained, whose slopes vanish where the network is sure: "
    "the score before the sigmoid is explained better."
)


def head_of(net: Network, x: Tensors | None = None) -> Head | None:
    """What its scores are, by one pass of the first sample of `x`, or of zeros; None where that cannot be known.

    The scores of an output of `[batch, scores]` are counted, and of maps `[batch, scores, height, width]`.
    """
    if net.head is None and not net.continues:
        given = _zeros(net) if x is None else rows(x, 0, 1)
        output = _output(net, given) if given else None
        if output is not None and output.ndim in (2, 4):
            sigmoid = output.shape[1] == 1 and ends_in_sigmoid(output)
            net.head = Head(output.shape[1], "probability" if sigmoid else "score")
            net.notes = (*net.notes, _SIGMOID) if sigmoid else net.notes
    return net.head


def named(target: Target, net: Network, x: Tensors | None = None) -> Target:
    """`target.named(net)`, after asking the network how two names are meant: for two scores, or for one."""
    if len(net.names) == 2:
        head_of(net, x)
    return target.named(net)


def _output(net: Network, x: Tensors) -> Tensor | None:
    """The output to one sample, differentiable where the network is; None where it does not run."""
    weight = next((p for p in net.model.parameters() if p.is_floating_point()), torch.zeros(()))
    apart = replace(current(), meter=Meter(), progress=None, stop=None)
    given = {k: v.detach().to(weight.device).clone() for k, v in x.items()}
    floats = {k: v.to(weight.dtype).requires_grad_() for k, v in given.items() if v.is_floating_point()}
    try:
        with running(apart), net.lease() as model, torch.enable_grad():
            # a model may write into its input, which a leaf does not allow
            return net.pick(net.call(model, {k: floats[k].clone() if k in floats else v for k, v in given.items()}))
    except Exception:  # it does not run on this, which whoever runs it next is told
        return None


def _zeros(net: Network) -> Tensors:
    """Zeros of the shapes that the network's file states, or of a picture as it is prepared; nothing where unknown."""
    stated: Any = getattr(net.model, "takes", None)
    if isinstance(stated, Mapping) and stated and all(kind.startswith("float") for _, kind in stated.values()):
        return {name: torch.zeros(shape) for name, (shape, _) in stated.items()}
    p = net.preparation
    return {} if p is None or len(net.inputs) != 1 else {net.inputs[0]: torch.zeros(1, p.channels, p.size, p.size)}
