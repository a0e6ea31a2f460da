"""Which number orders maps as the truth does?  Graded maps, real methods, and masks of fixed and of random size."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import torch
from torch import Tensor

import pellucid as pl
from benchmarks.trust.asking import INFILLS, Asked, cells, oracle
from benchmarks.trust.maps import graded, places
from benchmarks.trust.rig import GLYPH, SIDE, first, generator, glyph_network, glyph_test
from benchmarks.trust.verdicts import kendall
from pellucid.probes.infill import pull_push
from pellucid.probes.masks import blobs
from pellucid.trials.agreement import pearson, spearman
from pellucid.trials.layout import Layout
from pellucid.trials.yardsticks import center, edges

AREA = 0.3


def against(m: Tensor, masks: Tensor, after: Tensor) -> float:
    """Pearson's r of the map's sums under the masks with the fall of the score."""
    sums = masks.flatten(1).double() @ (m - m.mean()).flatten().double()
    return float(pearson(sums, -after))


def graded_maps(pictures: int) -> dict[str, dict[str, float]]:
    """Mean tau within a picture between a measure and the share of truth in 15 maps, by measure and infill."""
    net, found = glyph_network(), first(glyph_test(), pictures)
    taus: dict[str, dict[str, list[float]]] = {}
    for i in range(len(found)):
        known = list(graded(found.truth[i].double(), generator("graded", i)))
        shares, masks = [s for s, _ in known], blobs(128, SIDE, SIDE, AREA, generator("graded probes", i))
        for name, infill in ({"oracle": oracle(found.without[i])} | INFILLS).items():
            ask = Asked(net, found.x[i], int(found.labels[i]), infill)
            for measure, scores in _measured(ask, [m for _, m in known], masks).items():
                taus.setdefault(measure, {}).setdefault(name, []).append(kendall(shares, scores))
    return {measure: {name: fmean(v) for name, v in by.items()} for measure, by in taus.items()}


def _measured(ask: Asked, maps: list[Tensor], masks: Tensor) -> dict[str, list[float]]:
    odds, chance = ask(masks)
    out: dict[str, list[float]] = {
        f"probe r, {n}": [against(m, masks[:n], odds[:n]) for m in maps] for n in (32, 64, 128)
    }
    out["probe r, 128, probability"] = [against(m, masks, chance) for m in maps]
    for steps in (8, 16):
        worst, best = [ask.curve(m, steps) for m in maps], [ask.curve(m, steps, least_first=True) for m in maps]
        out[f"SRG, {steps} steps"] = [float(b[0].mean() - w[0].mean()) for w, b in zip(worst, best, strict=True)]
    out["MoRF log-odds, 16 steps"] = [-float(w[0].mean()) for w in worst]
    out["MoRF probability, 16 steps"] = [-float(w[1].mean()) for w in worst]
    out["LeRF probability, 16 steps"] = [float(b[1].mean()) for b in best]
    return out


def method_maps(x: Tensor, label: int, seed: int) -> dict[str, Tensor]:
    """Maps of one picture `[1, 3, height, width]`: nine methods, two of them also by size, and three that never ask."""
    net, target, m = pl.Network(glyph_network()), pl.logit(label), pl.methods
    found = {
        "ig": m.integrated_gradients(net, x, target, steps=32),
        "occlusion": m.occlusion(net, x, target, window=6, stride=2),
        "gbp": m.guided_backprop(net, x, target),
        "gxi": m.input_x_gradient(net, x, target),
        "grad": m.saliency(net, x, target),
        "gradcam": m.grad_cam(net, x, target),
        "smoothgrad": m.smooth_grad(net, x, target, samples=16),
        "rise": m.rise(net, x, target, masks=256),
        "deconv": m.deconvolution(net, x, target),
    }
    layout = Layout("picture", "x", (2, 3), tuple(x.shape[2:]))
    guesses = {"edge": edges(layout, x), "centre": center(layout.shape)}
    noise = torch.randn(x.shape[2:], generator=generator("noise", seed), dtype=torch.double)
    sizes = {f"{k}, size": places(found[k].values.abs()) for k in ("gbp", "deconv")}
    return {name: places(e.values) for name, e in found.items()} | sizes | guesses | {"random": noise}


def inside(m: Tensor, truth: Tensor, g: torch.Generator) -> float:
    """The share of the map's strongest places, as many as the truth has, that lie in it; ties at random."""
    size = int(truth.sum())
    jitter = torch.rand(m.shape, generator=g).double() * 1e-9 * float(m.abs().max())
    return float(truth.flatten()[(m + jitter).flatten().topk(size).indices].double().mean())


def real_methods(pictures: int) -> dict[str, Any]:
    """How measures order twelve methods within a picture, against the share of each map's top places in the glyph."""
    net, found = glyph_network(), first(glyph_test(), pictures)
    ranks: dict[str, list[float]] = {}
    values: dict[str, list[float]] = {}
    truths: dict[str, list[float]] = {}
    sizes: dict[str, dict[str, list[float]]] = {}
    for i in range(len(found)):
        label, g = int(found.labels[i]), generator("methods", i)
        ask, maps = Asked(net, found.x[i], label, pull_push), method_maps(found.x[i : i + 1], label, i)
        truth = [inside(m, found.truth[i], g) for m in maps.values()]
        for name, by in _probed(ask, maps, g).items():
            ranks.setdefault(name, []).append(spearman(torch.tensor(by), torch.tensor(truth)))
            if name == "blobs of fixed area, 128":
                for method, r, t in zip(maps, by, truth, strict=True):
                    values.setdefault(method, []).append(r)
                    truths.setdefault(method, []).append(t)
            if name.endswith("size, 64"):
                for method, r in zip(maps, by, strict=True):
                    sizes.setdefault(name, {}).setdefault(method, []).append(r)

    def means(by: dict[str, list[float]]) -> dict[str, float]:
        return {k: fmean(v) for k, v in by.items()}

    return {
        "spearman": means(ranks), "r": means(values), "inside": means(truths),
        "sizes": {k: means(v) for k, v in sizes.items()}, "pictures": len(found), "glyph": GLYPH,
    }  # fmt: skip


def _probed(ask: Asked, maps: dict[str, Tensor], g: torch.Generator) -> dict[str, list[float]]:
    out = {}
    masks = blobs(128, SIDE, SIDE, AREA, g)
    odds, _ = ask(masks)
    for n in (32, 64, 128):
        out[f"blobs of fixed area, {n}"] = [against(m, masks[:n], odds[:n]) for m in maps.values()]
    for fixed, name in ((True, "cells of fixed size, 64"), (False, "cells of random size, 64")):
        masks = cells(64, SIDE, 4, AREA, g, fixed=fixed)
        odds, _ = ask(masks)
        # As published: the map as it is, not centered, so that a constant in it counts where sizes vary.
        out[name] = [float(pearson(masks.flatten(1).double() @ m.flatten().double(), -odds)) for m in maps.values()]
    for steps in (4, 8):
        out[f"SRG, {2 * steps} passes"] = [_srg(ask, m, steps) for m in maps.values()]
    return out


def _srg(ask: Asked, m: Tensor, steps: int) -> float:
    return float(ask.curve(m, steps, least_first=True)[0].mean() - ask.curve(m, steps)[0].mean())
