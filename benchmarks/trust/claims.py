"""What is said of methods everywhere, checked picture by picture, method by method and network by network."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

import pellucid as pl
from benchmarks.trust import rig
from benchmarks.trust.blood import blood_rig
from benchmarks.trust.networks import Quadrant, grid_rig, mosaic, only
from benchmarks.trust.photographs import lite0, recognized
from benchmarks.trust.rig import first, glyph_network, glyph_test
from pellucid.core.explanation import Explanation
from pellucid.core.network import Network
from pellucid.trials.agreement import entropy, spearman
from pellucid.trials.unlearned import unlearned

Method = Callable[[Network, Tensor, int], Explanation]
METHODS: dict[str, Method] = {
    "gradient": lambda net, x, c: pl.methods.saliency(net, x, c),
    "gradient x input": lambda net, x, c: pl.methods.input_x_gradient(net, x, c),
    "integrated gradients": lambda net, x, c: pl.methods.integrated_gradients(net, x, c, steps=16),
    "SmoothGrad": lambda net, x, c: pl.methods.smooth_grad(net, x, c, samples=8),
    "guided backprop": lambda net, x, c: pl.methods.guided_backprop(net, x, c),
    "deconvolution": lambda net, x, c: pl.methods.deconvolution(net, x, c),
    "Grad-CAM": lambda net, x, c: pl.methods.grad_cam(net, x, c),
}
BACKPROP = ("gradient", "gradient x input", "integrated gradients", "SmoothGrad", "guided backprop", "deconvolution")
TEXTBOOK = [(same, changed) for same in ("guided backprop", "deconvolution") for changed in ("gradient", "Grad-CAM")]


def size(e: Explanation) -> Tensor:
    """The map's absolute values, as in Adebayo et al. 2018."""
    return e.values.abs().flatten().double()


def networks(pictures: int) -> dict[str, tuple[Network, Tensor, Tensor]]:
    """Networks with pictures and classes."""
    found, cells = first(glyph_test(), pictures), blood_rig(pictures).scenes
    other = first(rig.right(glyph_network(1), glyph_test()), pictures)
    photos, classes = recognized(max(pictures // 2, 4))
    return {
        "glyphs": (Network(glyph_network()), found.x, found.labels),
        "glyphs, trained again": (Network(glyph_network(1)), other.x, other.labels),
        "blood cells": (Network(blood_rig(pictures).model), cells.x, cells.labels),
        "EfficientNet-Lite0": (lite0(), photos, classes),
    }


def randomized(pictures: int) -> dict[str, Any]:
    """Rank correlation with the map of a network that never learned, by network, method and picture; and by chance.

    Chance is the similarity of the maps of different pictures (Arun et al. 2021); `entropy` the relative change of the
    histogram's entropy (Hedström et al. 2024).
    """
    table: dict[str, dict[str, dict[str, float]]] = {}
    pairs: dict[str, list[tuple[float, float]]] = {f"{a} > {b}": [] for a, b in TEXTBOOK}
    by_picture: dict[str, list[bool]] = {k: [] for k in pairs}
    for name, (net, x, classes) in networks(pictures).items():
        random, alike = unlearned(net, {net.inputs[0]: x[:16]}, 1), dict[str, list[float]]()
        for method, run in METHODS.items():
            learned = [size(run(net, x[i : i + 1], int(classes[i]))) for i in range(len(x))]
            drawn = [size(run(random, x[i : i + 1], int(classes[i]))) for i in range(len(x))]
            alike[method] = [spearman(a, b) for a, b in zip(learned, drawn, strict=True)]
            chance = [spearman(a, b) for a, b in zip(learned, learned[1:] + learned[:1], strict=True)]
            calmer = [(entropy(b) - entropy(a)) / max(entropy(a), 1e-9) for a, b in zip(learned, drawn, strict=True)]
            table.setdefault(name, {})[method] = {
                "alike": mean(alike[method]), "chance": mean(chance), "entropy": mean(calmer),
            }  # fmt: skip
        for a, b in TEXTBOOK:
            both = [(u, v) for u, v in zip(alike[a], alike[b], strict=True) if u == u and v == v]
            by_picture[f"{a} > {b}"] += [u > v for u, v in both]
            pairs[f"{a} > {b}"].append((mean(alike[a]), mean(alike[b])))
    return {
        "table": table,
        "pictures": {k: [sum(v), len(v)] for k, v in by_picture.items()},
        "networks": {k: [sum(a > b for a, b in v), len(v)] for k, v in pairs.items()},
        "methods": {k: [fmean(a for a, _ in v), fmean(b for _, b in v)] for k, v in pairs.items()},
    }


def mean(values: list[float]) -> float:
    """The mean of the numbers among them."""
    known = [v for v in values if v == v]
    return fmean(known) if known else float("nan")


def share_inside(e: Explanation, inside: Tensor) -> float:
    """The share of the positive evidence that lies inside; NaN when there is none."""
    positive = e.values[0].double().clamp(min=0).sum(0)
    total = float(positive.sum())
    return float(positive[inside].sum()) / total if total > 0 else float("nan")


def quarter(side: int, at: int) -> Tensor:
    """One quarter of a square, as a mask."""
    return only(torch.ones(1, 2 * side, 2 * side, dtype=torch.bool), torch.tensor([at]))[0]


@cache
def photo_mosaics(count: int) -> tuple[Tensor, Tensor]:
    """Four recognized photographs of different classes in one picture, twice the side; the class in each quarter."""
    photos, classes = recognized(4 * count, sure=0.9)
    x, labels = photos[: 4 * count].unflatten(0, (-1, 4)), classes[: 4 * count].unflatten(0, (-1, 4))
    a, b, c, d = x.unbind(1)
    return torch.cat([torch.cat([a, b], -1), torch.cat([c, d], -1)], -2), labels


def mosaics(pictures: int, photos: int) -> dict[str, dict[str, float]]:
    """Share of the positive evidence in the right quarter of four pictures in one (Rao et al. 2022); chance is .25."""
    glyphs = grid_rig(pictures)
    net, sides = Network(glyphs.model), glyphs.scenes.x.shape[-1] // 2
    large, labels = photo_mosaics(photos)
    out: dict[str, dict[str, float]] = {}
    for name, run in METHODS.items():
        small = [
            share_inside(run(net, glyphs.scenes.x[i : i + 1], int(glyphs.scenes.labels[i])), quarter(sides, i % 4))
            for i in range(len(glyphs.scenes))
        ]
        real = [
            share_inside(run(lite0(), large[i : i + 1], int(labels[i, i % 4])), quarter(large.shape[-1] // 2, i % 4))
            for i in range(len(large))
        ]
        out[name] = {"glyphs": mean(small), "photographs": mean(real)}
    return out


def seen_quarter(pictures: int) -> dict[str, float]:
    """The least share of any evidence in the only quarter that reaches the network (DiFull): 1 for what follows it."""
    x, _, _, labels = mosaic(glyph_test(), "crop")
    net, inside = Network(Quadrant(glyph_network()).eval()), quarter(x.shape[-1] // 2, 0)
    out = {}
    for name in BACKPROP:
        maps = [
            METHODS[name](net, x[i : i + 1], int(labels[i, 0])).values[0].double().abs().sum(0) for i in range(pictures)
        ]
        out[name] = min(float(m[inside].sum() / m.sum()) for m in maps)
    return out


def all_of(scale: float) -> dict[str, Any]:
    """Everything above."""
    few = round(12 * scale)
    return {
        "randomized": randomized(few), "mosaics": mosaics(round(24 * scale), max(round(6 * scale), 2)),
        "seen quarter": seen_quarter(few), "pictures": few,
    }  # fmt: skip
