"""How far several explanations of one prediction agree with each other, and where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.counts import were_given
from pellucid.core.errors import BadInput, BadOption
from pellucid.core.explanation import Explanation
from pellucid.trials.agreement import pearson, ranks
from pellucid.trials.layout import Layout
from pellucid.trials.regions import layouts_of

TOP = 0.1


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Agreement of every two maps, a matrix a sample, and `places`, the disagreement of all of them at each place.

    `spearman`: rank correlation, -1..1.  Of the `top` places of largest size (absolute value), 0..1: `feature`, the
    share that both maps have among theirs; `sign`, that also have the same sign in both (NaN for maps without signs);
    `rank`, that also have the same rank in both; `signed_rank`: all of it.  `places`, 0..1: twice the standard
    deviation of a place's rank over the maps, ranks being numbered from 0 to 1: at 0 all maps rank the place alike, at
    1 half of them rank it first and half last.  A map that is flat has no ranking: NaN, and it is left out of `places`.
    """

    names: tuple[str, ...]
    top: int
    spearman: Float[Tensor, "batch maps maps"]
    feature: Float[Tensor, "batch maps maps"]
    sign: Float[Tensor, "batch maps maps"]
    rank: Float[Tensor, "batch maps maps"]
    signed_rank: Float[Tensor, "batch maps maps"]
    places: Float[Tensor, "batch *places"]

    @property
    def matrices(self) -> dict[str, Float[Tensor, "maps maps"]]:
        """Each matrix by name, the mean over the samples in which there is a number."""
        each = ("spearman", "feature", "sign", "rank", "signed_rank")
        return {name: torch.nanmean(getattr(self, name), 0) for name in each}


def disagreement(
    explanations: Sequence[Explanation], *, top: int | None = None, cells: int | None = None
) -> Disagreement:
    """Compare explanations of the same prediction by the measures of Krishna et al. 2022 (arXiv:2202.01602).

    `top`: how many places count as a map's strongest, by default a tenth.  `cells`: compare the means of at most so
    many blocks along each side; none: place by place.  Places that tie at the end of the top count in part, so that no
    order of storage decides.  Maps are ranked as they are, signed or not; slopes by their size, and their sign is not
    held against that of shares.  No pass is run.  Raises `BadInput` for fewer than two explanations, other inputs or
    targets, or maps that cover no common input; `BadOption` for a `top` beyond the places.

    >>> import torch, pellucid as pl
    >>> net, x = torch.nn.Linear(4, 1, bias=False), torch.tensor([[1.0, -1.0, 1.0, -1.0]])
    >>> net.weight.data = torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    >>> found = disagreement([pl.methods.saliency(net, x, 0), pl.methods.input_x_gradient(net, x, 0)], top=2)
    >>> found.names, found.feature[0, 0, 1].item()  # saliency knows the size, not the sign
    (('saliency', 'input_x_gradient'), 1.0)
    """
    layout = _shared(explanations)
    maps = torch.stack([layout.map_of(e) for e in explanations], 1)
    grid = layout.shape if cells is None else tuple(min(cells, n) for n in layout.shape)
    values = maps.flatten(2) if cells is None else torch.stack([layout.cells(m, cells) for m in maps])
    size = values.shape[2]
    count = max(round(TOP * size), 1) if top is None else top
    if not 1 <= count <= size:
        raise BadOption(f"top={count}, but there are {size} places.", f"Give 1 to {size}.")
    signed = torch.tensor([e.signed and not e.slopes for e in explanations])
    found = [_compared(v, count, signed) for v in values]
    spearman, feature, sign, rank, signed_rank, places = (torch.stack(each) for each in zip(*found, strict=True))
    return Disagreement(
        _names(explanations), count, spearman, feature, sign, rank, signed_rank, places.view(len(places), *grid)
    )


def _shared(explanations: Sequence[Explanation]) -> Layout:
    """The places of the input that all maps are of."""
    if len(explanations) < 2:
        raise BadInput(f"{were_given(len(explanations), 'explanation')}; it takes two to disagree.", "Give more.")
    first = explanations[0]
    for e in explanations[1:]:
        same = e.explained.keys() == first.explained.keys() and all(
            torch.equal(v, e.explained[k]) for k, v in first.explained.items()
        )
        if not same or e.target != first.target:
            raise BadInput(
                f"{first.method} explains {first.target}, {e.method} {e.target}{'' if same else ' on another input'}.",
                "Compare explanations of one prediction.",
            )
    layouts = sorted(layouts_of(first), key=lambda layout: layout.kind != "picture")
    layout = next((one for one in layouts if all(one.input in e.maps for e in explanations)), None)
    if layout is None:
        raise BadInput("The maps cover no common input.", "Compare explanations of one input.")
    return layout


def _compared(values: Float[Tensor, "maps places"], count: int, signed: Tensor) -> tuple[Tensor, ...]:
    """The matrices and the disagreement map of one sample."""
    order = torch.stack([ranks(v) for v in values])
    size = values.abs()
    flat = size.amax(1) == size.amin(1)
    among = torch.stack([_among_the_top(v, count) for v in size]).masked_fill(flat[:, None], float("nan"))
    by_size, signs = torch.stack([ranks(v) for v in size]), values.sign()
    rows: list[tuple[Tensor, ...]] = []
    for i in range(len(values)):
        both = torch.minimum(among[i], among)  # the most that ties allow, so that a map agrees with itself
        same_sign, same_rank = signs[i] == signs, by_size[i] == by_size
        told = torch.where(signed[i] & signed, 1.0, float("nan")).double()
        rows.append(
            (
                pearson(order[i], order),
                both.sum(1) / count,
                (both * same_sign).sum(1) / count * told,
                (both * same_rank).sum(1) / count,
                (both * same_sign * same_rank).sum(1) / count * told,
            )
        )
    varied = order[values.amax(1) > values.amin(1)] / max(values.shape[1] - 1, 1)
    spread = 2 * varied.std(0, correction=0) if len(varied) > 1 else torch.full_like(order[0], float("nan"))
    return (*(torch.stack(each) for each in zip(*rows, strict=True)), spread)


def _among_the_top(size: Float[Tensor, " places"], count: int) -> Float[Tensor, " places"]:
    """1 for the `count` largest, 0 for the others; those that tie for the last places share what is left."""
    last = size.topk(count).values[-1]
    above, tied = size > last, size == last
    return above.double() + tied.double() * (count - above.sum()) / tied.sum()


def _names(explanations: Sequence[Explanation]) -> tuple[str, ...]:
    """The methods, numbered where one comes more than once."""
    methods = [e.method for e in explanations]
    return tuple(f"{m} ({methods[: i + 1].count(m)})" if methods.count(m) > 1 else m for i, m in enumerate(methods))
