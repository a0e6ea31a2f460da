"""An explanation taken apart into its samples, each alone: its score, its input, the map over its places."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.check import Check, Verdict
from pellucid.core.embedding import embedded
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.replaced import IDS
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, batch_size, digest, rows
from pellucid.trials.layout import Layout, layout_of, score_of
from pellucid.trials.probed import alone

Scale: TypeAlias = Annotated[
    Literal["log_odds", "explained"],
    "how a single class is scored: as log-odds, or in the very form that was explained (logit, probability)",
]
LOG_ODDS: Scale = "log_odds"


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of an explanation.

    `values` is the map as it is, `[1, ...]`, of the input that `layout` speaks of; `places` the same with one number
    a place, in float64.  `key` names the input's content: what is drawn for the sample depends on it and the seed.
    """

    score: Score
    x: Tensors
    layout: Layout
    values: Tensor
    places: Float[Tensor, "*shape"]
    key: str

    @property
    def v(self) -> Tensor:
        """The input that the places are of, `[1, ...]`."""
        return self.x[self.layout.input]

    def scores(self, copies: Iterator[Tensor], count: int) -> Float[Tensor, " count"]:
        """The score of each of `count` other inputs in the place of `v`, many to a pass, in float64."""
        found = list(self.score.scores(_Counted(({**self.x, self.layout.input: c} for c in copies), count)))
        return torch.cat(found).double().cpu() if found else torch.empty(0, dtype=torch.double)


class _Counted:
    """An iterator whose length is known: passes report how many are still to come."""

    def __init__(self, items: Iterator[Tensors], count: int) -> None:
        self.items, self.count = items, count

    def __iter__(self) -> Iterator[Tensors]:
        return self.items

    def __len__(self) -> int:
        return self.count


@contextmanager
def samples(explanation: Explanation, scale: str = LOG_ODDS) -> Iterator[list[Sample]]:
    """The samples of an explanation, their scores ready to run for the length of the block.

    Raises `Missing` when the explanation came without its network, `BadInput` when its input has no places.
    """
    score = score_of(explanation)
    with score.leased() as f:
        x = explanation.explained
        if f.embedded and f.inner is None and f.model is not None:
            x, _ = embedded(f.net, f.model, x)
        layout = replace(layout_of(f.net, x), site=f.inner.name if f.inner is not None else "")
        places, values = layout.map_of(explanation), explanation.maps[layout.input]
        yield [
            Sample(
                alone(f, i, scale == LOG_ODDS), rows(x, i, i + 1), layout, values[i : i + 1], places[i],
                digest(x[layout.input][i].float()),
            )
            for i in range(batch_size(x))
        ]  # fmt: skip


def mapped(explanation: Explanation) -> tuple[Layout, Float[Tensor, "batch *shape"]]:
    """The map alone, one number a place: the network is not asked, so an explanation from a file will do."""
    seen: Tensors = {}
    for name, v in explanation.explained.items():
        if v.is_floating_point() or name not in explanation.maps:
            seen[name] = v
        else:  # words, which are explained at their embedding
            seen |= {name: explanation.maps[name], name + IDS: v}
    layout = layout_of(explanation.net, seen)
    return layout, layout.map_of(explanation)


def mean_of(each: Sequence[float]) -> float:
    """The mean of those that are numbers; NaN when there are none.

    >>> mean_of([1.0, float("nan"), 3.0])
    2.0
    """
    known = [v for v in each if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan


def summary(name: str, each: Sequence[float], say: Callable[[float], str], nothing: str, **more: Any) -> Check:
    """The mean over the samples as a check: MEASURED unless told otherwise; UNKNOWN with `nothing` when all are NaN.

    References that are not numbers are left out.
    """
    value = mean_of(each)
    more["references"] = tuple(r for r in more.get("references", ()) if math.isfinite(r[1]))
    if math.isnan(value):
        return Check(name, math.nan, Verdict.UNKNOWN, nothing, each=tuple(each))
    lost = sum(map(math.isnan, each))
    which = f" {lost} of {len(each)} samples could not be tested." if lost else ""
    return Check(name, value, more.pop("verdict", Verdict.MEASURED), say(value) + which, each=tuple(each), **more)


def at_least(layout: Layout, places: int) -> None:
    """Raise `BadInput` when there are too few places for a test."""
    if layout.size < places:
        raise BadInput(f"The input has {layout.size} parts; this test needs at least {places}.")
