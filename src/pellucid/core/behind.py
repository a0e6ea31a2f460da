"""Scores under many changes at one site, for which only what lies behind the site is computed again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from pellucid.core.answer import Answer
from pellucid.core.inner import cut_behind
from pellucid.core.recording.resume import Cut
from pellucid.core.replaced import instead
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors


def scores_behind(f: Score, x: Tensors, site: Site, values: Iterable[Tensors]) -> Iterator[Tensor]:
    """The score of one sample, `[1]`, with each of `values`, `{"value": [1, ...]}`, in place of what is at a site.

    Where resuming behind the site gives what whole passes give (see `Cut.exact`) only that is run, many values to a
    pass; elsewhere each value takes a whole pass.
    """
    with f.leased() as g:
        cut = _cut(g, x, site)
        if cut is None:
            for value in values:
                yield g.do({site: instead(value["value"])})(x)
            return

        def one(h: Score, part: Tensors, rows: Tensor) -> Tensor:
            assert h.model is not None  # noqa: S101 (leased above)
            current().meter.forwards += len(rows)
            rows = torch.zeros_like(rows) if h.samples is None else rows
            return h.target.of(Answer(h.net, cut.run(h.model, part["value"]), {}, rows))

        yield from g.passes(values, one, "passes behind the site")


def _cut(f: Score, x: Tensors, site: Site) -> Cut | None:
    """A recorded pass that can be resumed behind the site; None when whole passes have to run."""
    if f.model is None or f.inner is not None or f.embedded or f.changes or f.target.sites:
        return None
    return cut_behind(f.net, f.model, x, site)
