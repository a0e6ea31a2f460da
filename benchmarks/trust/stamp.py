"""The watermark shortcut of ImageNet (Li et al. 2023, package imagenet-w): a stamp makes networks see a carton.

Many pictures of cartons in ImageNet carry a watermark in Chinese letters.  Where stamping a photograph raises the
log-odds of "carton" clearly, the stamped pixels are the reason of that rise, whatever else is in the picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

import pellucid as pl
from benchmarks.trust.maps import places
from benchmarks.trust.rig import generator, log_odds, photographs
from benchmarks.trust.verdicts import correlations, kendall, part
from pellucid.checks.faithfulness import score_map
from pellucid.core.errors import Missing
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.probes.blur import blurred
from pellucid.probes.masks import landscapes
from pellucid.trials.probed import ProbeSet, probe_set

CARTON, RISE = 478, 2.0  # the class; log-odds from which we say that the stamp was seen (the odds are 7.4 times)
BLUR = 12.0  # pixels, where the photograph under the stamp is out of focus
USUAL, HEIGHTS = 0.4, (0.1, 0.4, 0.7)  # where the package stamps, as a share of the height; where the maps are tested
NAMES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
METHODS: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 16}, "grad_cam": {}, "occlusion": {"window": 56, "stride": 28}, "saliency": {},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stamped:
    """Photographs as a network takes them, without and with the stamp, and which pixels it changed."""

    plain: Tensor
    x: Tensor
    ink: Tensor


def stamped(net: Network, count: int, heights: tuple[float, ...], out_of_focus: float = 0.0) -> Stamped:
    """The first photographs, the stamp at each of the heights in turns; sides are the network's.

    With `out_of_focus` the photographs, not the stamp, are blurred by so many pixels: little else speaks then.
    """
    from imagenet_w import AddWatermark

    plain, x = list[Tensor](), list[Tensor]()
    for i, path in enumerate(photographs()[:count]):
        one = net.read(str(path))
        one = (blurred(one, (2, 3), out_of_focus) if out_of_focus else one)[0]
        raw = ((one * 128 + 127) / 255).clamp(0, 1)  # EfficientNet-Lite takes (0..255 - 127) / 128
        put = AddWatermark(one.shape[-1], y_pos=heights[i % len(heights)])(raw)
        plain.append(one)
        x.append((put * 255 - 127) / 128)
    before, after = torch.stack(plain), torch.stack(x)
    return Stamped(before, after, (after - before).abs().amax(1) > 1.5 / 128)


def answers(net: Network, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-odds and rank (1 is first) of "carton", and the class that is first."""
    with torch.no_grad():
        out = torch.cat([net.model(some) for some in x.split(20)])
    rank = (out > out[:, CARTON : CARTON + 1]).sum(1) + 1
    return log_odds(out, torch.full((len(out),), CARTON)), rank, out.argmax(1)


def seen(name: str, count: int) -> dict[str, Any] | None:
    """How much of the shortcut a network has; None where its weights are not installed."""
    try:
        net = pl.open(name)
    except Missing:
        return None
    found = stamped(net, count, (USUAL,))
    before, after = answers(net, found.plain), answers(net, found.x)
    rise = (after[0] - before[0]).tolist()
    return {
        "pictures": len(rise), "rise": fmean(rise), "least": min(rise), "most": max(rise),
        "over": sum(r >= RISE for r in rise), "first": int((after[1] == 1).sum()),
        "rank": [median(v[1].tolist()) for v in (before, after)], "other": int((before[2] != after[2]).sum()),
        "ink": float(found.ink.float().mean()),
    }  # fmt: skip


def line(ink: Tensor) -> Tensor:
    """The box around the stamp, for `[height, width]` of its ink."""
    rows, columns = ink.any(1).nonzero()[:, 0], ink.any(0).nonzero()[:, 0]
    out = torch.zeros_like(ink)
    out[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1] = True
    return out


def moved(m: Tensor, g: torch.Generator) -> Tensor:
    """The map rolled down by 30 to 70 % of the height: the stamp is as wide as the picture and must not meet itself."""
    high = m.shape[0]
    return m.roll(int((0.3 + 0.4 * float(torch.rand((), generator=g))) * high), 0)


@cache
def random_network(name: str, seed: int) -> Network:
    """The network with weights that never learned."""
    from pellucid.trials.unlearned import unlearned

    net = pl.open(name)
    return unlearned(net, {net.inputs[0]: stamped(net, 8, (USUAL,)).plain}, seed)


def attributed(net: Network, x: Tensor, method: str, target: int = CARTON) -> Tensor:
    """A real method's map, a number a pixel."""
    return places(getattr(pl.methods, method)(net, x, pl.logit(target), **METHODS[method]).values)


def wrong(net: Network, found: Stamped, i: int, j: int, name: str) -> Iterator[tuple[str, str, Tensor]]:
    """Maps that are wrong for sure of picture i; j is another picture, stamped at another height."""
    g, ink, x = generator("stamp", i), found.ink[i].double(), found.x[i : i + 1]
    soft = blurred(ink[None, None], (2, 3), 6.0)[0, 0]
    field = landscapes(1, tuple(ink.shape), g)[0]
    yield "wrong", "smooth random field", field
    yield "wrong", "very smooth random field", blurred(field[None, None], (2, 3), ink.shape[0] / 8)[0, 0]
    yield "wrong", "shifted stamp", moved(ink, g)
    yield "wrong", "shifted stamp, out of focus", moved(soft, g)
    yield "wrong", "opposite of the stamp", -soft
    yield "wrong", "another picture's stamp", blurred(found.ink[j].double()[None, None], (2, 3), 6.0)[0, 0]
    for method, said in (("integrated_gradients", "IG"), ("grad_cam", "Grad-CAM")):
        yield "wrong", f"another picture's {said}", attributed(net, found.x[j : j + 1], method)
        yield "wrong", f"{said} of random weights", attributed(random_network(name, 1 + i % 4), x, method)


def maps(net: Network, found: Stamped, i: int, j: int, name: str) -> Iterator[tuple[str, str, Tensor]]:
    """Kind, name and map of picture i."""
    ink = found.ink[i].double()
    yield "true", "stamped pixels", ink
    yield "true", "stamped pixels, out of focus", blurred(ink[None, None], (2, 3), 6.0)[0, 0]
    yield "true", "box around the stamp", line(found.ink[i]).double()
    for method in METHODS:
        yield "a method's", method.replace("_", " "), attributed(net, found.x[i : i + 1], method)
    yield from wrong(net, found, i, j, name)


def inside(m: Tensor, where: Tensor) -> float:
    """The share of a map's positive values that lies there."""
    positive = m.clamp(min=0)
    return float(positive[where].sum() / positive.sum().clamp(min=1e-30))


def cards(name: str, count: int, out_of_focus: float = 0.0, probes: int = 128) -> dict[str, Any]:
    """The card of "carton" on stamped photographs in which the network sees the stamp."""
    net = pl.open(name)
    found = stamped(net, 5 * count, HEIGHTS, out_of_focus)
    rise = answers(net, found.x)[0] - answers(net, found.plain)[0]
    picked = (rise >= RISE).nonzero()[:count, 0].tolist()
    words, r, shares = dict[tuple[str, str], Counter[str]](), dict[str, list[float]](), dict[str, list[float]]()
    taus, reasons, boxes = dict[int, list[float]](), Counter[str](), list[float]()
    for i in picked:
        j = next(k for k in (*picked, *range(len(found.x))) if k % 3 != i % 3 and k != i)
        (probe,) = probe_set(Score(net, pl.logit(CARTON)), {net.inputs[0]: found.x[i : i + 1]}, probes)
        box = line(found.ink[i])
        boxes.append(float(box.float().mean()))
        for kind, what, m in (*maps(net, found, i, j, name), *(("wrong", f"{k} map", m) for k, m in probe.guesses)):
            told = score_map(m, probe)
            words.setdefault((kind, what), Counter())[told.word] += 1
            r.setdefault(what, []).append(told.r)
            reasons[told.reason] += bool(told.reason)
            shares.setdefault(what, []).append(inside(m, box))
        for n, tau in ordered(found.ink[i], probe, i).items():
            taus.setdefault(n, []).append(tau)
    first = int((answers(net, found.x[picked])[1] == 1).sum())
    return {
        "pictures": len(picked), "of": len(found.x), "first": first, "rise": fmean(rise[picked].tolist()),
        "box": fmean(boxes),
        "matrix": [[*key, dict(w)] for key, w in words.items()], "tau": {n: fmean(v) for n, v in taus.items()},
        "r": {k: fmean(v) for k, v in r.items()}, "inside": {k: fmean(v) for k, v in shares.items()},
        "reasons": dict(+reasons),
    }  # fmt: skip


def ordered(ink: Tensor, probe: ProbeSet, i: int) -> dict[int, float]:
    """Tau-b of r with the share of truth, of fifteen maps between the stamp moved away and the stamp."""
    soft, g = blurred(ink.double()[None, None], (2, 3), 6.0)[0, 0], generator("stamp graded", i)
    shares, mixed = [], []
    for share in (0, 0.25, 0.5, 0.75, 1):
        for _ in range(3):
            noise = 0.25 * float(soft.std()) * torch.randn(soft.shape, generator=g)
            mixed.append(share * soft + (1 - share) * moved(soft, g) + noise)
            shares.append(share)
    stacked = torch.stack(mixed)
    return {n: kendall(shares, correlations(stacked, part(probe, slice(n))).tolist()) for n in (64, 128)}


def all_of(scale: float) -> dict[str, Any]:
    """Which networks see the stamp, and the card on the first of them."""
    known = {name: row for name in NAMES if (row := seen(name, round(40 * scale))) is not None}
    sharp, soft = cards(NAMES[0], round(12 * scale)), cards(NAMES[0], round(12 * scale), BLUR)
    return {"seen": known, "cards": {"photographs": sharp, "photographs out of focus": soft}}
