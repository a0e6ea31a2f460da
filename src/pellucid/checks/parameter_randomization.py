"""How does the map change as the network forgets, layer by layer?  Each step draws more weights anew, and explains.

Adebayo et al. 2018 (cascading from the output down, or one layer at a time); smoothed over noisy inputs, or in one step
by the rise of the map's entropy, after Hedstroem et al. 2024.  A map that stays shows the input.  That it changes is
no praise: Binder et al. 2023 and Yona and Greenfeld 2021 show that good maps rightly keep what does not rest on the
weights drawn, such as the activations of the layers below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from pellucid.checks.randomization import SAME
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadModel
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.network import Network
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.probes.noise import fraction_of_range, gaussian
from pellucid.trials.again import flat, on_copies, refuse_words
from pellucid.trials.agreement import entropy, spearman
from pellucid.trials.layout import score_of
from pellucid.trials.sample import mean_of, summary
from pellucid.trials.unlearned import Layer, layers_of, unlearned

NOISE = 0.1  # Standard deviation of the smooth form's noise, as a share of the range.


@measure(
    title="Layers drawn anew",
    family="sanity",
    paper="Adebayo et al. 2018, arXiv:1810.03292; Hedstroem et al. 2024, arXiv:2401.06465",
    better="lower",
    cost="`steps` explanations and two passes; times `noisy`, and once more, when smooth; one explanation for entropy",
)
def parameter_randomization(
    explanation: Explanation,
    *,
    form: Annotated[
        Literal["similarity", "smooth", "entropy"],
        "rank correlation of the maps (MPRT); of maps averaged over noisy inputs (sMPRT); or the relative rise of the "
        "map's entropy in one step to a network that knows nothing (eMPRT)",
    ] = "similarity",
    order: Annotated[Literal["top_down", "bottom_up"], "from the output to the input, or the other way"] = "top_down",
    cascading: Annotated[bool, "keep what was drawn before; without it, each step draws its own layers alone"] = True,
    steps: Annotated[int, Range(1, 1000), "steps that the layers are divided into, at most one a layer"] = 8,
    noisy: Annotated[int, Range(2, 1000), "noisy inputs that the smooth form averages over"] = 10,
) -> Check:
    """Rank correlation, -1..1, of the map's absolute values with those of step after step of drawing layers anew.

    The value is the mean over the steps (for "entropy", (H' - H) / H of the values' histogram); the curve "similarity"
    has each step, from the first layers drawn; "share drawn" the share of the parameters drawn by then.  Reference
    "all layers": the last of a cascade; "another input": how alike the maps of different samples are (with several).
    FAILS where all layers drawn anew leave .95, or the entropy exactly as it was.  Batch normalization is measured
    again on the given samples together.  Raises `BadModel` without weights, `BadInput` for the smooth form on words,
    `Missing` when the explanation came without its network.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Linear(40, 9), torch.nn.ReLU(), torch.nn.Linear(9, 2))
    >>> found = parameter_randomization(pl.methods.saliency(net, torch.rand(1, 40), 0))
    >>> len(dict(found.curves)["similarity"]), found.value < 0.95
    (2, True)
    """
    if form == "smooth":
        refuse_words(explanation)
    net, seed = score_of(explanation).net, current().seed
    layers = list(layers_of(net, explanation.x))
    if not layers:
        raise BadModel(f"{net.name} has no weights that could be drawn anew.")
    groups = _groups(layers[::-1] if order == "top_down" else layers, 1 if form == "entropy" else steps)
    start = _averaged(explanation, net, noisy) if form == "smooth" else flat(explanation)
    maps = []
    for i in range(len(groups)):
        drawn = [layer for group in (groups[: i + 1] if cascading else groups[i : i + 1]) for layer in group]
        forgot = unlearned(net, explanation.x, seed, drawn)
        maps.append(_averaged(explanation, forgot, noisy) if form == "smooth" else _again(explanation, forgot))
    if form == "entropy":
        return _rise(start, maps[-1])
    alike = torch.tensor([[spearman(a.abs(), b.abs()) for a, b in zip(start, m, strict=True)] for m in maps])
    return _judged(alike, start, groups, cascading)


def _groups(layers: Sequence[Layer], steps: int) -> list[Sequence[Layer]]:
    """The layers in order, divided into at most `steps` steps of nearly equal length."""
    count = min(steps, len(layers))
    ends = [round(len(layers) * (i + 1) / count) for i in range(count)]
    return [layers[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def _again(explanation: Explanation, net: Network) -> Tensor:
    return flat(explanation.rerun(net=net, seed=explanation.seed))


def _averaged(explanation: Explanation, net: Network, noisy: int) -> Tensor:
    """The mean map of noisy copies of the input."""
    x = explanation.x
    copies = list(gaussian(x, fraction_of_range(x, NOISE), noisy))
    return torch.stack(on_copies(explanation, copies, net)).mean(0)


def _judged(alike: Tensor, start: Tensor, groups: Sequence[Sequence[Layer]], cascading: bool) -> Check:
    references = []
    if cascading:
        references.append(("all layers", mean_of(alike[-1].tolist())))
    if len(start) > 1:
        pairs = [spearman(a.abs(), b.abs()) for a, b in zip(start, start.roll(1, 0), strict=True)]
        references.append(("another input", mean_of(pairs)))
    total, done, shares = sum(map(len, groups)), 0, []
    for group in groups:
        done = done + len(group) if cascading else len(group)
        shares.append(done / total)
    kept = cascading and references[0][1] >= SAME
    last = f" With all drawn, {references[0][1]:.2f}." if cascading else ""
    flag = " Red flag: this picture shows the input, not what the network learned." if kept else ""
    curve = alike.nanmean(1).tolist()

    def say(v: float) -> str:
        return (
            f"Layers were drawn anew in {len(groups)} steps: the map's ranking keeps {v:.2f} on average, "
            f"{curve[0]:.2f} after the first.{last}{flag or ' That it changes does not make it right.'}"
        )

    return summary(
        "parameter_randomization", alike.nanmean(0).tolist(), say, _NOTHING,
        verdict=Verdict.FAILS if kept else Verdict.MEASURED, references=tuple(references),
        curves=(("share drawn", tuple(shares)), ("similarity", tuple(curve))),
    )  # fmt: skip


_NOTHING = "One of the two maps is the same everywhere, so there is nothing to compare."


def _rise(start: Tensor, end: Tensor) -> Check:
    """The efficient form: how much more disorderly the map of a network is that knows nothing."""
    each = []
    for a, b in zip(start, end, strict=True):
        before = entropy(a.abs())
        each.append((entropy(b.abs()) - before) / before if before > 0 else math.nan)
    same = all(v == 0 for v in each)

    def say(v: float) -> str:
        told = "Red flag: the map did not change at all." if same else "That alone does not make it right."
        return f"Of a network with random weights the map's entropy changes by {v:+.0%}. {told}"

    found = summary("parameter_randomization", each, say, "The map is the same everywhere, so it has no entropy.")
    return replace(found, verdict=Verdict.FAILS) if same else found
