r"""The filters of the first convolution, as pictures in the unit of the network's input pictures.

A filter $w$ that reads the prepared picture $(x - \mu)/\sigma$ reads the picture itself with $w_c/\sigma_c$; what is
left, $-\sum_c \mu_c w_c/\sigma_c$, is a constant.

Good for: seeing at once what the network is sensitive to at its entrance, and whether training used all of it.
Not for:  later layers, whose filters read channels and not a picture: see `patches`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadModel
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.shown import Shown
from pellucid.core.site import Site

DEAD, ALIKE = 1e-3, 0.98  # of the largest norm; cosine from which on two filters count as duplicates
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True, slots=True, eq=False)
class Filters(Shown):
    """Filters `[filters, channels, ...]` of a site in the unit of the picture (`colors`), or as the network has them.

    `norms` are their lengths, `dead` those of less than a thousandth of the largest, `duplicates` pairs of others whose
    cosine is at least 0.98 in size, with it: below zero one is the other's negative.
    """

    site: str
    weights: Float[Tensor, "filters channels *kernel"] = field(repr=False)
    colors: bool
    norms: Float[Tensor, " filters"] = field(repr=False)
    dead: tuple[int, ...]
    duplicates: tuple[tuple[int, int, float], ...]
    network: str
    fingerprint: str


def filters(net: Network | nn.Module, at: Site | str | None = None) -> Filters:
    """The filters of a convolution, by default the first that the network defines.

    Raises `BadModel` when there is none, `BadInput` when the site is none.

    >>> found = filters(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5), torch.nn.ReLU()))
    >>> found.site, found.weights.shape, found.dead
    ('0', torch.Size([8, 3, 5, 5]), ())
    """
    network = net if isinstance(net, Network) else Network(net)
    with network.lease() as model, torch.no_grad():
        path, convolution = _convolution(network, model, at)
        weights = convolution.weight.detach().cpu().float().clone()
    preparation = network.preparation
    colors = preparation is not None and weights.shape[1] == preparation.channels and convolution.groups == 1
    if preparation is not None and colors:
        weights = weights.flip(1) if preparation.bgr else weights
        weights = weights / torch.tensor(preparation.std).view(1, -1, *[1] * (weights.ndim - 2))
    norms = weights.flatten(1).norm(dim=1)
    dead = tuple((norms <= DEAD * norms.max()).nonzero()[:, 0].tolist())
    return Filters(
        path, weights, colors, norms, dead, tuple(_duplicates(weights, norms, dead)), network.name, network.fingerprint
    )


def _convolution(net: Network, model: nn.Module, at: Site | str | None) -> tuple[str, Convolution]:
    modules = module_paths(model)
    if at is None:
        found = next(((p, m) for p, m in modules.items() if isinstance(m, Convolution)), None)
        if found is None:
            raise BadModel(f"{net.name} has no convolution.", "Its first layer has no filters that are pictures.")
        return found
    path = at.path if isinstance(at, Site) else Site.parse(at).path
    module = modules.get(path)
    if not isinstance(module, Convolution):
        kind = "no module" if module is None else f"a {type(module).__name__}"
        convolutions = [p for p, m in modules.items() if isinstance(m, Convolution)]
        raise BadInput(f"{path!r} is {kind}, expected a convolution.", f"There are: {', '.join(convolutions[:6])} ...")
    return path, module


def _duplicates(weights: Tensor, norms: Tensor, dead: tuple[int, ...]) -> Iterator[tuple[int, int, float]]:
    unit = weights.flatten(1) / norms.clamp(min=torch.finfo(norms.dtype).tiny)[:, None]
    cosines = (unit @ unit.T).clamp(-1, 1)
    for i, j in (cosines.abs() >= ALIKE).triu(1).nonzero().tolist():
        if i not in dead and j not in dead:
            yield i, j, float(cosines[i, j])
