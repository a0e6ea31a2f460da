"""An inner site in the place of the input: its value is what is explained, and only what lies behind it is run."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pellucid.core.answer import Answer
from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.core.recording.resume import Cut
from pellucid.core.run import current
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors, rows

_RECORDING = 4  # passes that it costs to record a cut
_MANY = 8  # passes of one sample from which on a cut pays


@dataclass(frozen=True, slots=True)
class Inner:
    """The site whose value takes the input's part, and the network's true input, which holds all samples.

    `axes`: how many the value has, the samples' among them.
    `cuts`: by sample, a recorded pass to resume behind the site; None where whole passes have to run.
    """

    site: Site
    given: Tensors = field(repr=False)
    axes: int = 0
    cuts: dict[int, Cut | None] = field(default_factory=dict, repr=False, compare=False)
    spent: dict[int, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The site's name, under which its value is explained."""
        return str(self.site)

    def fed(self, which: Tensor) -> Tensors:
        """The true input of some of the samples."""
        return {k: v[which] for k, v in self.given.items()}

    def resumed(self, net: Network, model: nn.Module, x: Tensors, value: Tensor, which: Tensor) -> Answer | None:
        """What the network says with a value at the site, from there on; None when a whole pass has to run.

        `x` is what the network is given; all rows are of one sample.  A pass is recorded once enough of its passes have
        come together.
        """
        sample = int(which[0])
        self.spent[sample] = self.spent.get(sample, 0) + len(which)
        if self.spent[sample] < _MANY:
            return None
        if sample not in self.cuts:
            self.cuts.clear()  # one at a time: each holds activations
            self.cuts[sample] = cut_behind(net, model, rows(x, 0, 1), self.site)
        cut = self.cuts[sample]
        return None if cut is None else Answer(net, cut.run(model, value), {}, which)

    def expect(self, samples: list[int], passes: int | None) -> None:
        """Say how many variations of the samples are about to come."""
        if passes is not None and len(samples) == 1:
            self.spent[samples[0]] = self.spent.get(samples[0], 0) + passes

    def anew(self) -> Inner:
        """The same without what was recorded."""
        return Inner(self.site, self.given, self.axes)


def cut_behind(net: Network, model: nn.Module, x: Tensors, site: Site) -> Cut | None:
    """A pass of one sample that can be resumed behind the site; None when that would not give what whole passes give.

    A cut is tried with two samples together, so none is made where passes may hold but one.
    """
    if net.borrowed_because or current().max_batch == 1 or site.at == "input":
        return None
    in_order = net.in_order(x)
    with torch.no_grad():
        try:
            cut = Cut(model, tuple(x.values()) if in_order else (), {} if in_order else x, site)
        except BadInput:  # it does not run a second time in the same way
            return None
    current().meter.forwards += _RECORDING
    return cut if cut.exact and cut.axis == 0 else None
