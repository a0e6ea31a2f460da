"""Scores under many changes at one site, for which only what lies behind the site is computed again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pellucid.core.answer import Answer
from pellucid.core.inner import cut_behind
from pellucid.core.recording.resume import Cut
from pellucid.core.replaced import instead
from pellucid.core.run import current, running
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors


@dataclass(slots=True)
class OneCut:
    """A recorded pass that serves sample after sample, where what lies behind a site hangs on the value there alone."""

    cut: Cut | None = None

    def of(self, f: Score, x: Tensors, site: Site) -> Cut | None:
        """The pass at hand, if it gives what a whole pass over this sample gives; else one of its own."""
        if self.cut is not None and _serves(self.cut, f, x, site):
            return self.cut
        own = _cut(f, x, site)
        self.cut = own if own is not None and own.alone else None
        return own


def scores_behind(
    f: Score, x: Tensors, site: Site, values: Iterable[Tensors], shared: OneCut | None = None
) -> Iterator[Tensor]:
    """The scores of one sample with other values in place of what is at a site.

    Each of `values` is `{"value": [count, ...]}` and gives `[count]` scores.  Where resuming behind the site gives what
    whole passes give (see `Cut.exact`) only that is run, many values to a pass; elsewhere each takes a whole pass.
    `shared` keeps the recorded pass for the samples to come.
    """
    with f.leased() as g:
        cut = (shared or OneCut()).of(g, x, site)
        if cut is None:
            for value in values:
                yield torch.cat([g.do({site: instead(v)})(x) for v in torch.split(value["value"], 1)])
            return
        sample = torch.zeros(1, dtype=torch.long) if g.samples is None else g.samples

        def one(h: Score, part: Tensors, rows: Tensor) -> Tensor:
            assert h.model is not None  # noqa: S101 (leased above)
            current().meter.forwards += len(rows)
            mine = sample.to(rows.device).expand(len(rows))
            return h.target.of(Answer(h.net, cut.run(h.model, part["value"]), {}, mine))

        with running(replace(current(), channels_last=False)):  # to turn the weights would cost more than it gains
            yield from list(replace(g, samples=None).passes(values, one, "passes behind the site"))


def _cut(f: Score, x: Tensors, site: Site) -> Cut | None:
    """A recorded pass that can be resumed behind the site; None when whole passes have to run."""
    if f.model is None or f.inner is not None or f.embedded or f.changes or f.target.sites:
        return None
    return cut_behind(f.net, f.model, x, site)


def _serves(cut: Cut, f: Score, x: Tensors, site: Site) -> bool:
    """Is what the pass gives with this sample's value what the network gives for the sample?"""
    assert f.model is not None  # noqa: S101 (it was when the cut was made)
    value, whole = f.values(x, site)[site], f.outputs(x)
    with torch.no_grad():
        resumed = f.net.pick(cut.run(f.model, value))
    largest = float(whole.abs().max())
    return resumed.shape == whole.shape and torch.allclose(resumed, whole, rtol=1e-4, atol=1e-5 * largest + 1e-12)
