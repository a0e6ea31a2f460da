"""How far off is the map as a prediction of what a change of the input does?  0 is perfect.

Yeh et al. 2019: E[(I . map - (f(x) - f(x - I)))^2] over random changes I.  That number has the square of the score's
unit and grows with the map's scale, which says nothing about a map that is only read as a ranking.  So the value is the
share of the changes' variance that the map leaves unexplained, 1 - max(r, 0)^2; with an offset not free and any factor
(captum's `normalize`), and as the values stand, it is given beside it, always in shares of what a map of zeros has.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.errors import BadOption
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.probes.fills import StandIn
from pellucid.trials.sample import LOG_ODDS, Sample, Scale, at_least, mean_of, samples, summary
from pellucid.trials.subsets import Fill, Fit, Value, boxes, drops, filling, fit, sums

_NOTHING = "No change of the input changed the answer, or the map is the same everywhere: nothing can be compared."


@measure(
    title="Infidelity",
    family="faithfulness",
    paper="Yeh et al. 2019, arXiv:1901.09392",
    better="lower",
    cost="`count` + 1 forward passes a sample",
    slopes=True,
)
def infidelity(
    explanation: Explanation,
    *,
    change: Annotated[Literal["removal", "noise"], "a random box is filled, or noise is added"] = "removal",
    reads: Annotated[
        Literal["shares", "slopes"] | None,
        "what a value is taken for: a part's share of the score, or the score's slope there; none: as the method says",
    ] = None,
    count: Annotated[int, Range(8, 100_000), "changes drawn"] = 200,
    noise: Annotated[float, Range(1e-6, 10.0), "standard deviation of the noise, as a share of the range"] = 0.1,
    fill: Fill = "constant",
    value: Value = 0.0,
    scale: Scale = LOG_ODDS,
) -> Check:
    """The share of the score's changes, 0..1, that the map does not explain, over random changes of the input.

    With `reads="slopes"`, the default for methods whose values are slopes with a sign, a change I is predicted as
    I . map; with "shares" as the map's sum over the box.  References: "best factor" (the best factor on the values, no
    offset), "as it stands", "flat map" (what a map that is the same everywhere leaves, since larger boxes hurt more),
    and "read as slopes" where the values were read as shares.  Curves: "predicted" and "drop", a number for each
    change, sample after sample.  Raises `BadOption` for noise read as shares, `BadInput` for inputs without places,
    `Missing` without the network.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), torch.rand(1, 9), 0)
    >>> round(infidelity(why).value, 4)
    0.0
    """
    reads = reads or ("slopes" if explanation.by_size else "shares")
    if change == "noise" and reads == "shares":
        raise BadOption("change='noise' has no parts whose shares could be summed.", "Give reads='slopes' too.")
    pairs, slopes, flat = [], [], []
    with samples(explanation, scale) as found:
        for sample in found:
            at_least(sample.layout, 2)
            told = (_noisy if change == "noise" else _removed)(sample, count, noise, fill, value)
            shares, steep, areas, fallen = told
            pairs.append((steep if reads == "slopes" else shares, fallen))
            slopes.append(fit(steep, fallen).shape)
            flat.append(fit(areas, fallen).shape)
    fits = [fit(*pair) for pair in pairs]
    other = [("flat map", mean_of(flat)), *([("read as slopes", mean_of(slopes))] if reads == "shares" else [])]
    references = (("best factor", mean_of([f.scaled for f in fits])), ("as it stands", mean_of([f.raw for f in fits])))
    lists = [(name, tuple(torch.cat([p[i] for p in pairs]).tolist())) for i, name in enumerate(("predicted", "drop"))]
    return summary(
        "infidelity", [f.shape for f in fits], lambda v: _said(v, fits, count, mean_of(flat)), _NOTHING,
        references=(*references, *other), curves=tuple(lists),
    )  # fmt: skip


def _removed(sample: Sample, count: int, _: float, fill: StandIn, value: float) -> tuple[Tensor, ...]:
    """Predictions by shares and by slopes, the areas, and the drops, of random boxes that are filled."""
    masks, filled = boxes(count, sample, "infidelity"), filling(sample, fill, value)
    away = sample.layout.places((sample.v - filled) * sample.values).cpu()[0]
    areas = masks.flatten(1).sum(1).double()
    return sums(sample.places, masks), sums(away, masks), areas, drops(sample, masks, filled)


def _noisy(sample: Sample, count: int, noise: float, *_: object) -> tuple[Tensor, ...]:
    """The same of noise that is taken away from the input; there are no shares, and no areas."""
    v = sample.v
    size = noise * (v.max() - v.min())
    draw = current().normal(v)
    start = float(sample.score(sample.x))
    fallen: Tensor = start - sample.scores((v - size * draw(i) for i in range(count)), count)
    steep = torch.stack([_dot(size * draw(i), sample.values) for i in range(count)])
    return steep, steep, torch.ones_like(steep), fallen


def _dot(one: Tensor, other: Tensor) -> Float[Tensor, ""]:
    return (one.double() * other.to(one).double()).sum().cpu()


def _said(v: float, fits: list[Fit], count: int, flat: float) -> str:
    noisy = math.isnan(flat)
    done = "noisy copies" if noisy else "copies with a box filled"
    other = "" if noisy else f" A map that is the same everywhere leaves {flat:.0%}."
    factor = f" {fits[0].scale:.3g} times the values fits best." if len(fits) == 1 else ""
    return (
        f"{count} {done} were shown to the network: the map leaves {v:.0%} of the changes of the answer unexplained "
        f"(0 % is perfect, 100 % is a map that says nothing).{other}{factor}"
    )
