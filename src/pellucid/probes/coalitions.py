"""An input with some of its players only, the others at a baseline; and what a game says, laid on the input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.local_edits import Box, Edits
from pellucid.core.method import Finding
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, digest
from pellucid.probes.segments import Segments
from pellucid.probes.variations import Variations

Baseline: TypeAlias = Annotated[float, Range(-1e6, 1e6), "what stands in for an absent player, as the network sees it"]


def only(x: Tensors, players: Segments, present: Bool[Tensor, "batch players"], baseline: float) -> Tensors:
    """The input with the players that are present, and the baseline's value everywhere else."""
    return x | {k: x[k].masked_fill(~here, baseline) for k, here in players.laid(present).items()}


def coalitions(
    x: Tensors, players: Segments, present: Bool[Tensor, "batch count players"], baseline: float
) -> Variations:
    """Each sample's coalitions, one after another."""
    return Variations(present.shape[1], lambda i: only(x, players, present[:, i], baseline))


def without_each(x: Tensors, players: Segments, baseline: float) -> Edits:
    """The input without one player, one after another; who has fewer players than others keeps all of them."""
    most, batch = max(players.counts), len(players.counts)
    present = ~torch.eye(most, dtype=torch.bool).expand(batch, most, most)
    wholes = coalitions(x, players, present, baseline)
    if len(players.labels) > 1:
        return Edits(wholes, why_not="the parts are spread over several inputs")
    ((name, labels),) = players.labels.items()
    if x[name].ndim != 4:
        return Edits(wholes, why_not="the input is no picture")
    corners = [_corners(v[0], most) for v in labels]

    def box(i: int, sample: int) -> Box:
        top, bottom, left, right = corners[sample][i]
        return slice(top, bottom), slice(left, right)

    def content(i: int, sample: int, box: Box) -> Tensor:
        return x[name][sample, :, *box].masked_fill(labels[sample, :, *box] == i, baseline)

    return Edits(wholes, name, box, content)


def _corners(labels: Int[Tensor, "height width"], most: int) -> list[list[int]]:
    """The box around each player: top, bottom, left, right; a place of no matter around one that is not there."""
    found = []
    for axis, extent in enumerate(labels.shape):
        at = torch.arange(extent, device=labels.device).view(-1, *[1] * (1 - axis)).expand_as(labels).flatten()
        for how, start in (("amin", extent), ("amax", -1)):
            empty = torch.full((most,), start, device=labels.device)
            found.append(empty.scatter_reduce(0, labels.flatten(), at, how))
    top, bottom, left, right = found
    boxes = torch.stack([top, bottom + 1, left, right + 1], 1)
    return boxes.where((bottom >= 0)[:, None], torch.tensor([0, 1, 0, 1], device=labels.device)).tolist()


def batched(drawn: Sequence[Tensor]) -> Bool[Tensor, "batch count players"]:
    """Each sample's own coalitions, side by side: who has fewer repeats the last, who has fewer players lacks some."""
    count, players = max(len(d) for d in drawn), max(d.shape[1] for d in drawn)
    out = torch.zeros(len(drawn), count, players, dtype=torch.bool)
    for row, d in zip(out, drawn, strict=True):
        row[:, : d.shape[1]] = torch.cat([d, d[-1:].expand(count - len(d), -1)])
    return out


def everything(x: Tensors) -> list[str]:
    """A name for the content of each sample, over all inputs; the same in every precision."""
    floats = [v for v in x.values() if v.is_floating_point()]
    return [" ".join(digest(v[i].float()) for v in floats) for i in range(len(floats[0]))]


def scores(f: Score, variations: Variations) -> Float[Tensor, "batch known"]:
    """The score of every variation, in float64; a stopped run knows fewer."""
    return torch.stack(list(f.scores(variations)), 1).double().cpu()


def laid_back(
    x: Tensors,
    players: Segments,
    values: Sequence[Tensor],
    change: Float[Tensor, " batch"] | None = None,
    errors: Sequence[Tensor] | None = None,
    **facts: Any,
) -> Finding:
    """The players' values as a map in which each place shows its player's value.

    With `change`, which the values share out among them, the gap is measured: over the players, each counted once,
    not over the places of the map.  `errors` are the values' standard errors; when these are more than half of the
    values' size, squared, a note says so.
    """
    table = torch.zeros(len(values), max(players.counts), dtype=torch.double)
    for row, v in zip(table, values, strict=True):
        row[: len(v)] = v
    gap: tuple[float, ...] | None = None
    known: dict[str, Any] = {"players": list(players.counts), "player values": [v.tolist() for v in values]}
    if change is not None:
        gap = tuple(((table.sum(1) - change).abs() / change.abs().clamp(min=1e-6)).tolist())
        known["change of the score"] = change.tolist()
    notes: tuple[str, ...] = ()
    if errors is not None:
        known["standard errors"] = [e.tolist() for e in errors]
        noisy = sum(bool(2 * e.square().sum() > v.square().sum() > 0) for e, v in zip(errors, values, strict=True))
        if noisy:
            notes = (f"{noisy} of {len(values)} samples: mostly sampling noise; ask for more samples or fewer parts.",)
    maps = {k: v.to(x[k].dtype) for k, v in players.laid(table).items()}
    return Finding(maps, resolution=players.resolution, gap=gap, facts={**known, **facts}, notes=notes)
