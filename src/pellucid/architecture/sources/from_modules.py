"""From a tree of modules to a graph without edges: what a network holds, where its forward pass cannot be run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from torch import Tensor, nn

from pellucid.architecture.graph import ROOT, Graph
from pellucid.architecture.sources.draft import Draft, Row, Run
from pellucid.core.names import learned, module_paths

_Known: TypeAlias = Mapping[int, tuple[str, int]]  # of each parameter its name and how many numbers it holds


def from_modules(model: nn.Module, name: str, source: str = "") -> Graph:
    """The modules of a network as groups, with one node for each that holds no others.

    Nothing is run: shapes and FLOPs are unknown, and there are no edges.  Parameters that a module with others inside
    holds itself are nodes of their own.

    >>> graph = from_modules(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), "small")
    >>> graph.nodes.op, graph.nodes.label, graph.groups.parameters
    (('Linear', 'ReLU'), ('3x2', ''), (9, 9, 0))
    """
    draft = Draft(name, source)
    groups: dict[str, int] = {}
    paths = module_paths(model)
    inner = {path.rpartition(".")[0] for path in paths if path}
    known = {id(p): (n, count) for n, (p, count) in learned(model).items()}  # one name, whoever holds it
    for path, module in paths.items():
        above = path.rpartition(".")[0]
        while above and above not in groups:
            above = above.rpartition(".")[0]
        group = draft.group(Run(groups.get(above, ROOT) if path else -1, path, type(module).__name__))
        groups[path] = group
        if path not in inner:
            draft.add(_leaf(module, group, path, known))
            continue
        for n, p in _own(module, known, recurse=False).items():
            draft.add(Row("parameter", group, tuple(p.shape), str(p.dtype)[6:], dict([known[id(p)]]), label=n))
    return draft.finished()


def _own(module: nn.Module, known: _Known, *, recurse: bool = True) -> dict[str, Tensor]:
    """The parameters that a module holds, by its own names for them."""
    held = (*module.named_parameters(recurse=recurse), *module.named_buffers(recurse=recurse))
    return {name: v for name, v in held if id(v) in known}


def _leaf(module: nn.Module, group: int, path: str, known: _Known) -> Row:
    own = _own(module, known)
    largest = max((tuple(p.shape) for p in own.values()), key=lambda s: (len(s), s), default=())
    weights = dict(known[id(p)] for p in own.values())
    return Row(
        type(module).__name__, group, weights=weights, label="x".join(map(str, largest)), site=path, dtype=_dtype(own)
    )


def _dtype(parameters: Mapping[str, Tensor]) -> str:
    return next((str(p.dtype)[6:] for p in parameters.values()), "")
