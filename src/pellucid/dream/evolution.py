r"""How a channel came to be: its strongest patch, and the pattern in it, at several points of the training.

The fourth figure of Zeiler and Fergus (2014, arXiv:1311.2901): one row for each channel, one column for each
checkpoint, the patch being the strongest one at that time.

Good for: seeing when a channel settles; lower layers do so within a few epochs, upper ones late.
Not for:  comparing networks of different architecture: their channels have nothing to do with each other.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadModel
from pellucid.core.network import Network
from pellucid.core.run import current
from pellucid.core.samples import Samples
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.dream.patches import Patches, patches
from pellucid.dream.patterns import patterns


@dataclass(frozen=True, slots=True)
class Evolution(Shown):
    """The strongest patch of each channel with its patterns, for each checkpoint: `columns`, named by `labels`."""

    labels: tuple[str, ...]
    columns: tuple[Patches, ...] = field(repr=False)

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels, one to a row."""
        return self.columns[0].channels


def evolution(
    net: Network | nn.Module,
    checkpoints: Mapping[str, Any] | Sequence[Any],
    data: Samples,
    at: Site | str,
    channels: Sequence[int],
) -> Evolution:
    """The strongest patch of each channel at a site, and its pattern, at every checkpoint.

    `checkpoints` are state dicts of the network, or networks of its architecture, in the order of training; a mapping
    names them.  The network itself is not changed, and does not take part.  A stop returns the checkpoints that are
    done.  Raises `BadModel` for weights that do not fit.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> evolution(net, [net.state_dict()] * 2, torch.rand(4, 1, 8, 8), "1", [0]).labels
    ('checkpoint 1', 'checkpoint 2')
    """
    network = net if isinstance(net, Network) else Network(net)
    if not isinstance(checkpoints, Mapping):
        checkpoints = {f"checkpoint {i}": c for i, c in enumerate(checkpoints, 1)}
    if not checkpoints:
        raise BadInput("There are no checkpoints.", "Give state dicts, or networks, in the order of training.")
    done: dict[str, Patches] = {}
    for label, checkpoint in checkpoints.items():
        if done and current().stopping():
            break
        at_that_time = _loaded(network, label, checkpoint)
        found = patches(at_that_time, data, at, channels, count=1)
        done[str(label)] = found if found.stopped else patterns(at_that_time, data, found)
    return Evolution(tuple(done), tuple(done.values()))


def _loaded(net: Network, label: str, checkpoint: Any) -> Network:
    """A network with the weights of a checkpoint."""
    if isinstance(checkpoint, Network):
        return checkpoint
    if isinstance(checkpoint, nn.Module):
        model = checkpoint
    elif isinstance(checkpoint, Mapping) and all(isinstance(v, Tensor) for v in checkpoint.values()):
        model = copy.deepcopy(net.model)
        try:
            model.load_state_dict(dict(checkpoint))
        except RuntimeError as error:
            why = " ".join(str(error).split())[:300]
            raise BadModel(
                f"The weights of {label!r} do not fit {net.name}: {why}", "Save model.state_dict()."
            ) from error
    else:
        kind = type(checkpoint).__name__
        raise BadInput(f"Checkpoint {label!r} is a {kind}.", "Expected a state dict (name to tensor) or a network.")
    return Network(
        model, inputs=net.inputs, labels=net.labels, preparation=net.preparation, name=f"{net.name}, {label}",
        output=net.output,
    )  # fmt: skip
