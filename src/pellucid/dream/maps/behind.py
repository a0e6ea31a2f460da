"""What the network says when a vector stands at every place of a site."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.answer import ask
from pellucid.core.errors import BadModel
from pellucid.core.inner import cut_behind
from pellucid.core.method import like_the_model
from pellucid.core.network import Network
from pellucid.core.replaced import instead
from pellucid.core.run import current, running
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import channel
from pellucid.core.tensors import Tensors

_TOGETHER = 16


def answers_to(
    net: Network, x: Tensors, site: Site, vectors: Float[Tensor, "n width"], shape: tuple[int, ...], axis: int = 1
) -> Float[Tensor, "n classes"] | None:
    """The class scores with each vector at every place of a site; `shape`: what the site holds for one sample.

    `axis`: where its channels are, in a batch.  What goes around the site comes from the one sample `x`.  Only what
    lies behind the site is run, where that is exact.  None when the network's output is not [batch, classes].
    """
    f = Score(net, channel(site, 0))

    def spread() -> Iterator[Tensors]:
        for part in torch.split(vectors, _TOGETHER):
            alone = [len(part), *[1] * len(shape)]
            alone[axis] = part.shape[1]
            yield {"value": part.reshape(alone).expand(len(part), *shape).clone()}

    # what was seen of the data is worth these few passes, also where it was stopped
    with torch.no_grad(), f.leased() as g, running(replace(current(), channels_last=False, stop=None)):
        assert g.model is not None  # noqa: S101 (leased here)
        x = like_the_model(x, g.model)
        cut = cut_behind(net, g.model, x, site)

        def one(h: Score, part: Tensors, rows: Tensor) -> Tensor:
            assert h.model is not None  # noqa: S101 (leased above)
            current().meter.forwards += len(rows)
            value = next(iter(like_the_model(part, h.model).values()))
            if cut is not None:
                return net.pick(cut.run(h.model, value))
            many = {k: v.expand(len(rows), *v.shape[1:]) for k, v in x.items()}
            return net.pick(ask(net, h.model, many, changes={site: instead(value)}, rows=rows).output)

        try:
            scores = torch.cat(list(g.passes(spread(), one, "passes behind the site")))
        except BadModel:
            return None
    return scores.float().cpu() if scores.ndim == 2 and scores.shape[1] > 1 else None
