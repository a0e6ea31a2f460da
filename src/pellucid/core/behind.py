"""Scores under many changes at one site, for which only what lies behind the site is computed again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

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


def scores_behind(f: Score, x: Tensors, site: Site, values: Iterable[Tensors]) -> Iterator[Tensor]:
    """The scores of one sample with other values in place of what is at a site.

    Each of `values` is `{"value": [count, ...]}` and gives `[count]` scores.  Where resuming behind the site gives what
    whole passes give (see `Cut.exact`) only that is run, many values to a pass; elsewhere each takes a whole pass.
    """
    with f.leased() as g:
        cut = _cut(g, x, site)
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
