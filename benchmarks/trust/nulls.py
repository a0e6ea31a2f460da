"""The statistics of the card: random maps, intervals, the share of the answer that is left, and graded verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean, median

import torch
from torch import Tensor

import pellucid as pl
from benchmarks.trust.asking import Asked, cells
from benchmarks.trust.maps import places, shifted
from benchmarks.trust.ordering import AREA
from benchmarks.trust.rig import SIDE, Planted, first, generator, glyph_network, glyph_test
from benchmarks.trust.verdicts import correlations, part, probed
from pellucid.checks.faithfulness import score_map
from pellucid.probes.blur import blurred
from pellucid.probes.infill import blur, pull_push
from pellucid.probes.masks import blobs, landscapes
from pellucid.trials.nulls import null_scores
from pellucid.trials.probed import ProbeSet
from pellucid.trials.yardsticks import center

NULLS = 499


def knowing_nothing(i: int, truth: Tensor) -> dict[str, Tensor]:
    """Maps of one picture that know nothing, one that is the truth moved away, and the truth."""
    g = generator("nothing", i)
    smooth = landscapes(1, (SIDE, SIDE), g)
    return {
        "smooth random field": smooth[0],
        "very smooth random field": blurred(smooth[None], (2, 3), SIDE / 8)[0, 0],
        "centre blob": center((SIDE, SIDE)),
        "truth, shifted by 10 px or more": shifted(truth, g),
        "truth": truth,
    }


def rejected(pictures: int, count: int = 128) -> dict[str, dict[str, float]]:
    """Share of maps with p <= .05, by map, under the shuffled and the rolled null; on two kinds of probes."""
    net, found = glyph_network(), first(glyph_test(), pictures)
    planted, network = Planted("glyphs", "", net, found), pl.Network(net)
    out: dict[str, dict[str, list[float]]] = {}
    for i in range(len(found)):
        ours = probed(planted, i, count, network)
        coins = cells(count, SIDE, 4, AREA, generator("coins", i), fixed=False)
        odds, _ = Asked(net, found.x[i], int(found.labels[i]), blur)(coins)
        for probes, said in ((ours, "the card's probes"), (replace(ours, masks=coins, drops=-odds), "coin tosses")):
            for name, m in knowing_nothing(i, found.truth[i].double()).items():
                row = out.setdefault(name, {})
                row.setdefault(f"{said}, shuffled", []).append(_p(m, probes, _shuffled(m, probes, i)) <= 0.05)
                row.setdefault(f"{said}, rolled", []).append(_p(m, probes, null_scores(m, probes, NULLS)) <= 0.05)
    return {name: {k: fmean(v) for k, v in row.items()} for name, row in out.items()}


def _shuffled(m: Tensor, probes: ProbeSet, i: int) -> Tensor:
    g = generator("shuffled", i)
    flat = m.flatten()
    return correlations(torch.stack([flat[torch.randperm(len(flat), generator=g)] for _ in range(NULLS)]), probes)


def _p(m: Tensor, probes: ProbeSet, nulls: Tensor) -> float:
    return float(1 + (nulls >= correlations(m[None], probes)[0] - 1e-6).sum()) / (len(nulls) + 1)


def coverage(pictures: int, far: int = 2048) -> dict[str, dict[int, tuple[float, float]]]:
    """How often the interval of 64, 128, 256 probes covers what `far` other probes say, and its median width."""
    net, found = glyph_network(), first(glyph_test(), pictures)
    planted, network = Planted("glyphs", "", net, found), pl.Network(net)
    seen: dict[str, dict[int, list[tuple[bool, float]]]] = {}
    for i in range(len(found)):
        all_of = probed(planted, i, 2 * far, network)
        m = pl.methods.integrated_gradients(network, found.x[i : i + 1], pl.logit(int(found.labels[i])), steps=16)
        nothing = landscapes(1, (SIDE, SIDE), generator("useless", i))[0]
        for name, v in (("integrated gradients", places(m.values)), ("a smooth random field", nothing)):
            settled = float(correlations(v[None], part(all_of, slice(far, None)))[0])
            for n in (64, 128, 256):
                for start in range(0, 4 * n, n):
                    told = score_map(v, part(all_of, slice(start, start + n)))
                    row = seen.setdefault(name, {}).setdefault(n, [])
                    row.append((told.low <= settled <= told.high, told.high - told.low))
    return {
        name: {n: (fmean(c for c, _ in rows), median(w for _, w in rows)) for n, rows in by.items()}
        for name, by in seen.items()
    }


def left(ask: Asked, masks: Tensor) -> float:
    """What is left of the class's probability on average (R-OMS)."""
    _, chance = ask(masks)
    _, whole = ask(torch.zeros(1, *masks.shape[1:], dtype=torch.bool))
    return float(chance.mean() / whole[0])


def shapes(side: int, count: int, g: torch.Generator) -> dict[str, Callable[[], Tensor]]:
    """Ways to remove a share of a picture."""

    def rectangle(share: float) -> Tensor:
        out = torch.zeros(count, side, side, dtype=torch.bool)
        edge = round(math.sqrt(share) * side)
        for k in range(count):
            top, left_ = (int(v) for v in torch.randint(side - edge + 1, (2,), generator=g))
            out[k, top : top + edge, left_ : left_ + edge] = True
        return out

    return {
        "blobs 30 %": lambda: blobs(count, side, side, 0.30, g),
        "blobs 15 %": lambda: blobs(count, side, side, 0.15, g),
        "7 x 7 cells 30 %": lambda: cells(count, side, side // 7, 0.30, g, fixed=True),
        "14 x 14 cells 30 %": lambda: cells(count, side, side // 14, 0.30, g, fixed=True),
        "14 x 14 cells 10 %": lambda: cells(count, side, side // 14, 0.10, g, fixed=True),
        "rectangle 10 %": lambda: rectangle(0.10),
        "rectangle 25 %": lambda: rectangle(0.25),
    }


def glyphs_left(pictures: int) -> tuple[float, float, float]:
    """Least, middle and most of what is left on the glyph network, 30 % removed in blobs."""
    net, found = glyph_network(), first(glyph_test(), pictures)
    each = [
        left(Asked(net, found.x[i], int(found.labels[i]), pull_push), blobs(64, SIDE, SIDE, AREA, generator("left", i)))
        for i in range(len(found))
    ]
    return min(each), median(each), max(each)
