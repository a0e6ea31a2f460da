"""What a set of concepts is worth to the score: measured by running what lies behind the site with other values there.

For every picture: the score with the activations as they are, put together again from the concepts, and with nothing
there; with the concepts dimmed at random (total Sobol indices); and with one concept after another taken away, beside
the same amount taken away along shuffled channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pellucid.core.behind import OneCut, scores_behind
from pellucid.core.errors import Stopped
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors, batch_size, rows
from pellucid.probes.designs import design, total_indices

DRAWS = 19  # shufflings: a concept that moves the score more than all of them does so by chance once in 20
_NAMED = 3  # as it is, rebuilt, nothing


@dataclass(frozen=True, slots=True)
class Worth:
    """A row for every picture.

    `scores`: with the activations as they are, rebuilt from the concepts, with zeros.  `indices`: total Sobol indices.
    `removed`: how far the score falls without each concept; `chance`: along shuffled channels instead.
    """

    scores: Float[Tensor, "pictures 3"]
    indices: Float[Tensor, "pictures concepts"]
    removed: Float[Tensor, "pictures concepts"]
    chance: Float[Tensor, "pictures concepts draws"]


def worth_of(
    f: Score,
    x: Tensors,
    site: Site,
    value: Float[Tensor, "pictures channels height width"],
    maps: Float[Tensor, "pictures concepts height width"],
    bank: Float[Tensor, "concepts channels"],
    designs: int,
) -> Worth:
    """Picture by picture; a stopped run has those that were finished.  Raises `Stopped` when that is none."""
    count = len(bank)
    points, shuffled = design(designs, count), _shufflings(bank.shape[1])
    kind = next(v.dtype for v in x.values() if v.is_floating_point())  # inputs have the network's
    each: list[Worth] = []
    shared = OneCut()
    for i in range(batch_size(x)):
        parts = _variations(value[i], maps[i], bank, points, shuffled)
        try:
            found = list(
                scores_behind(f.among([i]), rows(x, i, i + 1), site, ({"value": v.to(kind)} for v in parts), shared)
            )
        except Stopped:
            break
        scores = torch.cat(found).double().cpu() if found else torch.empty(0)
        if len(scores) < _NAMED + designs * (1 + count) + count * (1 + DRAWS):
            break
        each.append(_read(scores, designs, count, torch.finfo(value.dtype).eps))
        if current().stopping():
            break
    if not each:
        raise Stopped("Stopped before the concepts were tried on one picture.", "Run it again.")
    if len(each) < batch_size(x):
        current().meter.stopped = f"after {len(each)} of {batch_size(x)} pictures"
    return Worth(*(torch.cat([getattr(w, k) for w in each]) for k in ("scores", "indices", "removed", "chance")))


def _variations(value: Tensor, maps: Tensor, bank: Tensor, points: Tensor, shuffled: Tensor) -> Iterator[Tensor]:
    """Values at the site, some rows at a time, in the order in which `_read` takes their scores."""
    rebuilt = rebuilt_from(maps[None], bank)[0]
    yield torch.stack((value, rebuilt, torch.zeros_like(value)))
    for together in points.to(maps):  # one point, and each concept drawn anew
        yield rebuilt_from(maps * together[:, :, None, None], bank)
    for k in range(len(bank)):
        along = torch.cat((bank[k : k + 1], bank[k][shuffled]))  # the same numbers, on other channels
        yield value - maps[k] * along[:, :, None, None]


def _read(scores: Tensor, designs: int, count: int, eps: float) -> Worth:
    whole, dimmed = scores[0], scores[_NAMED : _NAMED + designs * (1 + count)]
    taken = whole - scores[_NAMED + len(dimmed) :].view(count, 1 + DRAWS)
    dimmed = (dimmed - whole).view(designs, 1 + count, 1)
    indices, _ = total_indices(dimmed, (8 * eps * float(whole)) ** 2)
    return Worth(scores[None, :_NAMED], indices, taken[None, :, 0], taken[None, :, 1:])


def rebuilt_from(
    maps: Float[Tensor, "batch concepts height width"], bank: Float[Tensor, "concepts channels"]
) -> Float[Tensor, "batch channels height width"]:
    """Activations as the sum of their concepts."""
    return torch.einsum("bkhw,kc->bchw", maps, bank)


def _shufflings(channels: int) -> Int64[Tensor, "draws channels"]:
    generator = current().generator("shuffled channels")
    return torch.stack([torch.randperm(channels, generator=generator) for _ in range(DRAWS)])


def interval(values: Float[Tensor, "batch *axes"], draws: int = 1000, *, median: bool = False) -> tuple[Tensor, Tensor]:
    """The 95 % interval of the mean (or median) over pictures, by drawing pictures anew; NaN for fewer than two."""
    count = len(values)
    if count < 2:
        nothing = torch.full(values.shape[1:], float("nan"), dtype=values.dtype)
        return nothing, nothing.clone()
    chosen = torch.randint(count, (draws, count), generator=current().generator("pictures drawn anew"))
    middles = values[chosen].quantile(0.5, dim=1) if median else values[chosen].mean(1)
    ends = middles.quantile(torch.tensor([0.025, 0.975], dtype=values.dtype), dim=0)
    return ends[0], ends[1]
