"""A network with some or all of its weights drawn anew, layer by layer in the order in which a pass reads them.

Every parameter is drawn, whoever owns it: the projections inside of an attention, class and position tokens, and what
lies in plain lists, too.  (A test that asks modules for `reset_parameters` leaves all of these trained.)
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.answer import Operations, follow
from pellucid.core.errors import BadModel
from pellucid.core.held import parameters_of
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.run import current
from pellucid.core.site import Site
from pellucid.core.structure import leaves
from pellucid.core.tensors import Tensors, batch_size, digest, rows

COPIES = 16  # Samples that new batch statistics are measured on.

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


@dataclass(frozen=True, slots=True)
class Layer:
    """A module's own parameters, by name, and the batch normalizations that see what they do."""

    name: str
    parameters: tuple[str, ...]
    norms: frozenset[str]


def layers_of(net: Network, x: Tensors) -> tuple[Layer, ...]:
    """The layers that can be drawn anew, in the order in which a pass reads them, from the input to the output.

    A module's parameters are one layer.  Those that no pass is seen to read (scripted code hides it) come last, in the
    order of definition.

    >>> net = Network(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 1)))
    >>> [layer.name for layer in layers_of(net, {"input": torch.ones(1, 3)})]
    ['0', '1', '2']
    """
    with net.lease() as model:
        first = _first_reads(net, model, rows(x, 0, 1))
        named = {name: first.get(id(p), len(first)) for name, p in parameters_of(model).items() if _can_be_drawn(p)}
        norms = {path: first.get(id(m.running_mean), len(first)) for path, m in _norms(model).items()}
    groups: dict[str, list[str]] = {}
    for name in named:
        groups.setdefault(name.rpartition(".")[0] if not name.startswith("(") else name, []).append(name)
    begins = {group: min(named[name] for name in names) for group, names in groups.items()}
    return tuple(
        Layer(group, tuple(groups[group]), frozenset(path for path, at in norms.items() if at >= begins[group]))
        for group in sorted(groups, key=lambda g: begins[g])
    )


def _first_reads(net: Network, model: nn.Module, x: Tensors) -> dict[int, int]:
    """When each tensor is first an operation's argument, by its id."""
    first: dict[int, int] = {}
    held = [*parameters_of(model).values(), *model.buffers()]
    wanted = {id(t) for t in held}

    def see(_: Site, args: tuple[Any, ...], out: Any) -> Any:
        for v in leaves(args):
            if id(v) in wanted:
                first.setdefault(id(v), len(first))
        return out

    current().meter.forwards += batch_size(x)
    with torch.no_grad(), ExitStack() as stack:
        stack.enter_context(Operations(follow(module_paths(model), stack), see))
        net.call(model, x)
    return first


def _can_be_drawn(p: Tensor) -> bool:
    return p.is_floating_point() and p.numel() > 1


def unlearned(net: Network, x: Tensors, seed: int = 0, only: Sequence[Layer] | None = None) -> Network:
    """The network with every weight drawn anew, or those of some layers, as a network of its own.

    The given one is left as it is.  Matrices and kernels become Gaussian with their own mean and spread, so that
    signals keep their size; vectors (biases, scales) are shuffled.  Each parameter has a random stream of its own, so
    a layer is drawn to the same values whichever others are drawn with it.  Batch normalizations that see what changed
    measure their statistics again on varied copies of `x`, since with the old ones most signals would die.  Raises
    `BadModel` when nothing can be drawn anew.
    """
    with net.lease() as leased:
        try:
            model = copy.deepcopy(leased) if net.borrowed_because else leased
        except (RuntimeError, TypeError, ValueError) as trouble:
            raise BadModel(f"{net.name} cannot be copied: {net.borrowed_because}.") from trouble
        names = None if only is None else {name for layer in only for name in layer.parameters}
        if not _redraw(model, seed, names) and only is None:
            raise BadModel(f"{net.name} has no weights that could be drawn anew.")
        seeing = None if only is None else frozenset[str]().union(*(layer.norms for layer in only))
        _measure_again(net, model, x, seed, [m for p, m in _norms(model).items() if seeing is None or p in seeing])
    return Network(
        model, inputs=net.inputs, labels=net.labels, preparation=net.preparation, output=net.output,
        name=f"{net.name} with random weights",
    )  # fmt: skip


def _redraw(model: nn.Module, seed: int, names: Collection[str] | None) -> bool:
    """Give parameters new values, in new storage; says whether any changed."""
    changed = False
    for name, p in parameters_of(model).items():
        if _can_be_drawn(p) and (names is None or name in names):
            new = _like(p.detach(), current().generator("randomization", seed, name))
            changed = changed or not torch.equal(new, p)
            p.data = new
    return changed


def _like(p: Tensor, generator: torch.Generator) -> Tensor:
    if p.ndim > 1:
        noise = torch.randn(p.shape, generator=generator).to(device=p.device, dtype=p.dtype)
        return p.mean() + p.std() * noise
    return p[torch.randperm(len(p), generator=generator).to(p.device)]


def _norms(model: nn.Module) -> dict[str, Any]:
    """The batch normalizations that keep statistics."""
    modules = module_paths(model).items()
    return {path: m for path, m in modules if isinstance(m, _BATCH_NORMS) and m.track_running_stats}


def _measure_again(net: Network, model: nn.Module, x: Tensors, seed: int, norms: Sequence[Any]) -> None:
    """Replace running statistics of batch normalization by those of varied copies of the input, in one pass."""
    if not norms:
        return
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # The plain average over passes.
        m.train()
    current().meter.forwards += COPIES
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
