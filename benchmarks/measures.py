"""Measures of explanations against Quantus, on the same network, picture and map, with the same number of passes.

A row is one call of `row`: a name, our measure with its options, the passes, and whoever else does that work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from attribution import bare_forward
from attribution import own as drawn
from harness import OURS, Call, Case, Contestant, Floor, main
from networks import Subject
from torch import Tensor

NETWORK = "efficientnet_lite0"
PASSES = (24, 168)  # of a curve: Quantus wants the values of a step to divide a color's 50 176
TINY = 1e-9  # the harness takes 0 for a failure, and an accuracy may be just that
PLAIN = {"abs": False, "normalise": False, "return_aggregate": False, "disable_warnings": True}


def own() -> Subject:
    """The network with a picture that has parts, and the class that it chooses there: measures ask for both."""
    s = drawn(NETWORK)
    g = torch.Generator().manual_seed(0)
    coarse, fine = torch.randn(1, 3, 10, 10, generator=g), torch.randn(s.x.shape, generator=g)
    x = torch.nn.functional.interpolate(coarse, size=s.x.shape[2:], mode="bicubic") + 0.1 * fine
    with torch.no_grad():
        target = int(s.model(x).argmax())
    return replace(s, x=x, target=target)


@cache
def contributions() -> Tensor:
    """The map that everyone measures: gradient x input, summed over colors, `[1, 1, height, width]`."""
    s = own()
    x = s.x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(s.model(x)[:, s.target].sum(), x)
    return (slope * x).detach().sum(1, keepdim=True)


def ours(measure: str, options: dict[str, Any]) -> Call:
    """One of our measures, of that map; its number as a tensor."""
    import pellucid as pl

    s = own()
    why = pl.methods.saliency(pl.open(s.model), s.x, pl.logit(s.target))
    (name,) = why.maps
    why, check = replace(why, maps={name: contributions()}), getattr(pl.checks, measure)
    return lambda: torch.tensor([check(why, **options).value + TINY])


def quantus(metric: str, number: Callable[[Any], float], options: dict[str, Any]) -> Call:
    """One of Quantus's metrics as it comes, of that map; `number` makes one number of what it gives."""
    import quantus as q

    s = own()
    given = {"x_batch": s.x.numpy(), "y_batch": np.array([s.target]), "a_batch": contributions().numpy()}
    measure = getattr(q, metric)(**PLAIN, **options)
    return lambda: torch.tensor([number(measure(s.model, **given, softmax=True, device="cpu")) + TINY])


def quantus_imputation(shares: tuple[float, ...]) -> Call:
    """Quantus's imputation called as it should be, a picture a pass: its own metric fails on colors."""
    from quantus.functions.perturb_func import noisy_linear_imputation

    s = own()
    order = np.argsort(-contributions().numpy().ravel())

    def call() -> Tensor:
        kept = []
        for share in shares:
            gone = order[: int(share * order.size)]
            with torch.no_grad():
                z = s.model(torch.from_numpy(noisy_linear_imputation(s.x[0].numpy(), gone)).float()[None])
            kept.append(float(z.argmax(1) == s.target))
        return torch.tensor([sum(kept) / len(kept) + TINY])

    return call


def imputation(share: float, theirs: bool) -> Call:
    """The imputation alone, without a network."""
    s = own()
    gone = np.argsort(-contributions().numpy().ravel())[: int(share * s.x[0, 0].numel())]
    if theirs:
        from quantus.functions.perturb_func import noisy_linear_imputation

        return lambda: torch.from_numpy(noisy_linear_imputation(s.x[0].numpy(), gone, noise=0.0))[None].float()
    from pellucid.probes.imputation import noisy_linear

    hole = torch.zeros(1, s.x[0, 0].numel(), dtype=torch.bool)
    hole[0, gone] = True
    mask = hole.view(1, *s.x.shape[2:])
    return lambda: noisy_linear(s.x, mask, noise=0.0)


def rows() -> Iterator[Case]:
    def row(name: str, measure: str, passes: int, *others: Contestant, **options: Any) -> Case:
        us = Contestant(OURS, partial(ours, measure, options))
        return Case(name, (us, *others), (Floor(passes, partial(bare_forward, NETWORK), "forward passes"),))

    def peer(metric: str, number: Callable[[Any], float], note: str = "", **options: Any) -> Contestant:
        return Contestant("quantus", partial(quantus, metric, number, options), note)

    def mean(found: Any) -> float:
        return float(np.mean(found))

    values = "removes values, color by color, and we places"
    for steps in PASSES:
        flipping = peer("PixelFlipping", mean, values, features_in_step=150_528 // steps, perturb_baseline=0.0)
        plain = {"fill": "constant", "randoms": 0, "unit": "probability"}
        yield row(f"deletion, {steps} passes", "deletion", steps, flipping, steps=steps - 1, **plain)

    tenths = tuple(i / 10 for i in range(1, 10))
    road = peer("ROAD", mean, percentages=[10 * i for i in range(1, 10)])
    by_hand = Contestant("quantus's imputation", partial(quantus_imputation, tenths), "9 passes, most relevant first")
    yield row("road, 9 steps from both ends", "road", 19, road, by_hand, randoms=0)
    irof = peer("IROF", mean, "other superpixels, about as many; the area is not divided by their number")
    yield row("irof", "irof", 100, irof, by="slic", randoms=0)
    for share in (0.1, 0.5, 0.9):
        us, them = (partial(imputation, share, theirs) for theirs in (False, True))
        one = (Floor(1, partial(bare_forward, NETWORK), "forward pass, for scale"),)
        yield Case(
            f"noisy linear imputation, {share:.0%} removed", (Contestant(OURS, us), Contestant("quantus", them)), one
        )


if __name__ == "__main__":
    main(
        "Measures",
        "One 224 x 224 picture and one map, EfficientNet-Lite0. The same number of passes for everyone, but where a "
        "note says otherwise; the difference is that of the measures' numbers, which only the imputation defines alike.",
        list(rows()),
        ("quantus",),
    )
