"""Shared probes: one set of masked copies of an input, run once, that any number of maps is held to.

A probe removes a fixed share of the input; its drop is how much the answer fell.  A faithful map is high where
removing hurts.  Scoring one more map, or a thousand random ones, costs no further pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from pellucid.core.embedding import embedded
from pellucid.core.errors import BadInput, Stopped
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.target import Target, Term
from pellucid.core.tensors import Tensors, batch_size, digest, rows
from pellucid.probes.infill import constant, mean, pull_push
from pellucid.probes.masks import highest, landscapes
from pellucid.trials.agreement import pearson
from pellucid.trials.layout import Layout, layout_of

AREAS = (0.30, 0.20, 0.12, 0.07)  # Shares to remove, largest first; the first that is gentle enough is taken.
PILOT = 8  # Probes that must be gentle before the others of that share are run.
GENTLE = 0.5  # At least this much of the class's probability must be left, on average.
FOLDS = 6  # Cross-validation of the additive ceiling.


@dataclass(frozen=True, slots=True)
class ProbeSet:
    """What masked copies of one sample did to its score.

    `masks`: True = removed, over the places of `layout`.  `drops`: score of the sample minus score of each copy.
    `start`: the sample's score; `ratio`: what is left, on average, of the class's probability (of the score itself
    when it is no class's; NaN when that is not positive).  `ceiling`: the correlation that a map fitted to the
    probes themselves reaches on probes it was not fitted to.  `guesses`: maps that know nothing of the network.
    `forwards`: passes spent, in samples.
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


def probe_set(score: Score, x: Tensors, count: int = 64) -> tuple[ProbeSet, ...]:
    """One set of `count` probes for each sample of `x`.

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
    if score.embedded and score.inner is None:
        with score.net.lease() as model:
            x, _ = embedded(score.net, model, x)
    layout = layout_of(score.net, x)
    layout = replace(layout, site=score.inner.name if score.inner is not None else "")
    if layout.size < 5:
        raise BadInput(f"The input has {layout.size} parts; a test by masking needs at least 5.")
    with score.leased() as f:
        return tuple(_probed(alone(f, i), rows(x, i, i + 1), layout, count, i) for i in range(batch_size(x)))


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
    heights = _heights(layout, count, digest(v))
    of_class = [(t.kind, t.weight) for t in score.target.terms] == [("log_odds", 1.0)] and score.outputs(x).shape[1] > 1
    start = float(score(x))
    spent = 2  # The sample's output and its score.
    area, masks, after = AREAS[0], highest(heights, AREAS[0]), torch.empty(0)
    for area in AREAS:
        masks = highest(heights, area)
        after = _after(score, x, layout, masks[:PILOT])
        spent += len(after)
        if _left(start, after, of_class) < GENTLE and area != AREAS[-1]:
            continue
        after = torch.cat([after, _after(score, x, layout, masks[PILOT:])])
        spent += len(after) - PILOT
        if not _left(start, after, of_class) < GENTLE:
            break
    if len(after) < 2 * PILOT:
        raise Stopped(f"Stopped after {len(after)} probes; at least {2 * PILOT} are needed to say anything.")
    masks = masks[: len(after)]
    drops: Tensor = start - after
    return ProbeSet(
        layout=layout, sample=sample, key=digest(v), masks=masks, drops=drops, start=start,
        ratio=_left(start, after, of_class), of_class=of_class, area=area,
        ceiling=ceiling(layout.cells(masks.double(), _side(layout)), drops), infill=_infill(layout),
        guesses=_guesses(layout, v), forwards=spent,
    )  # fmt: skip


def _heights(layout: Layout, count: int, key: str) -> Float[Tensor, "count *shape"]:
    """Random landscapes whose highest part is removed; a table's columns have no neighbors, so there it is noise."""
    generator = current().generator("faithfulness", key)
    if layout.kind == "table":
        return torch.rand(count, *layout.shape, generator=generator)
    return landscapes(count, layout.shape, generator)


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


def _side(layout: Layout) -> int:
    return {1: 49, 2: 7, 3: 4}[len(layout.shape)]


def ceiling(cells: Float[Tensor, "count cells"], drops: Float[Tensor, " count"]) -> float:
    """How well any additive map could do: correlation of the drops with what ridge regression on the share removed of
    each cell predicts, each sixth of the probes predicted from the others.  Low = parts act together, not one by one.

    >>> cells = torch.rand(60, 4, generator=torch.Generator().manual_seed(0)).double()
    >>> round(ceiling(cells, cells @ torch.tensor([1.0, 0.0, 2.0, -1.0]).double()), 3)
    1.0
    """
    fold = torch.arange(len(drops)) % FOLDS
    predicted = torch.zeros_like(drops)
    for k in range(FOLDS):
        a, y = cells[fold != k], drops[fold != k]
        inner = torch.arange(len(y)) % 4
        errors = [_ridge(a[inner != i], y[inner != i], a[inner == i]) - y[inner == i] for i in range(4)]
        best = torch.cat(errors, 1).square().sum(1).argmin()
        predicted[fold == k] = _ridge(a, y, cells[fold == k])[best]
    return float(pearson(predicted, drops))


def _ridge(a: Tensor, y: Tensor, at: Tensor) -> Float[Tensor, "strengths n"]:
    """Ridge predictions at `at` for every strength of the penalty, 1e-4 to 1e3."""
    u, s, v = torch.linalg.svd(a - a.mean(0), full_matrices=False)
    strengths = torch.logspace(-4, 3, 15, dtype=a.dtype)[:, None]
    weights = (s / (s**2 + strengths)) * (u.T @ (y - y.mean()))
    predictions: Tensor = weights @ v @ (at - a.mean(0)).T + y.mean()
    return predictions


def _guesses(layout: Layout, v: Tensor) -> tuple[tuple[str, Tensor], ...]:
    """Maps that anybody could draw without asking the network: where the edges are, and the middle."""
    if layout.kind not in ("picture", "series"):
        return ()
    return ("edges", edges(layout, v)), ("center", center(layout.shape))


def edges(layout: Layout, v: Float[Tensor, "1 *axes"]) -> Float[Tensor, "*shape"]:
    """How strongly the input changes from place to place: the Sobel filter's magnitude on the channels' mean."""
    others = [axis for axis in range(1, v.ndim) if axis not in layout.axes]
    gray = v.double().cpu().mean(others, keepdim=False)[None]
    step = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.double)
    if len(layout.shape) == 1:
        return functional.conv1d(functional.pad(gray, (1, 1), mode="replicate"), step[None, None]).abs()[0, 0]
    kernel = torch.tensor([1.0, 2.0, 1.0], dtype=torch.double)[:, None] * step
    kernels = torch.stack([kernel, kernel.T])[:, None]
    both: Tensor = functional.conv2d(functional.pad(gray, (1, 1, 1, 1), mode="replicate"), kernels).square()
    return both.sum(1)[0].sqrt()


def center(shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
    """A Gaussian in the middle, a quarter of each side wide."""
    out = torch.ones((), dtype=torch.double)
    for n in shape:
        away = (torch.arange(n, dtype=torch.double) - (n - 1) / 2) / (n / 4)
        out = out[..., None] * torch.exp(-(away**2) / 2)
    return out
