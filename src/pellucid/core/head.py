"""What a network's scores are: how many of a sample, and whether a single one is a probability, or its logit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from torch import Tensor, nn

# "score": any number, which only two names make an answer of yes or no
Unit: TypeAlias = Literal["score", "logit", "probability"]

_BESIDE_LINEAR = (nn.Identity, nn.Dropout, nn.Softmax, nn.LogSoftmax, nn.Sigmoid)
_ONLY_SHAPE = ("View", "UnsafeView", "Reshape", "ReshapeAlias", "Squeeze", "Unsqueeze", "Flatten", "Clone", "ToCopy",
               "Select", "Slice", "Alias", "Permute", "Transpose", "T", "Expand", "Contiguous")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """How many scores of a sample there are, and in which unit a single one is."""

    scores: int
    unit: Unit = "score"

    def share(self, z: Tensor) -> Tensor:
        """The single score as a probability of yes, in 0..1."""
        return z if self.unit == "probability" else z.sigmoid()

    def log_odds(self, z: Tensor) -> Tensor:
        """The single score in nats; a probability of exactly 0 or 1 is taken for the nearest one that is not."""
        return z.logit(eps=1e-6) if self.unit == "probability" else z


def written_head(model: nn.Module) -> Head | None:
    """The head of a model whose last layer is known without running it: a linear layer at the end of a sequence.

    >>> written_head(nn.Sequential(nn.Flatten(), nn.Linear(8, 1), nn.Sigmoid()))
    Head(scores=1, unit='probability')
    """
    layers, sigmoid = [model], False
    while layers:
        last = layers.pop()
        if type(last) is nn.Sequential:
            layers.extend(last)
        elif type(last) is nn.Linear:
            return Head(last.out_features, "probability" if sigmoid and last.out_features == 1 else "score")
        elif type(last) in _BESIDE_LINEAR:
            sigmoid = sigmoid or type(last) is nn.Sigmoid
        else:
            break
    return None


def ends_in_sigmoid(output: Tensor) -> bool:
    """Did a differentiable output come out of a sigmoid, whatever became of its shape afterwards?

    >>> import torch
    >>> x = torch.ones(2, 1, requires_grad=True)
    >>> ends_in_sigmoid(x.sigmoid().flatten()[:, None]), ends_in_sigmoid(2 * x.sigmoid())
    (True, False)
    """
    made: Any = output.grad_fn
    while made is not None:
        name = made.name().partition("Backward")[0]
        if name == "Sigmoid":
            return True
        if name not in _ONLY_SHAPE or not made.next_functions:
            return False
        made = made.next_functions[0][0]
    return False
