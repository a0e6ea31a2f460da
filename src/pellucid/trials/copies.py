"""The masked copies that faithfulness was measured on, made once more from what its check says of them.

A check keeps the seed and the share that was removed, and no picture; masks are drawn from these and from the sample's
own content.  They are taken for the ones that were run only if they remove of the map what the check says they removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.embedding import embedded
from pellucid.core.errors import PellucidError
from pellucid.core.explanation import Explanation
from pellucid.core.run import current, running
from pellucid.core.tensors import Tensors, batch_size, digest, rows
from pellucid.trials.agreement import pearson
from pellucid.trials.layout import Layout, layout_of
from pellucid.trials.probed import masked, probe_masks

MOST_PLACES = 2**24  # Masks are made again for at most this many places together: 334 of a picture of 224 x 224.
SAME = 1 - 1e-6  # Masks that remove of the map what was recorded correlate with the record like this, but for rounding.


@dataclass(frozen=True, slots=True)
class Copies:
    """One sample `original: [1, ...]` and what was removed from its copies (True), over the places of `layout`."""

    layout: Layout
    original: Tensor
    masks: Bool[Tensor, "count *shape"]

    def made(self) -> Iterator[Tensor]:
        """Each copy as the network was shown it, `[1, ...]`."""
        return masked(self.layout, self.original, self.masks)


def copies_of(explanation: Explanation, check: Check, most: int = 256) -> Copies | None:
    """The first `most` masked copies behind a faithfulness check; None where they cannot be made again.

    That is so at inner sites, for text that was loaded without its network, and where the check belongs to another map,
    input or version.  Nothing is run, but for words one pass that finds their vectors.

    >>> import pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)
    >>> found = copies_of(why, pl.checks.faithfulness(why, count=32))
    >>> tuple(found.masks.shape), next(found.made()).shape
    ((32, 9), torch.Size([1, 9]))
    """
    removed, facts = dict(check.curves).get("map removed", ()), check.facts
    area, sample, seed = (facts.get(k) for k in ("area", "sample", "seed"))
    if not isinstance(area, float) or not isinstance(sample, int) or not isinstance(seed, int):
        return None
    if explanation.at or not removed or not 0 <= sample < batch_size(explanation.x):
        return None
    try:
        x = rows(_fed(explanation), sample, sample + 1)
        layout = layout_of(explanation.net, x)
        count = max(2, min(most, len(removed), MOST_PLACES // layout.size))
        with running(replace(current(), seed=seed)):
            masks = probe_masks(layout, count, area, digest(x[layout.input]))
        places = layout.map_of(explanation)[sample]
    except PellucidError:  # an input without places, or an area that no mask can have
        return None
    return Copies(layout, x[layout.input], masks) if _agree(places, masks, removed) else None


def _fed(explanation: Explanation) -> Tensors:
    """The input that was masked: words at their embedding, where the network is at hand."""
    score = explanation.score
    if score is None or not score.embedded:
        return explanation.x
    with score.net.lease() as model:
        return embedded(score.net, model, explanation.x)[0]


def _agree(places: Float[Tensor, "*shape"], masks: Bool[Tensor, "count *shape"], removed: tuple[float, ...]) -> bool:
    """Do the masks remove of the map what was recorded, up to scale and offset?"""
    flat = places.double().flatten()
    sums = masks.flatten(1).double() @ (flat - flat.mean())
    recorded = torch.tensor(removed[: len(sums)], dtype=torch.double)
    return len(recorded) == len(sums) and float(pearson(sums, recorded)) > SAME
