"""Shared probes: one set of masked copies of an input, run once, that any number of maps is held to.

A probe removes a fixed share of the input; its drop is how much the answer fell.  A faithful map is high where
removing hurts.  Scoring one more map, or a thousand random ones, costs no further pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pellucid.core.embedding import embedded
from pellucid.core.errors import BadInput, Stopped
from pellucid.core.run import current, running
from pellucid.core.score import Score
from pellucid.core.target import Target, Term
from pellucid.core.tensors import Tensors, batch_size, digest, rows
from pellucid.probes.infill import constant, mean, pull_push
from pellucid.probes.masks import highest, landscapes
from pellucid.trials.layout import Layout, layout_of
from pellucid.trials.yardsticks import Guesses, ceiling, guesses_of, own_guesses

AREAS = (0.30, 0.20, 0.12, 0.07)  # Shares to remove, largest first; the first that is gentle enough is taken.
PILOT = 8  # Probes that must be gentle before the others of that share are run.
GENTLE = 0.5  # At least this much of the class's probability must be left, on average.
BLOCK = 32  # Masks that are drawn together, so that a set can grow by whole blocks.


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """What masked copies of one sample did to its score.

    `masks`: True = removed, over the places of `layout`.  `drops`: score of the sample minus score of each copy.
    `start`: the sample's score; `ratio`: what is left, on average, of the class's probability (of the score itself
    when it is no class's; NaN when that is not positive).  `ceiling`: the correlation that a map fitted to the
    probes themselves reaches on probes it was not fitted to.  `guesses`: maps that know nothing of the network, or
    several to a name, `[maps, *shape]`, of which the best one counts.
    `forwards`: passes spent, in samples.  `seed`: the run's, from which the
    masks were drawn.
    """

    layout: Layout
    sample: int
    key: str
    masks: Bool[Tensor, "count *shape"]
    drops: Float[Tensor, " count"]
    start: float
    ratio: float
    of_class: bool
    area: float
    ceiling: float
    infill: str
    guesses: tuple[tuple[str, Tensor], ...]
    forwards: int
    seed: int


def probe_set(score: Score, x: Tensors, count: int = 64, guesses: Guesses | None = None) -> tuple[ProbeSet, ...]:
    """One set of `count` probes for each sample of `x`; `guesses`: maps of your own to beat, as for `guessed`.

    The target of a single class is measured as log-odds, whatever form the explanation had.  Masks are drawn from
    the seed and the sample's content.  Raises `BadInput` when no input can be masked or `count` is below 16.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.ones(1, 9), 0)
    >>> (probes,) = probe_set(why.score, why.x, count=32)
    >>> tuple(probes.masks.shape), tuple(probes.drops.shape)
    ((32, 9), (32,))
    """
    if count < 2 * PILOT:
        raise BadInput(f"{count} probes were asked for; at least {2 * PILOT} are needed.", "64 is usual.")
    x = _fed(score, x)
    layout = layout_of(score.net, x)
    layout = replace(layout, site=score.inner.name if score.inner is not None else "")
    if layout.size < 5:
        raise BadInput(f"The input has {layout.size} parts; a test by masking needs at least 5.")
    added = own_guesses(guesses or {}, layout, batch_size(x))
    with score.leased() as f:
        found = (_probed(alone(f, i), rows(x, i, i + 1), layout, count, i) for i in range(batch_size(x)))
        return tuple(replace(p, guesses=(*p.guesses, *more)) for p, more in zip(found, added, strict=True))


def guessed(probes: Sequence[ProbeSet], guesses: Guesses) -> tuple[ProbeSet, ...]:
    """The sets with guesses of your own to beat: maps over the places by name, `[*shape]` or `[batch, *shape]`.

    What only you can know without the network belongs here: of a graph's edges, those of busy nodes.  Raises `BadInput`
    for another shape, for values that are no numbers, and for a name that is taken.
    """
    added = own_guesses(guesses, probes[0].layout, len(probes))
    return tuple(replace(p, guesses=(*p.guesses, *more)) for p, more in zip(probes, added, strict=True))


def grown(score: Score, x: Tensors, probes: ProbeSet, count: int) -> ProbeSet:
    """The set with further probes of the same share, up to `count`; those that were run are not run again.

    `score` and `x` are what `probe_set` was given.
    """
    if count <= len(probes.drops):
        return probes
    x, i = _fed(score, x), probes.sample
    with score.leased() as f, running(replace(current(), seed=probes.seed)):
        one = alone(f, i)
        more = probe_masks(probes.layout, count, probes.area, probes.key, start=len(probes.drops))
        after = _after(one, rows(x, i, i + 1), probes.layout, more)
    drops = torch.cat([probes.drops, probes.start - after])
    masks = torch.cat([probes.masks, more[: len(after)]])
    return replace(
        probes, masks=masks, drops=drops, forwards=probes.forwards + len(after),
        ratio=_left(probes.start, probes.start - drops, probes.of_class),
        ceiling=_ceiling(probes.layout, masks, drops),
    )  # fmt: skip


def _fed(score: Score, x: Tensors) -> Tensors:
    """The input that is masked: words at their embedding."""
    if not score.embedded or score.inner is not None:
        return x
    with score.net.lease() as model:
        return embedded(score.net, model, x)[0]


def alone(score: Score, sample: int, log_odds: bool = True) -> Score:
    """The score of one sample on its own, as log-odds: a target with a class for each sample keeps that sample's."""
    score = score if score.inner is None else score.among([sample])
    if not score.target.classes:
        return score
    against = score.target.terms[0].weight <= 0  # Evidence against a class must not turn into evidence for it.
    target = score.target if against or not log_odds else score.target.as_log_odds()
    terms = [replace(t, args=(int(t.args[0][sample]),)) if _a_class_each(t) else t for t in target.terms]
    return replace(score, target=Target(tuple(terms)))


def _a_class_each(term: Term) -> bool:
    return term.kind in ("logit", "probability", "log_odds") and isinstance(term.args[0], list | tuple)


def _probed(score: Score, x: Tensors, layout: Layout, count: int, sample: int) -> ProbeSet:
    v = x[layout.input]
    of_class = [(t.kind, t.weight) for t in score.target.terms] == [("log_odds", 1.0)] and score.outputs(x).shape[1] > 1
    start = float(score(x))
    spent = 2  # The sample's output and its score.
    area, masks, after = AREAS[0], torch.empty(0), torch.empty(0)
    for area in AREAS:
        masks, after = _tried(score, x, layout, count, area, partial(_too_harsh, start, of_class))
        spent += len(after)
        if not _left(start, after, of_class) < GENTLE:
            break
    if len(after) < 2 * PILOT:
        raise Stopped(f"Stopped after {len(after)} probes; at least {2 * PILOT} are needed to say anything.")
    drops: Tensor = start - after
    return ProbeSet(
        layout=layout, sample=sample, key=digest(v), masks=masks, drops=drops, start=start,
        ratio=_left(start, after, of_class), of_class=of_class, area=area,
        ceiling=_ceiling(layout, masks, drops), infill=_infill(layout),
        guesses=guesses_of(layout, v), forwards=spent, seed=current().seed,
    )  # fmt: skip


def _tried(
    score: Score, x: Tensors, layout: Layout, count: int, area: float, too_harsh: Callable[[Tensor], bool]
) -> tuple[Bool[Tensor, "n *shape"], Float[Tensor, " n"]]:
    """Masks of one share and their copies' scores: `count`, or fewer when they show that it is too harsh."""
    key, masks, after = digest(x[layout.input]), torch.empty(0), torch.empty(0)
    for end in looks(count):
        while len(masks) < end:  # whole blocks are drawn, whenever one looks
            block = probe_masks(layout, min(len(masks) + BLOCK, count), area, key, start=len(masks))
            masks = torch.cat([masks, block]) if len(masks) else block
        with suppress(Stopped):  # what is known so far counts
            after = torch.cat([after, _after(score, x, layout, masks[len(after) : end])])
        if len(after) < end or (area != AREAS[-1] and too_harsh(after)):
            break
    return masks[: len(after)], after


def looks(count: int) -> list[int]:
    """After how many copies one looks whether a share is too harsh: the pilot, a block, and each time twice as many.

    >>> looks(128), looks(20)
    ([8, 32, 64, 128], [8, 20])
    """
    return [PILOT, *(n for n in (BLOCK << k for k in range(count.bit_length())) if n < count), count]


def _too_harsh(start: float, of_class: bool, after: Float[Tensor, " n"]) -> bool:
    """Does the share leave too little?  The pilot decides as it stands, later looks by more than a standard error."""
    left = _left(start, after, of_class)
    if len(after) <= PILOT:
        return left < GENTLE
    each = torch.sigmoid(after) / torch.sigmoid(torch.tensor(start, dtype=torch.double)) if of_class else after / start
    return left + float(each.std()) / math.sqrt(len(after)) < GENTLE


def _ceiling(layout: Layout, masks: Bool[Tensor, "count *shape"], drops: Float[Tensor, " count"]) -> float:
    side = {1: 49, 2: 7, 3: 4}[len(layout.shape)]
    return ceiling(layout.cells(masks.double(), side), drops)


def probe_masks(layout: Layout, count: int, area: float, key: str, *, start: int = 0) -> Bool[Tensor, "count *shape"]:
    """Masks `start` to `count` of the run's seed and a sample's content; each removes the share `area`."""
    first = start // BLOCK
    blocks = [
        highest(_landscapes(layout, current().generator("faithfulness", key, i)), area)
        for i in range(first, -(-count // BLOCK))
    ]
    return torch.cat(blocks)[start - first * BLOCK : count - first * BLOCK]


def _landscapes(layout: Layout, generator: torch.Generator) -> Float[Tensor, "count *shape"]:
    """Landscapes whose highest part is removed; a table's columns have no neighbors, so there it is noise."""
    if layout.kind == "table":
        return torch.rand(BLOCK, *layout.shape, generator=generator)
    return landscapes(BLOCK, layout.shape, generator)


INFILLS = {
    "picture": "the colors around the hole (pull-push)",
    "volume": "the average of what was kept",
    "series": "the average of what was kept",
    "text": "the average of the other words' vectors",
    "table": "zero",
}


def _infill(layout: Layout) -> str:
    return INFILLS[layout.kind].replace("colors", "values") if layout.site else INFILLS[layout.kind]


def _left(start: float, after: Float[Tensor, " n"], of_class: bool) -> float:
    """R-OMS (Bluecher et al. 2024): the share of the class's probability, or of a positive score, that is left."""
    if of_class:
        return float(torch.sigmoid(after).mean() / torch.sigmoid(torch.tensor(start, dtype=torch.double)))
    return float(after.mean()) / start if start > 0 else math.nan


def _after(score: Score, x: Tensors, layout: Layout, masks: Bool[Tensor, "n *shape"]) -> Float[Tensor, " n"]:
    """The score of each masked copy."""
    copies = ({**x, layout.input: copy} for copy in masked(layout, x[layout.input], masks))
    return torch.cat(list(score.scores(copies))).double().cpu()


def masked(layout: Layout, v: Tensor, masks: Bool[Tensor, "n *shape"]) -> Iterator[Tensor]:
    """Copies of one sample `v: [1, ...]` with the places under each mask filled in: what the network is shown."""
    for start in range(0, len(masks), 16):
        mask = masks[start : start + 16].to(v.device)
        copies = v.expand(len(mask), *v.shape[1:])
        if layout.kind == "picture":
            filled = pull_push(copies, mask)
        elif layout.kind == "table":
            filled = constant(copies, layout.spread(mask, v))
        else:
            filled = mean(copies, layout.spread(mask, v))
        yield from filled.unsqueeze(1)
