"""What gives a map's figure its meaning: maps that anybody could draw, and the most that any map could reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pellucid.core.errors import BadInput
from pellucid.trials.agreement import pearson
from pellucid.trials.layout import Layout

Guesses: TypeAlias = Mapping[str, Tensor]
TAKEN = ("edges", "center", "size of values", "random weights", "random", "ceiling")

FOLDS = 6  # Cross-validation of the additive ceiling.


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


def guesses_of(layout: Layout, v: Tensor) -> tuple[tuple[str, Tensor], ...]:
    """Maps that anybody could draw without asking the network: where the edges are, and the middle.

    Of a table, how far each column is from the zero that is put in its place; where all are as far, nothing.
    """
    if layout.kind == "table":
        away = layout.places(v.detach().cpu().abs())[0]
        return (("size of values", away),) if float(away.max()) > float(away.min()) else ()
    if layout.kind not in ("picture", "series"):
        return ()
    return ("edges", edges(layout, v)), ("center", center(layout.shape))


def own_guesses(given: Guesses, layout: Layout, samples: int) -> list[tuple[tuple[str, Tensor], ...]]:
    """A user's guesses, for each sample: maps over the places, one for all samples or one for each.

    Raises `BadInput` for another shape, values that are no numbers, and a name that is taken.

    >>> layout = Layout("table", "x", (1,), (3,))
    >>> [dict(one)["busy"].tolist() for one in own_guesses({"busy": torch.tensor([1.0, 0.0, 2.0])}, layout, 2)]
    [[1.0, 0.0, 2.0], [1.0, 0.0, 2.0]]
    """
    found: list[tuple[str, Tensor]] = []
    for name, m in given.items():
        if name in TAKEN or not name:
            raise BadInput(f"A guess was named {name!r}.", f"Give it a name of its own, none of {', '.join(TAKEN)}.")
        if tuple(m.shape) not in (layout.shape, (samples, *layout.shape)):
            wanted = f"expected {layout.shape}, one for all samples, or {(samples, *layout.shape)}"
            raise BadInput(f"The guess {name!r} is {tuple(m.shape)}; {wanted}.", "Give a number for each place.")
        if not bool(m.isfinite().all()):
            raise BadInput(f"The guess {name!r} has values that are NaN or infinite.", "Give numbers.")
        found.append((name, m.detach().double().cpu().expand(samples, *layout.shape)))
    return [tuple((name, m[i]) for name, m in found) for i in range(samples)]


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
