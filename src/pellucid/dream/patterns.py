r"""What in a patch excited the channel: the deconvolution network's pattern of it, with guided backpropagation's.

Of the value at a site all is set to zero but the one activation, which then goes back down to the input:

$$R^{conv}_{in} = \text{transposed filters}\,(R_{out}), \quad R^{relu}_{in} = \max(R_{out}, 0), \quad
R^{pool}_{in} = \text{switches}\,(R_{out})$$

Good for: seeing which strokes of a patch a channel reacts to (Zeiler, Fergus 2014, arXiv:1311.2901).
Not for:  proof that it looks for them: both methods partly draw the picture itself, whatever the weights are
          (Mahendran, Vedaldi 2016; Nie, Zhang, Patel 2018; Adebayo et al. 2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from torch import Tensor, nn

from pellucid.core.answer import Answer
from pellucid.core.errors import BadInput, Stopped
from pellucid.core.explanation import Cost
from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.core.rule import Rule
from pellucid.core.run import Meter, current, running
from pellucid.core.samples import Collection, Samples
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import Target
from pellucid.core.tensors import Tensors, joined
from pellucid.dream.excited.cutting import Patch, cut, small
from pellucid.dream.excited.layout import Layout, layout_at
from pellucid.dream.patches import Patches
from pellucid.rules.deconvolution import DECONVOLUTION
from pellucid.rules.guided import GUIDED

BLOCK = 32  # patches whose samples are held at once; passes are sized by memory, whatever this is


@dataclass(frozen=True, slots=True)
class Activations(Target):
    """One unit at a site for each sample: `units` are numbers into the flattened value."""

    site: Site
    units: Int[Tensor, " batch"]

    @property
    def sites(self) -> tuple[Site, ...]:
        """The one site."""
        return (self.site,)

    @property
    def whole(self) -> bool:
        """A pass ends at the site."""
        return False

    def of(self, answer: Answer) -> Tensor:
        """Each sample's own unit, `[batch]`."""
        own = self.units.to(answer.rows.device)[answer.rows]
        return answer.at[self.site].flatten(1).gather(1, own[:, None])[:, 0]

    def __str__(self) -> str:
        return f"one unit of {self.site} for each sample"


def patterns(net: Network | nn.Module, data: Samples, found: Patches) -> Patches:
    """The same patches, each with its deconvolved `pattern` and its `guided` one, cut out as the patch is.

    `data` are the samples that the patches were found in.  Patterns are in the unit of the patch (colors where the
    network's preparation is known), for an activation of one; their sign is the signal's.  `without_rule` of the
    result names operations through which the plain gradient flowed.  Raises `BadInput` when the data or the network
    are others than those of the patches.

    >>> from pellucid.dream.patches import patches
    >>> net, x = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU()), torch.rand(4, 1, 8, 8)
    >>> patterns(net, x, patches(net, x, "1", count=2)).top[0][0].pattern.shape
    torch.Size([1, 3, 3])
    """
    network = net if isinstance(net, Network) else Network(net)
    samples, outer = Collection(network, data), current().meter
    if found.fingerprint != network.fingerprint or found.total != len(samples):
        raise BadInput(
            f"The patches are of {found.network} and {found.total} samples; {network.name} and {len(samples)} were "
            "given.",
            "Give the network and the data that they were found in.",
        )
    with ExitStack() as stack:
        model = stack.enter_context(network.lease())
        run = stack.enter_context(running(replace(current(), meter=Meter())))
        stack.callback(outer.add, run.meter)
        stack.enter_context(torch.no_grad())
        wanted = {id(p): p for ranks in (*found.top, *found.bottom) for p in ranks}
        drawn: dict[int, Patch] = {}
        try:
            for part in _blocks(list(wanted.values())):
                drawn.update(_drawn(network, model, samples, found, part))
        except Stopped:
            if not drawn:
                raise
        top, bottom = (tuple(tuple(drawn.get(id(p), p) for p in r) for r in all_) for all_ in (found.top, found.bottom))
        left = len(wanted) - len(drawn)
        more = f"patterns of {len(drawn)} of {len(wanted)} patches" if left else ""
        cost = found.cost
        return replace(
            found, top=top, bottom=bottom, without_rule=tuple(sorted(run.meter.without_rule)),
            stopped="; ".join(part for part in (found.stopped, more) if part),
            cost=Cost(cost.forwards + run.meter.forwards, cost.backwards + run.meter.backwards, cost.seconds),
        )  # fmt: skip


def _blocks(wanted: Sequence[Patch]) -> Iterator[Sequence[Patch]]:
    in_order = sorted(wanted, key=lambda p: p.sample)
    return (in_order[i : i + BLOCK] for i in range(0, len(in_order), BLOCK))


def _drawn(net: Network, model: nn.Module, samples: Collection, of: Patches, part: Sequence[Patch]) -> dict[int, Patch]:
    """Some patches with their patterns, by the patches' identity; those of one shape share passes."""
    read = {n: like_the_model(samples[n], model) for n in {p.sample for p in part}}
    by_shape: dict[tuple[tuple[int, ...], ...], list[Patch]] = {}
    for p in part:
        by_shape.setdefault(tuple(tuple(v.shape) for v in read[p.sample].values()), []).append(p)
    site, found = Site.parse(of.site), dict[int, Patch]()
    for alike in by_shape.values():
        x = joined([read[p.sample] for p in alike])
        layout = layout_at(net, model, {k: v[:1] for k, v in x.items()}, site, of.axis)
        deconvolved, guided = (_gradients(net, model, x, site, alike, layout, rule) for rule in (DECONVOLUTION, GUIDED))
        for i, p in enumerate(alike):
            own = (_shown(net.preparation, cut(g[i : i + 1], layout.axes, p.part)) for g in (deconvolved, guided))
            found[id(p)] = replace(p, pattern=next(own), guided=next(own))
    return found


def _gradients(
    net: Network, model: nn.Module, x: Tensors, site: Site, patches: Sequence[Patch], layout: Layout, rule: Rule
) -> Tensor:
    units = torch.tensor([layout.unit(p.channel, p.position) for p in patches])
    f = Score(net, Activations((), site, units), model=model).under(rule)
    return f.grad(x)[layout.input]


def _shown(preparation: Preparation | None, pattern: Tensor) -> Tensor:
    """A pattern in the unit of the picture, small enough to keep."""
    if preparation is not None and pattern.ndim == 4 and pattern.shape[1] == preparation.channels:
        pattern = in_colors(preparation, pattern)
    return small(pattern)[0].float().cpu()


def in_colors(preparation: Preparation, change: Tensor) -> Tensor:
    """A change of what the network sees, `[batch, channels, ...]`, as a change of the picture's colors."""
    change = change.flip(1) if preparation.bgr else change
    std = torch.tensor(preparation.std, dtype=change.dtype, device=change.device)
    return change * std.view(1, -1, *[1] * (change.ndim - 2))
