"""How two networks differ: in structure, in their weights, and in what they make of the same inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.architecture.alignment import Alignment, align
from pellucid.architecture.architecture import Architecture
from pellucid.architecture.given import Given
from pellucid.architecture.graph import Graph
from pellucid.architecture.map import Mappable
from pellucid.architecture.map import map as map_
from pellucid.architecture.similarity import FEWEST, table
from pellucid.architecture.tree import output_nodes
from pellucid.core.answer import ask
from pellucid.core.names import named_weights
from pellucid.core.network import Network
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors, as_tensors
from pellucid.doors.open import open as open_network
from pellucid.doors.reading import reading

MOST_SITES, BATCH = 24, 32


@dataclass(frozen=True, slots=True)
class WeightChange:
    """A weight of both networks with the same shape: ‖b − a‖ / ‖a‖, the cosine between them, the largest difference.

    `relative` is None when a is zero and b is not, `cosine` when either is zero.
    """

    name: str
    other: str
    relative: float | None
    cosine: float | None
    largest: float


@dataclass(frozen=True, slots=True, eq=False)
class Difference(Shown):
    """What differs from network `a` to network `b`.

    `parts` aligns their modules; `weights` compares those that both have, the most changed first.  `similarity` is the
    linear CKA of the values at `sites_a` (rows) with those at `sites_b` (columns) on the given inputs; empty without.
    """

    a: Architecture
    b: Architecture
    parts: Alignment
    weights: tuple[WeightChange, ...]
    sites_a: tuple[str, ...] = ()
    sites_b: tuple[str, ...] = ()
    similarity: Float[Tensor, "left right"] = field(default_factory=lambda: torch.zeros(0, 0), repr=False)
    samples: int = 0
    notes: tuple[str, ...] = ()


def map_difference(a: Mappable, b: Mappable, x: Given | str | Path | None = None) -> Difference:
    """Compare two networks: modules and operations, weights, and with inputs `x` (at least 4 samples) activations.

    Modules are matched by place and inside, then by inside alone (renamed), then by place alone (changed).  Weights are
    compared where both have one of the same name, or of a renamed module, and of the same shape.  Raises what `pl.map`
    raises.

    >>> from torch import nn
    >>> one, two = nn.Sequential(nn.Linear(2, 3)), nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> found = map_difference(one, two, (1, 2))
    >>> found.parts.same, found.parts.added
    ((('0', '0'),), ('1',))
    """
    left, right = (n if isinstance(n, Network) else open_network(n) for n in (a, b))
    x = reading(left, x).x if isinstance(x, str | Path) else x
    of_a, of_b = (map_(net, _structure(x)) for net in (left, right))
    parts = align(of_a.graph, of_b.graph)
    weights = sorted(_weights(left, right, parts), key=lambda w: -(w.relative if w.relative is not None else 1e9))
    notes, found, size = [], None, 0
    if x is not None and _has_numbers(x):
        given = as_tensors(x, left.inputs)  # type: ignore[arg-type]  # tensors: that was asked just now
        size = len(next(iter(given.values())))
        if size >= FEWEST:
            found = _similar(left, right, of_a, of_b, given, as_tensors(x, right.inputs))  # type: ignore[arg-type]
        else:
            notes.append(f"Activations were not compared: {size} samples were given, at least {FEWEST} are needed.")
    if found is None:
        return Difference(of_a, of_b, parts, tuple(weights), notes=tuple(notes))
    return Difference(of_a, of_b, parts, tuple(weights), *found, size, tuple(notes))


def _structure(x: Given | None) -> Given | None:
    """The shapes alone: a map with activations is not asked for."""
    if isinstance(x, Tensor):
        return tuple(x[:1].shape) if x.is_floating_point() else x[:1]
    if isinstance(x, Mapping):
        return {k: v[:1] if isinstance(v, Tensor) else v for k, v in x.items()}
    return x


def _has_numbers(x: Given) -> bool:
    values: Sequence[object] = [x] if isinstance(x, Tensor) else list(x.values() if isinstance(x, Mapping) else x)
    return all(isinstance(v, Tensor) and not v.is_meta for v in values)


def _weights(a: Network, b: Network, parts: Alignment) -> Iterator[WeightChange]:
    """Weights that both have, by name, with the names of renamed modules translated."""
    new = {old: name for old, name in parts.renamed}
    left, right = named_weights(a.model), named_weights(b.model)
    for name, v in left.items():
        module, _, last = name.rpartition(".")
        other = f"{new[module]}.{last}".lstrip(".") if module in new else name
        w = right.get(other)
        if w is not None and w.shape == v.shape and v.is_floating_point() and v.numel():
            yield weight_change(name, other, v, w)


def weight_change(name: str, other: str, v: Tensor, w: Tensor) -> WeightChange:
    """How far a weight is from another of its shape.

    >>> weight_change("w", "w", torch.tensor([3.0, 4.0]), torch.tensor([3.0, 9.0])).relative
    1.0
    """
    old, new = (t.detach().double().cpu().flatten() for t in (v, w))
    size, other_size, apart = (float(t.norm()) for t in (old, new, new - old))
    relative = apart / size if size else (0.0 if not other_size else None)
    cosine = min(max(float(old @ new) / (size * other_size), -1.0), 1.0) if size and other_size else None
    return WeightChange(name, other, relative, cosine, float((new - old).abs().max()))


Similar = tuple[tuple[str, ...], tuple[str, ...], Tensor]


def _similar(a: Network, b: Network, of_a: Architecture, of_b: Architecture, x: Tensors, y: Tensors) -> Similar | None:
    """CKA between the outputs of modules, over batches of samples."""
    sites = [_sites(of_a), _sites(of_b)]
    if not all(sites):
        return None
    size = len(next(iter(x.values())))
    starts = [i for i in range(0, size, BATCH) if size - i >= FEWEST or i == 0]
    with a.lease() as one, b.lease() as two, torch.no_grad():

        def batches() -> Iterator[tuple[list[Tensor], list[Tensor]]]:
            for i in starts:
                found = []
                for net, model, given, at in ((a, one, x, sites[0]), (b, two, y, sites[1])):
                    part = {k: v[i : i + BATCH] for k, v in given.items()}
                    answer = ask(net, model, part, sites=at)
                    found.append([answer.at[site] for site in at])
                yield found[0], found[1]

        values = table(batches())
    return tuple(map(str, sites[0])), tuple(map(str, sites[1])), values


def _sites(found: Architecture) -> list[Site]:
    """The modules whose outputs are compared: outermost ones first, as many as fit a picture, in order of running."""
    graph = found.graph
    if not len(graph.edges):
        return []
    batch = next((s[:1] for s, f in zip(graph.nodes.shape, graph.nodes.family, strict=True) if f == "io" and s), None)
    depths, last = graph.depths, output_nodes(graph)
    kept: list[int] = []
    for depth in range(1, max(depths, default=0) + 1):
        level = [g for g in range(1, len(graph.groups)) if depths[g] == depth and _keeps_samples(graph, last[g], batch)]
        if kept and len(kept) + len(level) > MOST_SITES:
            break
        kept += level
    return [Site.parse(graph.site_of(g)) for g in sorted(kept)][: 2 * MOST_SITES]


def _keeps_samples(graph: Graph, node: int | None, batch: tuple[int | str, ...] | None) -> bool:
    if node is None or batch is None:
        return False
    return "float" in graph.nodes.dtype[node] and (graph.nodes.shape[node] or ())[:1] == batch
