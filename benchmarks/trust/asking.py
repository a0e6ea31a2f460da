"""Asking a network about one picture with parts replaced; other infills and other masks than the card's, to compare."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import coo_matrix, diags
from scipy.sparse.linalg import spsolve
from torch import Tensor, nn

from benchmarks.trust.rig import log_odds
from pellucid.probes.infill import blur, pull_push

Infill = Callable[[Tensor, Tensor], Tensor]
AROUND = [(i, j, 1 / 6 if 0 in (i, j) else 1 / 12) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]


def road(x: Tensor, masks: Tensor, noise: float = 0.01) -> Tensor:
    """Noisy linear imputation (Rong et al. 2022): each removed pixel is the weighted mean of its eight neighbors."""
    out = x.clone()
    g = torch.Generator().manual_seed(0)
    for k, mask in enumerate(masks):
        hole = mask.numpy()
        number = np.full(hole.shape, -1)
        number[hole] = np.arange(hole.sum())
        top, left = np.nonzero(hole)
        rows, columns, weights = [], [], []
        total, known = np.zeros(len(top)), np.zeros((len(top), x.shape[1]))
        values = x[k].numpy()
        for i, j, w in AROUND:
            a, b = top + i, left + j
            inside = (a >= 0) & (a < hole.shape[0]) & (b >= 0) & (b < hole.shape[1])
            total[inside] += w
            a, b, which = a[inside], b[inside], np.nonzero(inside)[0]
            gone = hole[a, b]
            rows.append(which[gone])
            columns.append(number[a[gone], b[gone]])
            weights.append(np.full(gone.sum(), -w))
            known[which[~gone]] += w * values[:, a[~gone], b[~gone]].T
        system = coo_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), (len(top),) * 2)
        solved = spsolve((system + diags(total)).tocsc(), known)
        out[k][:, mask] = torch.from_numpy(solved.reshape(len(top), -1).T).float()
        out[k][:, mask] += noise * torch.randn(out[k][:, mask].shape, generator=g)
    return out


def by_mean(x: Tensor, masks: Tensor) -> Tensor:
    """What is removed becomes the picture's mean color."""
    return torch.where(masks[:, None], x.mean((2, 3), keepdim=True), x)


def by_zero(x: Tensor, masks: Tensor) -> Tensor:
    """What is removed becomes gray: zero, as the network sees it."""
    return torch.where(masks[:, None], torch.zeros_like(x), x)


INFILLS: dict[str, Infill] = {
    "mean": by_mean, "blur": blur, "zero/gray": by_zero, "ROAD linear": road, "pull-push (ours)": pull_push,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """One picture, `[3, height, width]`, of one class, under one infill."""

    model: nn.Module
    x: Tensor
    label: int
    infill: Infill

    def __call__(self, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds and probability of the class, with each mask's part replaced."""
        found = []
        with torch.no_grad():
            for some in masks.split(128):
                found.append(self.model(self.infill(self.x.expand(len(some), *self.x.shape), some)))
        out = torch.cat(found)
        return log_odds(out, torch.full((len(out),), self.label)), out.double().softmax(1)[:, self.label]

    def curve(self, m: Tensor, steps: int, least_first: bool = False) -> tuple[Tensor, Tensor]:
        """Log-odds and probability with growing shares of the map's strongest (or weakest) places replaced."""
        order = m.flatten().argsort(descending=not least_first, stable=True)
        masks = torch.zeros(steps, m.numel(), dtype=torch.bool)
        for k in range(steps):
            masks[k, order[: round((k + 1) / (steps + 1) * m.numel())]] = True
        return self(masks.view(steps, *m.shape))


def oracle(without: Tensor) -> Infill:
    """What is removed becomes what was there before the evidence came in."""
    return lambda x, masks: torch.where(masks[:, None], without, x)


def cells(count: int, side: int, each: int, share: float, g: torch.Generator, *, fixed: bool) -> Tensor:
    """Masks of square cells: a fixed number of them, or each with its own coin."""
    rows = side // each
    heights = torch.rand(count, rows * rows, generator=g)
    chosen = heights.argsort(1).argsort(1) < round(share * rows * rows) if fixed else heights < share
    return chosen.view(count, rows, rows).repeat_interleave(each, 1).repeat_interleave(each, 2)
