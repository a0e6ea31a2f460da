"""Mosaics: pictures of different classes side by side, of which each class's evidence can only lie in its own cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from pellucid.core.network import parts_of


@dataclass(frozen=True, slots=True)
class Mosaic:
    """One picture made of `side` x `side` others; `rows` and `columns` are where the cells begin and end.

    `samples`: which picture lies in each cell, row by row.
    """

    picture: Float[Tensor, "one channels height width"]
    samples: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def side(self) -> int:
        """Cells along each side."""
        return len(self.rows) - 1

    def cell(self, values: Float[Tensor, "*any height width"], number: int) -> Float[Tensor, "*any h w"]:
        """The part of a map that lies in a cell."""
        i, j = divmod(number, self.side)
        return values[..., self.rows[i] : self.rows[i + 1], self.columns[j] : self.columns[j + 1]]


def mosaic(x: Float[Tensor, "batch channels height width"], samples: Sequence[int], *, shrunk: bool) -> Mosaic:
    """The pictures `samples` of a batch in a square; `shrunk`: so that the whole is as large as one of them was.

    >>> made = mosaic(torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 2, 2), (3, 1, 0, 2), shrunk=True)
    >>> made.picture[0, 0].tolist()
    [[3.0, 1.0], [0.0, 2.0]]
    """
    side, (height, width) = round(len(samples) ** 0.5), (x.shape[2], x.shape[3])
    rows, columns = (
        tuple(round(i * n / side) for i in range(side + 1)) if shrunk else tuple(i * n for i in range(side + 1))
        for n in (height, width)
    )
    lines = []
    for i in range(side):
        cells = [
            _sized(x[samples[i * side + j]][None], rows[i + 1] - rows[i], columns[j + 1] - columns[j])
            for j in range(side)
        ]
        lines.append(torch.cat(cells, 3))
    return Mosaic(torch.cat(lines, 2), tuple(samples), rows, columns)


def _sized(x: Tensor, height: int, width: int) -> Tensor:
    if (x.shape[2], x.shape[3]) == (height, width):
        return x
    return functional.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)


def arrangements(
    classes: Sequence[int], usable: Sequence[int], cells: int, most: int, generator: torch.Generator
) -> list[tuple[int, ...]]:
    """At most `most` ways to fill the cells with usable samples of different classes, each sample used equally often.

    >>> sorted(arrangements([7, 7, 8], [0, 1, 2], 2, 9, torch.Generator().manual_seed(0))[0][:1]) != []
    True
    >>> arrangements([7, 7, 8], [0, 1], 2, 9, torch.Generator())
    []
    """
    uses = dict.fromkeys(usable, 0)
    found: dict[frozenset[int], tuple[int, ...]] = {}
    for _ in range(4 * most):  # some draws repeat what there is
        order = [usable[i] for i in torch.randperm(len(usable), generator=generator).tolist()]
        first: dict[int, int] = {}
        for i in sorted(order, key=uses.__getitem__):
            first.setdefault(classes[i], i)
        chosen = list(first.values())[:cells]
        if len(chosen) < cells or len(found) == most:
            break
        if frozenset(chosen) not in found:
            found[frozenset(chosen)] = tuple(chosen)
            uses.update({i: uses[i] + 1 for i in chosen})
    return list(found.values())


class Disconnected(nn.Module):
    """The network applied to each cell on its own (DiFull): `[batch, cells * classes]`, cell by cell.

    What is said of a cell's class is a function of that cell alone, whatever the network is.
    """

    def __init__(self, model: nn.Module, part: str | int | None, rows: Sequence[int], columns: Sequence[int]) -> None:
        super().__init__()
        self.model, self.part = model, part
        self.rows, self.columns = tuple(rows), tuple(columns)

    def forward(self, x: Tensor) -> Tensor:
        """The scores of every cell, one after the other."""
        found = []
        for top, bottom in zip(self.rows[:-1], self.rows[1:], strict=True):
            for left, right in zip(self.columns[:-1], self.columns[1:], strict=True):
                found.append(_picked(self.model(x[:, :, top:bottom, left:right]), self.part))
        return torch.cat(found, 1)


def _picked(output: Any, part: str | int | None) -> Tensor:
    """What `Network.pick` picks of an output that it has picked from before."""
    parts = parts_of(output)
    if part is not None:
        return parts[str(part)]
    return parts["logits"] if "logits" in parts else next(v for v in parts.values() if v.is_floating_point())
