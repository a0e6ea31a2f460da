"""How the score bends: products of its Hessian with directions, many to a pass, and never the Hessian itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from pellucid.core.errors import BadModel
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors

ALONG = " (along)"  # a direction travels beside the point that it starts from, under this suffix


def curvatures(f: Score, variations: Iterable[Tensors]) -> Iterator[tuple[Tensors, Tensors]]:
    """At each point the gradient, and the Hessian times a direction: how the gradient changes along it.

    A variation holds the point, and under each floating name with ` (along)` behind it the direction.  Of a network
    that is linear in pieces the second is zero.  Raises `BadModel` when an operation cannot be differentiated twice.
    """
    for found in f.passes(variations, _both, "second-order passes", backward=True):
        bend = {k.removesuffix(ALONG): v for k, v in found.items() if k.endswith(ALONG)}
        yield {k: v for k, v in found.items() if not k.endswith(ALONG)}, bend


def curvature_at(f: Score, x: Tensors, site: Site) -> Tensor:
    """The score's Hessian with respect to the value at a site, times that value, in its shape.

    Raises `BadModel` when an operation behind the site cannot be differentiated twice.
    """

    def one(g: Score, part: Tensors, which: Tensor) -> Tensors:
        with sdpa_kernel(SDPBackend.MATH):
            answer, score = g.scored(part, which, (site,), leaves=True)
            value = answer.at[site]
            return _twice(g, score, {"value": value}, {"value": value.detach()})[1]

    return next(f.passes([x], one, "second-order passes", backward=True))["value"]


def _both(f: Score, x: Tensors, which: Tensor) -> Tensors:
    along = {k.removesuffix(ALONG): v for k, v in x.items() if k.endswith(ALONG)}
    leaves = {k: x[k].detach().requires_grad_() for k in along}
    rest = {k: v for k, v in x.items() if not k.endswith(ALONG)}
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no second derivative
        _, score = f.scored({**rest, **leaves}, which)
        slope, bend = _twice(f, score, leaves, along)
    return slope | {k + ALONG: b for k, b in bend.items()}


def _twice(f: Score, score: Tensor, leaves: Tensors, along: Tensors) -> tuple[Tensors, Tensors]:
    """The gradient at the leaves, and the Hessian times a direction."""
    if not score.requires_grad:
        raise f.no_gradient()
    current().meter.backwards += 2 * len(score)
    try:
        slope: tuple[Tensor | None, ...] = torch.autograd.grad(
            score.sum(), list(leaves.values()), create_graph=True, allow_unused=True
        )
        if all(g is None for g in slope):  # quantized operations look differentiable and are not
            raise f.no_gradient()
        bend = _bend(slope, leaves, along)
    except (RuntimeError, NotImplementedError) as error:
        if "derivative" not in str(error) and "double backward" not in str(error):
            raise
        why = str(error).splitlines()[0].rstrip(".")
        raise BadModel(
            f"{f.net.name} holds an operation that torch cannot differentiate twice: {why}.",
            "Use a method that takes first derivatives, such as grad_cam, or none, such as shapley_values.",
        ) from error
    pairs = zip(leaves.items(), slope, strict=True)
    return {k: torch.zeros_like(v) if g is None else g.detach() for (k, v), g in pairs}, bend


def _bend(slope: tuple[Tensor | None, ...], leaves: Tensors, along: Tensors) -> Tensors:
    parts = [(g * v).sum() for g, v in zip(slope, along.values(), strict=True) if g is not None and g.requires_grad]
    found: tuple[Tensor | None, ...] = (None,) * len(leaves)
    if parts:
        found = torch.autograd.grad(torch.stack(parts).sum(), list(leaves.values()), allow_unused=True)
    return {k: torch.zeros_like(v) if b is None else b for (k, v), b in zip(leaves.items(), found, strict=True)}
