"""From a tree of modules to a graph without edges: what a network holds, where its forward pass cannot be run."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from pellucid.architecture.graph import ROOT, Graph
from pellucid.architecture.sources.draft import Draft, Row, Run
from pellucid.core.names import module_paths


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
    known = {id(p): n for n, p in model.named_parameters()}  # one name for a parameter that several modules hold
    for path, module in paths.items():
        above = path.rpartition(".")[0]
        while above and above not in groups:
            above = above.rpartition(".")[0]
        group = draft.group(Run(groups.get(above, ROOT) if path else -1, path, type(module).__name__))
        groups[path] = group
        if path not in inner:
            draft.add(_leaf(module, group, path, known))
            continue
        for n, p in module.named_parameters(recurse=False):
            weights = {known.get(id(p), n): p.numel()}
            draft.add(Row("parameter", group, tuple(p.shape), str(p.dtype)[6:], weights, label=n))
    return draft.finished()


def _leaf(module: nn.Module, group: int, path: str, known: Mapping[int, str]) -> Row:
    own = dict(module.named_parameters())
    largest = max((tuple(p.shape) for p in own.values()), key=lambda s: (len(s), s), default=())
    weights = {known.get(id(p), f"{path}.{n}"): p.numel() for n, p in own.items()}
    return Row(
        type(module).__name__, group, weights=weights, label="x".join(map(str, largest)), site=path, dtype=_dtype(own)
    )


def _dtype(parameters: Mapping[str, nn.Parameter]) -> str:
    return next((str(p.dtype)[6:] for p in parameters.values()), "")
