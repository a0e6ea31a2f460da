"""Losses, for models that were exported with theirs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator

_NOTHING = -(2**31)


@operator("NegativeLogLikelihoodLoss")
def negative_log_likelihood(node: Node, scores: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """What the right class lacks in log-probability."""
    ignored = node.get("ignore_index")
    n, c = scores.shape[:2]
    flat, classes = scores.reshape(n, c, -1), target.to(torch.int64).reshape(n, -1)
    skip = _NOTHING if ignored is None else ignored
    loss = F.nll_loss(flat, classes, weight, ignore_index=skip, reduction=node.get("reduction", "mean"))
    return loss.reshape(target.shape) if node.get("reduction", "mean") == "none" else loss


@operator("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(
    node: Node, scores: Tensor, target: Tensor, weight: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    """The same, from scores that are normalized first; the log-probabilities are the second output."""
    logs = F.log_softmax(scores, 1)
    loss = negative_log_likelihood(node, logs, target, weight)
    return (loss, logs) if node.count > 1 else loss
