"""EfficientNet-Lite0 on labelled photographs: the average card of every cheap method."""

from __future__ import annotations

import math
import time
from functools import cache
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

import pellucid as pl
from benchmarks.trust.rig import ROOT, generator, photographs
from benchmarks.trust.verdicts import correlations
from pellucid.checks import stability
from pellucid.checks.faithfulness import score_map
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.trials.agreement import interval, resamples, spearman
from pellucid.trials.layout import layout_of
from pellucid.trials.probed import probe_set
from pellucid.trials.unlearned import unlearned

PROBES = 128
# What a hundred passes or fewer buy; options that bring a method to that.
CHEAP: dict[str, dict[str, Any]] = {
    "saliency": {}, "input_x_gradient": {}, "guided_backprop": {}, "deconvolution": {}, "excitation_backprop": {},
    "lrp": {}, "deep_lift": {}, "full_grad": {}, "guided_grad_cam": {},
    "integrated_gradients": {"steps": 32}, "blur_integrated_gradients": {"steps": 32},
    "guided_integrated_gradients": {"steps": 16}, "smooth_grad": {"samples": 16}, "beta_smooth": {},
    "gradient_shap": {"samples": 16},
    "grad_cam": {}, "grad_cam_plus_plus": {}, "x_grad_cam": {}, "hi_res_cam": {}, "layer_cam": {}, "eigen_cam": {},
    "eigen_grad_cam": {}, "fem": {}, "kpca_cam": {}, "shapley_cam": {}, "finer_cam": {},
    "occlusion": {"window": 56, "stride": 28}, "rise": {"masks": 64}, "lime": {"samples": 100, "cells": 5},
}  # fmt: skip
FEW = 2  # photographs on which the methods are run again, for stability and for random weights
# Not run again: minutes for a flag.
SLOW = ("blur_integrated_gradients", "guided_integrated_gradients", "gradient_shap", "lime", "occlusion", "rise")


@cache
def lite0() -> Network:
    """The network that comes with the package."""
    return pl.open("efficientnet_lite0")


@cache
def recognized(count: int, sure: float = 0.0) -> tuple[Tensor, Tensor]:
    """The first `count` labelled photographs that the network names rightly, with their classes; sides of 224."""
    ids = (ROOT / "tests" / "corpus" / "imagenet_wordnet_ids.txt").read_text(encoding="utf-8").split()
    net, known, classes = lite0(), list[Tensor](), list[int]()
    for path in photographs():
        label = next((i for i, name in enumerate(ids) if path.name.startswith(name)), None)
        if label is None:
            continue
        x = net.read(str(path))
        v = next(iter(x.values())) if isinstance(x, dict) else x
        with torch.no_grad():
            likely = net.model(v).softmax(1)[0]
        if int(likely.argmax()) == label and float(likely[label]) >= sure:
            known.append(v)
            classes.append(label)
        if len(known) == count:
            break
    return torch.cat(known), torch.tensor(classes)


def cards(count: int) -> dict[str, Any]:
    """The card of every cheap method, averaged over photographs; intervals by bootstrap over the photographs."""
    net, (x, classes) = lite0(), recognized(count)
    rows: dict[str, list[dict[str, Any]]] = {}
    probes, guesses = [], dict[str, list[float]]()
    random = unlearned(net, {net.inputs[0]: x[:16]}, 1)
    for i in range(len(x)):
        one, label = x[i : i + 1], int(classes[i])
        (probe,) = probe_set(Score(net, pl.logit(label)), {net.inputs[0]: one}, PROBES)
        probes.append({"area": probe.area, "left": probe.ratio, "ceiling": probe.ceiling})
        for name, m in probe.guesses:
            guesses.setdefault(name, []).append(score_map(m, probe).r)
        for name, options in CHEAP.items():
            rows.setdefault(name, []).append(_card(name, options, one, label, probe, random if i < FEW else None))
    return {
        "pictures": len(x), "probes": PROBES, "few": min(FEW, len(x)),
        "methods": {name: _average(name, of) for name, of in rows.items()},
        "guesses": {name: spread(name, r) for name, r in guesses.items()},
        "ceiling": spread("ceiling", [p["ceiling"] for p in probes]),
        "left": spread("left", [p["left"] for p in probes]),
        "areas": {f"{a:.0%}": sum(p["area"] == a for p in probes) for a in sorted({p["area"] for p in probes})},
    }  # fmt: skip


def _card(
    name: str, options: dict[str, Any], x: Tensor, label: int, probe: Any, random: Network | None
) -> dict[str, Any]:
    since = time.process_time()
    e = getattr(pl.methods, name)(lite0(), x, pl.logit(label), **options)
    seconds, m = time.process_time() - since, layout_of(e.net, e.x).map_of(e)[0]
    found = score_map(m, probe)
    row: dict[str, Any] = {
        "r": found.r, "word": found.word, "seconds": seconds, "gap": e.gap[0] if e.gap else None,
        "size": float(correlations(e.values.double().abs().sum(1), probe)[0]),
        "passes": e.cost.forwards + e.cost.backwards,
    }  # fmt: skip
    if random is not None and name not in SLOW:
        row["stable"] = stability(e).value
        again = e.rerun(net=random)
        row["random weights"] = spearman(e.values.abs().flatten().double(), again.values.abs().flatten().double())
    return row


def spread(key: str, values: list[float]) -> tuple[float, float, float]:
    """Mean with a bootstrap interval of 95 %."""
    known = torch.tensor([v for v in values if math.isfinite(v)], dtype=torch.double)
    if not len(known):
        return math.nan, math.nan, math.nan
    return float(known.mean()), *interval(known[resamples(2000, len(known), generator("spread", key))].mean(1))


def _average(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    gaps = [r["gap"] for r in rows if r["gap"] is not None]
    return {
        "r": spread(name, [r["r"] for r in rows]), "size": spread(name, [r["size"] for r in rows]),
        "words": {w: sum(r["word"] == w for r in rows) for w in ("Supported", "Weak", "Not supported", "Can't tell")},
        "stable": spread(name, [r["stable"] for r in rows if "stable" in r]),
        "random weights": spread(name, [r["random weights"] for r in rows if "random weights" in r]),
        "gap": fmean(gaps) if gaps else None,
        "passes": fmean(r["passes"] for r in rows), "seconds": fmean(r["seconds"] for r in rows),
    }  # fmt: skip
