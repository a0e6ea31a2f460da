r"""Does an input look like what the network was trained on?  Its first batch normalization remembers what it saw.

With the mean $\mu_c$ and variance $\sigma_c^2$ that a batch normalization keeps (Ioffe and Szegedy, 2015),
the root mean square of $(a_c - \mu_c)/\sigma_c$ over an input's values $a_c$ is 1 on average over the training data.
On the bundled network 400 photographs lie at 0.4 to 1.5, and at 67 to 284 when they are given as 0 to 255; given as
0 to 1, which that network hardly minds, they lie at 0.3 to 1.2: such a slip is not told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pellucid.core.lease import tensors_of
from pellucid.core.misfit import unlike_size
from pellucid.core.network import Network
from pellucid.core.tensors import Tensors

FAR = 5.0  # times what training saw
_ARGUMENTS = ("input", "running_mean", "running_var")


class _Met(Exception):
    """The pass came to its first batch normalization; what was given to it is all that was wanted."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.given = given


class _UntilNormalized(TorchFunctionMode):
    """Ends a pass at its first batch normalization."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run what comes before it."""
        if func is F.batch_norm:
            self.end(dict(zip(_ARGUMENTS, args, strict=False)) | (kwargs or {}))
        return func(*args, **(kwargs or {}))

    def end(self, given: Mapping[str, Any]) -> NoReturn:
        """Leave the pass."""
        raise _Met(given)


def unlike_training(net: Network, x: Tensors) -> str:
    """A sentence when the input's values lie far outside of what the network was trained on; '' when nothing shows it.

    Nothing shows it in a network without batch normalization, or before it was trained; that of Keras is not seen, for
    it is spelled out in arithmetic.  Costs the layers up to there.
    """
    if not any("running_mean" in name for name in tensors_of(net.model)):
        return ""
    given = _first_given(net, x)
    times = 0.0 if given is None else distance(**given)
    if times < FAR:
        return ""
    return (
        f"At the first batch normalization, this input's values lie {times:.3g} times as far from the mean as those of "
        "training did. Prepare it as in training: the range (0 to 1, or 0 to 255), mean and std."
    )


def _first_given(net: Network, x: Tensors) -> dict[str, Any] | None:
    try:
        with net.lease() as model, torch.no_grad(), _UntilNormalized():
            net.call(model, dict(x))
    except _Met as met:
        given = {name: met.given.get(name) for name in _ARGUMENTS}
        return None if any(v is None for v in given.values()) else given
    except Exception:  # it does not run on this, which the method that follows says in its own words
        return None
    return None


def doubts(net: Network, x: Tensors) -> tuple[str, ...]:
    """Every sentence on why an input cannot be what the network wants: by its file, its preparation, its training."""
    stated = [] if net.preparation is None else [net.preparation.unlike(v) for v in x.values() if v.ndim == 4]
    return tuple(filter(None, (*stated, unlike_size(net.model, x), unlike_training(net, x))))


def distance(input: Tensor, running_mean: Tensor, running_var: Tensor) -> float:
    """How many times as far from the mean as in training, for the median channel; 0 where nothing was learned.

    >>> distance(torch.tensor([[8.0], [-6.0]]), torch.tensor([1.0]), torch.tensor([4.0]))
    3.5
    """
    untrained = not bool(running_mean.any()) and bool((running_var == 1).all())
    alive = running_var > 1e-6 * running_var.max()
    if untrained or not bool(alive.any()):
        return 0.0
    far = (input.transpose(0, 1).flatten(1) - running_mean[:, None]).square().mean(1)
    return float((far[alive] / running_var[alive]).median().sqrt())
