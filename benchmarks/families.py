"""Methods that perturb a map, masks, coalitions and biases, against captum and pytorch-grad-cam on the same work."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from attribution import bare_forward, bare_gradient, own
from harness import OURS, Call, Case, Contestant, Floor, main
from torch import Tensor

SAMPLES, CELLS = 200, 7  # coalitions of 7 x 7 blocks
LAST = {"efficientnet_lite0": (1280, "head"), "resnet18": (512, "layer4")}  # channels of the last map, and its module
REFERENCE = 5  # captum's own number of noisy samples for GradientSHAP


def ours(network: str, method: str, site: str, options: dict[str, Any]) -> Call:
    import pellucid as pl

    s = own(network)
    net, explain = pl.open(s.model), getattr(pl.methods, method)
    chosen = options | ({"site": site} if site else {})
    return lambda: explain(net, s.x, pl.logit(s.target), **chosen).values


def pytorch_grad_cam(network: str, name: str, site: str) -> Call:
    """Its class of that name, as it comes; FullGrad finds its layers itself."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    s = own(network)
    layers = [s.model.get_submodule(site)] if site else []
    cam = getattr(pytorch_grad_cam, name)(s.model, layers)
    return lambda: torch.from_numpy(cam(s.x, targets=[ClassifierOutputTarget(s.target)]))[:, None]


def blocks(x: Tensor) -> Tensor:
    """The number of the block that each pixel lies in, `[1, 1, height, width]`."""
    side = x.shape[-1] // CELLS
    at = torch.arange(x.shape[-1]) // side
    return (at[:, None] * CELLS + at)[None, None]


def captum_coalitions(network: str, name: str, **options: Any) -> Call:
    from captum import attr

    s = own(network)
    method, mask = getattr(attr, name)(s.model), blocks(s.x)

    def call() -> Tensor:
        with torch.no_grad():
            return method.attribute(s.x, target=s.target, feature_mask=mask, **options)[:, :1]

    return call


def captum_gradient_shap(network: str) -> Call:
    from captum import attr

    s = own(network)
    method = attr.GradientShap(s.model)
    return lambda: method.attribute(s.x, torch.zeros_like(s.x), n_samples=REFERENCE, target=s.target)


def rows(network: str, sites: tuple[str, ...] = (), channels: tuple[int, ...] = ()) -> Iterator[Case]:
    """The methods on one network; `sites` are rectified maps of 7 x 7 and 14 x 14 places, of so many channels."""

    def case(name: str, method: str, floor: Floor, *peers: Contestant, site: str = "", **options: Any) -> Case:
        us = Contestant(OURS, partial(ours, network, method, site, options))
        return Case(f"{name}, {network}", (us, *peers), (floor,))

    def forwards(passes: int) -> Floor:
        return Floor(passes, partial(bare_forward, network), "forward passes")

    scaled = "map on a scale of 0 to 1"

    def cam(name: str, site: str) -> Contestant:
        return Contestant("pytorch-grad-cam", partial(pytorch_grad_cam, network, name, site), scaled, True)

    # Where activations have a sign, pytorch-grad-cam puts their minimum less 1e7 in the place of a channel.
    for where, site, count in zip(("7 x 7", "14 x 14"), sites, channels, strict=False):
        floor = forwards(count + 1)
        yield case(f"ablation_cam at {where}", "ablation_cam", floor, cam("AblationCAM", site), site=site)
    count, last = LAST[network]
    whole = "map on a scale of 0 to 1; both need whole passes, ours none for channels that are the same everywhere"
    score = Contestant("pytorch-grad-cam", partial(pytorch_grad_cam, network, "ScoreCAM", last), whole, True)
    yield case("score_cam", "score_cam", forwards(count), score, site=last)
    one = Floor(1, partial(bare_gradient, network), "gradient pass")
    yield case("full_grad", "full_grad", one, cam("FullGrad", ""))
    other = "other coalitions: the maps differ by their errors"
    for method, name in (("lime", "Lime"), ("kernel_shap", "KernelShap")):
        single = Contestant("captum", partial(captum_coalitions, network, name, n_samples=SAMPLES), other)
        several = {"n_samples": SAMPLES, "perturbations_per_eval": 8}
        eights = Contestant("captum, eights", partial(captum_coalitions, network, name, **several), other)
        yield case(method, method, forwards(SAMPLES), single, eights, samples=SAMPLES, cells=CELLS, fill="constant")
    noise = Contestant("captum", partial(captum_gradient_shap, network), "other noise: the maps must differ")
    few = Floor(REFERENCE, partial(bare_gradient, network), "gradient passes")
    yield case("gradient_shap", "gradient_shap", few, noise, samples=REFERENCE)
    # no installed package has RISE; equal_error.py compares with the estimator of its paper
    yield case("rise", "rise", forwards(SAMPLES), masks=SAMPLES)


if __name__ == "__main__":
    main(
        "Maps, masks and coalitions",
        "As above. The floor counts whole passes, which methods that run only what lies behind a map need not make.",
        [
            *rows("efficientnet_lite0"),
            *rows("resnet18", ("layer4", "layer3"), (512, 256)),
        ],
        ("captum", "grad-cam"),
    )
