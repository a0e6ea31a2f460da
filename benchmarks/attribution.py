"""The usual attribution methods against captum and pytorch-grad-cam: time, memory and agreement on three networks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from harness import OURS, Call, Case, Contestant, Floor, main
from networks import SUBJECTS, Subject
from torch import Tensor, nn

STEPS, SAMPLES, NOISE, WINDOW, STRIDE = 50, 20, 0.15, 32, 16
WINDOWS = 13 * 13  # 224 pixels, 32 wide, every 16: (224 - 32) / 16 + 1 a side.
LARGER = (512, 1024)  # sides of pictures, for methods whose gain grows with them


@cache
def subject(network: str) -> Subject:
    """The network by its name in `SUBJECTS`, or with a larger picture: "resnet18 at 512 px"."""
    name, _, side = network.partition(" at ")
    known = SUBJECTS[name]()
    if not side:
        return known
    size = (int(side.removesuffix(" px")),) * 2
    return replace(known, x=nn.functional.interpolate(known.x, size=size, mode="bicubic", align_corners=False))


def own(network: str) -> Subject:
    """The subject with module shells of one's own (a peer may hook them), around the same weights."""
    known = subject(network)
    shared = {id(v): v for v in (*known.model.parameters(), *known.model.buffers())}
    return Subject(copy.deepcopy(known.model, shared), known.x.clone(), known.target, known.site)


def ours(network: str, method: str, options: dict[str, Any]) -> Call:
    import pellucid as pl

    s = own(network)
    net, explain = pl.open(s.model), getattr(pl.methods, method)
    options = options | ({"site": s.site} if method == "grad_cam" else {})
    return lambda: explain(net, s.x, pl.logit(s.target), **options).values


def captum_gradient(network: str, name: str, options: dict[str, Any]) -> Call:
    from captum import attr

    s = own(network)
    method = getattr(attr, name)(s.model)
    return lambda: method.attribute(s.x.clone().requires_grad_(), target=s.target, **options)


def captum_smooth_grad(network: str, batch: int | None) -> Call:
    from captum import attr

    s = own(network)
    method, sigma = attr.NoiseTunnel(attr.Saliency(s.model)), NOISE * float(s.x.max() - s.x.min())
    options = {"nt_samples": SAMPLES, "stdevs": sigma, "nt_samples_batch_size": batch, "abs": False}
    return lambda: method.attribute(s.x.clone().requires_grad_(), target=s.target, **options)


def captum_grad_cam(network: str) -> Call:
    from captum import attr

    s = own(network)
    method = attr.LayerGradCam(s.model, s.model.get_submodule(s.site))

    def call() -> Tensor:
        small = method.attribute(s.x, target=s.target, relu_attributions=True)
        return attr.LayerAttribution.interpolate(small, s.x.shape[2:], interpolate_mode="bilinear")

    return call


def captum_occlusion(network: str, batch: int, window: int = WINDOW, stride: int = STRIDE) -> Call:
    from captum import attr

    s = own(network)
    method, options = attr.Occlusion(s.model), {"sliding_window_shapes": (3, window, window)}
    options |= {"strides": (3, stride, stride), "perturbations_per_eval": batch}

    def call() -> Tensor:
        with torch.no_grad():
            return method.attribute(s.x, target=s.target, **options)

    return call


def pytorch_grad_cam(network: str) -> Call:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    s = own(network)
    cam = GradCAM(s.model, [s.model.get_submodule(s.site)])
    return lambda: torch.from_numpy(cam(s.x, targets=[ClassifierOutputTarget(s.target)]))[:, None]


def bare(network: str) -> tuple[nn.Module, Subject]:
    """Frozen and channels last: as fast as torch runs it."""
    s = subject(network)
    return copy.deepcopy(s.model).requires_grad_(False).to(memory_format=torch.channels_last), s


def many(s: Subject, batch: int) -> Tensor:
    return s.x.expand(batch, -1, -1, -1).clone(memory_format=torch.channels_last)


def bare_forward(network: str) -> Callable[[int], object]:
    model, s = bare(network)

    def run(batch: int) -> Tensor:
        with torch.inference_mode():
            return model(many(s, batch))

    return run


def bare_gradient(network: str) -> Callable[[int], object]:
    model, s = bare(network)

    def run(batch: int) -> Tensor:
        x = many(s, batch).requires_grad_()
        return torch.autograd.grad(model(x)[:, s.target].sum(), x)[0]

    return run


def bare_cam(network: str) -> Callable[[int], object]:
    """Forward without a graph up to the site, then forward and back on what follows."""
    model, s = bare(network)
    seen: list[Tensor] = []

    def begin(_: nn.Module, __: object, output: Tensor) -> Tensor:
        seen[:] = [output.detach().requires_grad_()]
        return seen[0].clone()

    model.get_submodule(s.site).register_forward_hook(begin)

    def run(batch: int) -> Tensor:
        return torch.autograd.grad(model(many(s, batch))[:, s.target].sum(), seen)[0]

    return run


def rows(network: str) -> Iterator[Case]:
    """The five methods on one network, with the peers that have them."""

    def case(method: str, floor: tuple[Floor, ...], *peers: Contestant, **options: Any) -> Case:
        us = Contestant(OURS, partial(ours, network, method, options))
        return Case(f"{method}, {network}", (us, *peers), floor)

    def gradients(passes: int) -> Floor:
        return Floor(passes, partial(bare_gradient, network), "gradient passes")

    def forwards(passes: int) -> Floor:
        return Floor(passes, partial(bare_forward, network), "forward passes")

    by, tens = partial(partial, captum_gradient, network), "10 samples a pass"
    yield case("saliency", (gradients(1),), Contestant("captum", by("Saliency", {})))
    path = {"n_steps": STEPS}
    yield case(
        "integrated_gradients",
        (gradients(STEPS), forwards(2)),  # the two give the change of the score, which the values must add up to
        Contestant("captum", by("IntegratedGradients", path), "as it comes: all 50 samples in one pass"),
        Contestant("captum, tens", by("IntegratedGradients", path | {"internal_batch_size": 10}), tens),
        steps=STEPS,
    )
    other = "another draw of the noise: the maps must differ"
    yield case(
        "smooth_grad",
        (gradients(SAMPLES),),
        Contestant("captum", partial(captum_smooth_grad, network, None), f"all 20 samples in one pass; {other}"),
        Contestant("captum, tens", partial(captum_smooth_grad, network, 10), f"{tens}; {other}"),
        samples=SAMPLES,
        noise=NOISE,
    )
    yield case(
        "grad_cam",
        (Floor(1, partial(bare_cam, network), "forward pass, back to the site"),),
        Contestant("captum", partial(captum_grad_cam, network)),
        Contestant("pytorch-grad-cam", partial(pytorch_grad_cam, network), "map on a scale of 0 to 1", True),
    )
    yield case(
        "occlusion",
        (forwards(WINDOWS + 1),),
        Contestant("captum", partial(captum_occlusion, network, 1), "as it comes: 1 window a pass"),
        Contestant("captum, eights", partial(captum_occlusion, network, 8), "8 windows a pass"),
        window=WINDOW,
        stride=STRIDE,
    )


def larger(network: str, side: int) -> Case:
    """Occlusion of a larger picture by 16 x 16 windows side by side (captum wants no gaps between them)."""
    named, width = f"{network} at {side} px", side // 16
    us = Contestant(OURS, partial(ours, named, "occlusion", {"window": width, "stride": width}))
    captum = Contestant("captum", partial(captum_occlusion, named, 1, width, width), "as it comes: 1 window a pass")
    floor = Floor(16 * 16 + 1, partial(bare_forward, named), "forward passes")
    return Case(f"occlusion, {named}", (us, captum), (floor,))


if __name__ == "__main__":
    main(
        "Attribution",
        "One 224 x 224 picture, one class, five methods. Equal weights for everyone; peers get the model in eval mode "
        "with its parameters as they are (nobody freezes them for a user), and the floor has them frozen. Occlusion "
        "also on larger pictures; its floor are whole passes, which it goes below where windows change little.",
        [case for network in SUBJECTS for case in rows(network)]
        + [larger(network, side) for network in ("efficientnet_lite0", "resnet18") for side in LARGER],
        ("captum", "grad-cam"),
    )
