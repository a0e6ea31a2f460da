"""Measures of explanations against Quantus, on the same network, picture and map, with the same number of passes.

A row is one call of `row`: a name, our measure with its options, the passes, and whoever else does that work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from attribution import bare_forward
from attribution import own as drawn
from harness import OURS, Call, Case, Contestant, Floor, main
from networks import Subject
from torch import Tensor, nn

NETWORK = "efficientnet_lite0"
PASSES = 24  # of a curve: Quantus wants the values of a step to divide a color's 50 176
TINY = 1e-9  # the harness takes 0 for a failure, and an accuracy may be just that
PLAIN = {"abs": False, "normalise": False, "return_aggregate": False, "disable_warnings": True}


class Gray(nn.Module):
    """The network for gray pictures: Quantus's ROAD and IROF fail on pictures in color."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, 1, height, width]` to `[batch, classes]`."""
        return self.net(x.expand(-1, 3, -1, -1))


def own(channels: int) -> Subject:
    """The network with a picture that has parts, and the class that it chooses there: measures ask for both."""
    s = drawn(NETWORK)
    model = s.model if channels == 3 else Gray(s.model).eval()
    g = torch.Generator().manual_seed(0)
    coarse, fine = torch.randn(1, channels, 10, 10, generator=g), torch.randn(1, channels, 224, 224, generator=g)
    x = nn.functional.interpolate(coarse, size=(224, 224), mode="bicubic") + 0.1 * fine
    with torch.no_grad():
        target = int(model(x).argmax())
    return replace(s, model=model, x=x, target=target)


@cache
def contributions(channels: int) -> Tensor:
    """The map that everyone measures: gradient x input, summed over colors, `[1, 1, height, width]`."""
    s = own(channels)
    x = s.x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(s.model(x)[:, s.target].sum(), x)
    return (slope * x).detach().sum(1, keepdim=True)


def ours(measure: str, channels: int, options: dict[str, Any]) -> Call:
    """One of our measures, of that map; its number as a tensor."""
    import pellucid as pl

    s = own(channels)
    why = pl.methods.saliency(pl.open(s.model), s.x, pl.logit(s.target))
    (name,) = why.maps
    why, check = replace(why, maps={name: contributions(channels)}), getattr(pl.checks, measure)
    return lambda: torch.tensor([check(why, **options).value + TINY])


def quantus(metric: str, channels: int, options: dict[str, Any]) -> Call:
    """One of Quantus's metrics as it comes, of that map; the mean of what it gives."""
    import quantus as q

    vars(np).setdefault("trapz", np.trapezoid)  # gone since NumPy 2.4, and still asked for

    s = own(channels)
    given = {"x_batch": s.x.numpy(), "y_batch": np.array([s.target]), "a_batch": contributions(channels).numpy()}
    measure = getattr(q, metric)(**PLAIN, **options)
    return lambda: torch.tensor([mean(measure(s.model, **given, softmax=True, device="cpu")) + TINY])


def mean(found: Any) -> float:
    """Of a list of lists, or of a list for each share."""
    return float(np.mean(list(found.values()) if isinstance(found, dict) else found))


def imputation(share: float, theirs: bool) -> Call:
    """The imputation alone, without a network."""
    s = own(3)
    gone = np.argsort(-contributions(3).numpy().ravel())[: int(share * s.x[0, 0].numel())]
    if theirs:
        from quantus.functions.perturb_func import noisy_linear_imputation

        return lambda: torch.from_numpy(noisy_linear_imputation(s.x[0].numpy(), gone, noise=0.0))[None].float()
    from pellucid.probes.imputation import noisy_linear

    hole = torch.zeros(1, s.x[0, 0].numel(), dtype=torch.bool)
    hole[0, gone] = True
    mask = hole.view(1, *s.x.shape[2:])
    return lambda: noisy_linear(s.x, mask, noise=0.0)


def rows() -> Iterator[Case]:
    def row(name: str, channels: int, passes: int, us: dict[str, Any], them: dict[str, Any], note: str = "") -> Case:
        """`us` and `them`: a measure's or a metric's name and its options."""
        our, their = us.pop("measure"), them.pop("metric")
        everyone = (
            Contestant(OURS, partial(ours, our, channels, us)),
            Contestant("quantus", partial(quantus, their, channels, them), note),
        )
        return Case(name, everyone, (Floor(passes, partial(bare_forward, NETWORK), "forward passes"),))

    plain = {"measure": "deletion", "steps": PASSES - 1, "fill": "constant", "randoms": 0, "unit": "probability"}
    flipping = {"metric": "PixelFlipping", "features_in_step": 150_528 // PASSES, "perturb_baseline": 0.0}
    yield row("deletion", 3, PASSES, plain, flipping, "removes values, color by color, and we places")
    tenths = {"metric": "ROAD", "percentages": [10 * i for i in range(1, 10)]}
    road = {"measure": "road", "randoms": 0}
    yield row("road, gray", 1, 19, road, tenths, "9 passes, from the strong end; ours are 19, from both")
    irof = {"measure": "irof", "by": "slic", "randoms": 0}
    other = "other superpixels, about as many; the area is not divided by their number"
    yield row("irof, gray", 1, 100, irof, {"metric": "IROF"}, other)
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
        "note says otherwise; the difference is that of the numbers, which road and the imputation define alike.",
        list(rows()),
        ("quantus",),
    )
