"""What the card says of maps whose worth is known: the confusion matrix of its verdicts, and whether they last."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

import pellucid as pl
from benchmarks.trust.asking import Asked, by_mean
from benchmarks.trust.maps import Maps, graded
from benchmarks.trust.networks import RIGS
from benchmarks.trust.rig import Planted, generator
from pellucid.checks.faithfulness import UNLEARNED, score_map
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.score import Score
from pellucid.probes.infill import blur
from pellucid.trials.agreement import pearson
from pellucid.trials.probed import ProbeSet, probe_set

WORDS = ("Supported", "Weak", "Not supported", "Can't tell")
HELD_OUT = 256  # probes of another seed that decide whether a claim lasts
Row = dict[str, Any]


def probed(planted: Planted, i: int, count: int, net: Network, seed: int = 0) -> ProbeSet:
    """The card's own probes of scene i."""
    target = pl.logit(int(planted.scenes.labels[i]))
    with running(Run(seed=seed)):
        (found,) = probe_set(Score(net, target), {net.inputs[0]: planted.scenes.x[i : i + 1]}, count)
    return found


def judged(name: str, pictures: int, count: int = 128) -> list[Row]:
    """A row a map: rig, picture, what the map is, the card's word and numbers, and what held-out probes say."""
    planted = RIGS[name](pictures)
    maps, rows = Maps(planted), list[Row]()
    for i in range(len(planted.scenes)):
        probes, others = probed(planted, i, count, maps.net), held_out(planted, i, maps.net)
        guesses = [("wrong", f"{guess} map", m) for guess, m in probes.guesses]
        drawn = cache(partial(maps.guess, i))
        for kind, what, m in (*maps.of(i), *guesses):
            unlearned = drawn(method_of(what))
            found = score_map(m, beside(probes, unlearned))
            row = {"rig": planted.name, "picture": i, "kind": kind, "map": what, "word": found.word, "r": found.r}
            row |= {"margin": found.margin[0], "reason": found.reason, "ceiling": found.ceiling, "p": found.p}
            row["keeps"] = {infill: ahead(m, beside(other, unlearned)) for infill, other in others.items()}
            rows.append(row)
    return rows


def method_of(what: str) -> str:
    """The method whose map on random weights is to be beaten: a map's own, or integrated gradients."""
    own = {"Grad-CAM": "grad_cam", "occlusion": "occlusion", "saliency": "saliency"}
    return next((method for name, method in own.items() if name in what), "integrated_gradients")


def beside(probes: ProbeSet, unlearned: Tensor) -> ProbeSet:
    """The probes with the card's third guess: the same method on random weights, in either sign."""
    return replace(probes, guesses=(*probes.guesses, (UNLEARNED, torch.stack([unlearned, -unlearned]))))


def held_out(planted: Planted, i: int, net: Network) -> dict[str, ProbeSet]:
    """Probes that the card never saw: other masks, and the same masks under two other infills."""
    other = probed(planted, i, HELD_OUT, net, seed=1)
    found = {"other masks": other}
    if other.of_class:
        for infill, name in ((blur, "other masks, blur"), (by_mean, "other masks, mean color")):
            odds, _ = Asked(planted.model, planted.scenes.x[i], int(planted.scenes.labels[i]), infill)(other.masks)
            found[name] = replace(other, drops=-odds)
    return found


def ahead(m: Tensor, probes: ProbeSet) -> float:
    """How far r of the map is ahead of r of the better guess, on these probes."""
    known = [guess.double().view(-1, *m.shape) for _, guess in probes.guesses]
    r = correlations(torch.cat([m.double()[None], *known]), probes)
    return float(r[0] - r[1:].nan_to_num(-1.0).amax())


def matrix(rows: Sequence[Row]) -> dict[tuple[str, str], Counter[str]]:
    """How often each word was said of each kind of map, by kind and name, in order of appearance."""
    out: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        out.setdefault((row["kind"], row["map"]), Counter())[row["word"]] += 1
    return out


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not of:
        return math.nan, math.nan
    share, spread = hits / of, z * z / of
    middle = (share + spread / 2) / (1 + spread)
    away = z * math.sqrt(share * (1 - share) / of + spread / of / 4) / (1 + spread)
    return max(middle - away, 0.0), min(middle + away, 1.0)


def kept(rows: Sequence[Row], infill: str) -> dict[str, tuple[int, int]]:
    """Of the maps that each word was said of: how many are ahead of the better guess on held-out probes, of how many.

    The guesses themselves are left out: they are never ahead of themselves.
    """
    out: dict[str, tuple[int, int]] = {}
    for row in rows:
        value = row["keeps"].get(infill, math.nan)
        if math.isfinite(value) and row["map"] not in ("edges map", "center map"):
            hits, of = out.get(row["word"], (0, 0))
            out[row["word"]] = (hits + (value > 0), of + 1)
    return out


def kendall(a: list[float], b: list[float]) -> float:
    """Kendall's tau-b: pairs in the same order less pairs in the other, with ties counted out on both sides."""
    x, y = (torch.tensor(v, dtype=torch.double) for v in (a, b))
    dx, dy = ((v[:, None] - v).sign().triu(1) for v in (x, y))
    return float((dx * dy).sum() / (dx.abs().sum() * dy.abs().sum()).sqrt())


BINS = (-math.inf, -0.2, -0.1, 0.0, 0.05, 0.1, 0.2, 0.3, math.inf)


def curve(rows: Sequence[Row], infill: str) -> list[tuple[float, float, int, int]]:
    """By the lower end of the card's margin over the guesses, `(from, to)`: how many stay ahead, of how many.

    Maps whose test was fair and that random maps do not reach (p <= .02).
    """
    fair = [r for r in rows if r["word"] != "Can't tell" and r["p"] <= 0.02 and infill in r["keeps"]]
    out = []
    for low, high in pairwise(BINS):
        some = [r["keeps"][infill] > 0 for r in fair if low < r["margin"] <= high and math.isfinite(r["keeps"][infill])]
        out.append((low, high, sum(some), len(some)))
    return out


def summary(name: str, pictures: int) -> dict[str, Any]:
    """What is kept of one planted network: the matrix, what lasts, and how graded maps are ordered."""
    rows, planted = judged(name, pictures), RIGS[name](pictures)
    infills = sorted({infill for row in rows for infill in row["keeps"]})
    return {
        "rig": planted.name, "about": planted.about, "pictures": len(planted.scenes),
        "matrix": [[kind, what, dict(words)] for (kind, what), words in matrix(rows).items()],
        "kept": {infill: kept(rows, infill) for infill in infills},
        "curve": {infill: curve(rows, infill) for infill in infills},
        "reasons": dict(Counter(row["reason"] for row in rows if row["reason"])),
        "tau": taus(planted, pictures),
    }  # fmt: skip


def taus(planted: Planted, pictures: int, counts: tuple[int, ...] = (64, 128)) -> dict[int, float]:
    """Mean tau-b within a picture of the card's r with the share of truth; .926 is the most (the shares have ties)."""
    network, found = Network(planted.model), dict[int, list[float]]()
    for i in range(min(pictures, len(planted.scenes))):
        probes = probed(planted, i, max(counts), network)
        truth = planted.sign * planted.scenes.truth[i].double()
        known = list(graded(truth, generator("graded", planted.name, i)))
        for n in counts:
            r = correlations(torch.stack([m for _, m in known]), part(probes, slice(n)))
            found.setdefault(n, []).append(kendall([s for s, _ in known], r.tolist()))
    return {n: fmean(v) for n, v in found.items()}


def correlations(maps: Tensor, probes: ProbeSet) -> Tensor:
    """The card's r of each map."""
    flat = maps.flatten(1).double()
    return pearson((flat - flat.mean(1, keepdim=True)) @ probes.masks.flatten(1).double().T, probes.drops)


def part(probes: ProbeSet, which: slice) -> ProbeSet:
    """Some of the probes."""
    return replace(probes, masks=probes.masks[which], drops=probes.drops[which])


def third_guess(pictures: int, names: Sequence[str] = tuple(RIGS)) -> dict[str, Any]:
    """What the third guess changes: how often `Supported` is said without one and with either of two.

    unlearned   what the same method shows on another network with random weights, in either sign: the card's
    contrast    where the color is unlike the picture's mean
    """
    out: dict[str, Any] = {}
    for name in names:
        planted = RIGS[name](pictures)
        maps, many = Maps(planted), len(planted.scenes)
        row: dict[str, dict[str, int]] = {}
        for i in range(many):
            x, label = planted.scenes.x[i].double(), int(planted.scenes.labels[i])
            contrast, probes = (x - x.mean((1, 2), keepdim=True)).norm(dim=0), probed(planted, i, 128, maps.net)
            some = {
                "without": probes, "unlearned": beside(probes, maps.guess(i, "integrated_gradients")),
                "contrast": replace(probes, guesses=(*probes.guesses, ("contrast", contrast))),
            }  # fmt: skip
            known = {"true mask": maps.truth(i), "its IG": maps.attributed(i, label)}
            known["IG of random weights"] = maps.attributed(i, label, maps.drawn(i))
            for kind, m in known.items():
                by = row.setdefault(kind, dict.fromkeys(some, 0))
                for guess, p in some.items():
                    by[guess] += score_map(m, p).word == "Supported"
        out[planted.name] = {"pictures": many, "supported": row}
    return out
