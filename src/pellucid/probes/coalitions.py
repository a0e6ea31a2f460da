"""An input with some of its players only, a fill in place of the others; and what a game says, laid on the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pellucid.core.errors import BadOption
from pellucid.core.incremental.local_edits import Box, Edits
from pellucid.core.method import Finding
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, digest
from pellucid.probes.fills import Fill, Paint, painted, stand_in
from pellucid.probes.segments import USUAL, Segments, segments
from pellucid.probes.variations import Variations

PICTURES: Fill = "blur"  # what stands in a picture where a player is absent, when nothing is said (docs/methods.md)

Absent: TypeAlias = Annotated[
    Fill | None,
    "what stands where a player is absent: a value, or something made of the sample; none: a blur in pictures, else 0",
]
Baseline: TypeAlias = Annotated[
    float | None, Range(-1e6, 1e6), "the constant that stands in for an absent player, as the network sees it"
]


@dataclass(frozen=True, slots=True)
class Parts:
    """An input in parts, the players, and what stands where one is absent (nothing ready-made: it is painted over)."""

    x: Tensors
    players: Segments
    absent: Tensors
    paint: Paint = "inpainted"

    @property
    def counts(self) -> tuple[int, ...]:
        """How many players each sample has."""
        return self.players.counts

    def only(self, present: Bool[Tensor, "batch players"]) -> Tensors:
        """The input with the players that are present, and the fill everywhere else."""
        return self.x | {k: self._only(k, here) for k, here in self.players.laid(present).items()}

    def _only(self, name: str, here: Tensor) -> Tensor:
        v = self.x[name]
        if name in self.absent:
            return torch.where(here, v, self.absent[name])
        axes = _axes(here)
        return painted(v, axes, ~here.reshape(len(v), *(v.shape[a] for a in axes)), self.paint)

    def coalitions(self, present: Bool[Tensor, "batch count players"]) -> Variations:
        """Each sample's coalitions, one after another."""
        return Variations(present.shape[1], lambda i: self.only(present[:, i]))

    def nobody(self) -> Tensors:
        """The input without any player."""
        return self.only(torch.zeros(len(self.counts), max(self.counts), dtype=torch.bool))

    def among(self, rows: list[int]) -> Parts:
        """Some of the samples."""
        x, absent = ({k: v[rows] for k, v in part.items()} for part in (self.x, self.absent))
        return Parts(x, self.players.among(rows), absent, self.paint)


def parts(
    f: Score,
    x: Tensors,
    *,
    by: str = "grid",
    cells: int | None = None,
    mask: Tensor | None = None,
    fill: Fill | None = None,
    baseline: float | None = None,
    most: int = USUAL,
) -> Parts:
    """The input in parts, as the options say; `most`: how many to make of it when `cells` does not say.

    Without a fill, what is absent is the baseline where one is given; else a blur in pictures and 0 elsewhere,
    as at an inner site.
    Raises `BadOption` for a baseline beside a fill that has no use for it.

    >>> from pellucid.core.network import Network
    >>> from pellucid.core.target import logit
    >>> found = parts(Score(Network(torch.nn.Linear(2, 1)), logit(0)), {"input": torch.ones(1, 2)})
    >>> found.only(torch.tensor([[False, True]]))["input"].tolist()
    [[0.0, 1.0]]
    """
    if baseline is not None and fill not in (None, "constant"):
        raise BadOption(f"baseline={baseline} with fill={fill!r}: only a constant fill has one.", "Leave one out.")
    players, absent = segments(f, x, by=by, cells=cells, mask=mask, most=most), Tensors()
    for name, labels in players.labels.items():
        v, axes = x[name].contiguous(), _axes(labels)  # in one layout, so that a blur is the same to the last bit
        usual: Fill = PICTURES if v.ndim == 4 and baseline is None and f.inner is None else "constant"
        kind = fill or usual
        if kind != "inpainted" and kind != "noisy_linear":
            absent[name] = stand_in(v, axes, kind, baseline or 0.0)
    return Parts(x, players, absent, "noisy_linear" if fill == "noisy_linear" else "inpainted")


def _axes(labels: Tensor) -> tuple[int, ...]:
    """The axes along which an input is divided; of a single place, the last."""
    return tuple(a for a in range(1, labels.ndim) if labels.shape[a] > 1) or (labels.ndim - 1,)


def without_each(game: Parts) -> Edits:
    """The input without one player, one after another; who has fewer players than others keeps all of them."""
    most, batch = max(game.counts), len(game.counts)
    wholes = game.coalitions(~torch.eye(most, dtype=torch.bool).expand(batch, most, most))
    if len(game.players.labels) > 1:
        return Edits(wholes, why_not="the parts are spread over several inputs")
    ((name, labels),) = game.players.labels.items()
    v = game.x[name]
    if v.ndim != 4:
        return Edits(wholes, why_not="the input is no picture")
    corners = [_corners(of_sample[0], most) for of_sample in labels]

    def box(i: int, sample: int) -> Box:
        top, bottom, left, right = corners[sample][i]
        return slice(top, bottom), slice(left, right)

    def content(i: int, sample: int, box: Box) -> Tensor:
        one = slice(sample, sample + 1)
        if name in game.absent:
            here = labels[sample, :, *box] == i
            return torch.where(here, game.absent[name][sample, :, *box], v[sample, :, *box])
        return painted(v[one], _axes(labels), labels[one, 0] == i, game.paint)[0, :, *box]

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
    game: Parts,
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
    x, players = game.x, game.players
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
