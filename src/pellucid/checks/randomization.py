"""Does the picture depend on what the network learned?  A red flag when it does not, and no praise when it does.

The method explains a copy of the network whose weights are drawn anew.  An edge detector gives the same picture as
before; so does a method that only shows the input.  That a picture changes proves nothing: good methods keep part
of it (measured: integrated gradients .54, occlusion .45, deconvolution .13, and deconvolution is the worst of them).
After Adebayo et al. 2018, with the critique of Binder et al. 2023; the entropy form after Hedstroem et al. 2024.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadModel
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.network import Network
from pellucid.core.run import current
from pellucid.core.tensors import Tensors, batch_size, digest, rows
from pellucid.trials.agreement import entropy, spearman
from pellucid.trials.layout import score_of

SAME = 0.95
COPIES = 16  # Samples that new batch statistics are measured on.

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@measure(
    title="Weights drawn anew",
    family="sanity",
    paper="Adebayo et al. 2018, arXiv:1810.03292",
    better="neither",
    cost="one explanation",
    place=4,
)
def randomization(explanation: Explanation) -> Check:
    """Rank correlation, in -1..1, of the map's absolute values with those from a network that never learned.

    FAILS (the red flag) from .95, or when the histogram's entropy stays exactly the same; HOLDS otherwise, which
    only says that the map depends on the weights.  Costs one more explanation.  Raises `BadModel` when the network
    has no weights, `Missing` when the explanation came without it.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(99, 1)
    >>> randomization(pl.methods.saliency(net, torch.ones(1, 99), 0)).value < 0.95
    True
    """
    found = [_same(a, b) for a, b in zip(_flat(explanation), _flat(_on_random_weights(explanation)), strict=True)]
    alike, calmer = max(found, key=lambda f: -2.0 if math.isnan(f[0]) else f[0])
    changes = (("change of entropy", calmer),) if math.isfinite(calmer) else ()
    if math.isnan(alike):
        why = "One of the two maps is the same everywhere, so there is nothing to compare."
        return Check("randomization", alike, Verdict.UNKNOWN, why)
    if alike >= SAME or calmer == 0:
        why = (
            f"Red flag: a network with random weights gives nearly the same map (rank correlation {alike:.2f}). "
            "This picture shows the input, not what the network learned."
        )
        return Check("randomization", alike, Verdict.FAILS, why, references=changes)
    why = (
        f"With random weights the map is another one (rank correlation {alike:.2f}; the alarm is at {SAME}): it "
        "depends on what the network learned. That alone does not make it right."
    )
    return Check("randomization", alike, Verdict.HOLDS, why, references=changes)


def _on_random_weights(explanation: Explanation) -> Explanation:
    net, seed = score_of(explanation).net, current().seed
    return explanation.rerun(net=unlearned(net, explanation.x, seed), seed=explanation.seed)


def _flat(explanation: Explanation) -> list[Tensor]:
    """Each sample's absolute values, over all inputs."""
    maps = [m.detach().abs().flatten(1).double().cpu() for m in explanation.maps.values()]
    return list(torch.cat(maps, 1))


def _same(learned: Tensor, random: Tensor) -> tuple[float, float]:
    """Rank correlation, and the relative change of the histogram's entropy."""
    before = entropy(learned)
    return spearman(learned, random), (entropy(random) - before) / before if before > 0 else math.nan


def unlearned(net: Network, x: Tensors, seed: int = 0) -> Network:
    """The network with every weight drawn anew, as a network of its own; the given one is left as it is.

    Matrices and kernels become Gaussian with their own mean and spread, so that signals keep their size; vectors
    (biases, scales) are shuffled.  Batch normalization measures its statistics again on varied copies of `x`,
    since with the old ones most signals would die.  Raises `BadModel` when nothing can be drawn anew.
    """
    with net.lease() as leased:
        try:
            model = copy.deepcopy(leased) if net.borrowed_because else leased
        except (RuntimeError, TypeError, ValueError) as trouble:
            raise BadModel(f"{net.name} cannot be copied: {net.borrowed_because}.") from trouble
        if not _redraw(model, seed):
            raise BadModel(f"{net.name} has no weights that could be drawn anew.")
        _measure_again(net, model, x, seed)
    return Network(
        model, inputs=net.inputs, labels=net.labels, preparation=net.preparation, output=net.output,
        name=f"{net.name} with random weights",
    )  # fmt: skip


def _redraw(model: nn.Module, seed: int) -> bool:
    """Give every parameter new values, in new storage; says whether any changed."""
    changed = False
    generator = current().generator("randomization", seed)
    for p in model.parameters():
        if p.is_floating_point() and p.numel() > 1:
            new = _like(p.detach(), generator)
            changed = changed or not torch.equal(new, p)
            p.data = new
    return changed


def _like(p: Tensor, generator: torch.Generator) -> Tensor:
    if p.ndim > 1:
        noise = torch.randn(p.shape, generator=generator).to(device=p.device, dtype=p.dtype)
        return p.mean() + p.std() * noise
    return p[torch.randperm(len(p), generator=generator).to(p.device)]


def _measure_again(net: Network, model: nn.Module, x: Tensors, seed: int) -> None:
    """Replace the running statistics of batch normalization by those of varied copies of the input, in one pass."""
    norms = [m for m in model.modules() if isinstance(m, _BATCH_NORMS) and m.track_running_stats]
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # The plain average over passes.
        m.train()
    with torch.no_grad():
        net.call(model, {name: _varied(v, seed) for name, v in rows(x, 0, min(batch_size(x), COPIES)).items()})
    for m, momentum in zip(norms, momenta, strict=True):
        m.eval()
        m.momentum = momentum


def _varied(v: Tensor, seed: int) -> Tensor:
    """Sixteen copies, rolled along the last axes and made noisy, so that every channel's spread can be measured."""
    generator = current().generator("randomization", digest(v), seed)
    copies = v.repeat(COPIES // len(v) + 1, *[1] * (v.ndim - 1))[:COPIES].clone()
    for i, c in enumerate(copies):
        for axis in range(max(c.ndim - 2, 0), c.ndim):
            copies[i] = copies[i].roll(int(torch.randint(c.shape[axis], (), generator=generator)), axis)
    if not v.is_floating_point():
        return copies
    noise = torch.randn(copies.shape, generator=generator).to(device=v.device, dtype=v.dtype)
    return copies + noise * v.std() / 2
