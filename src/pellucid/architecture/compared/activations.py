"""What two networks make of the same samples, place by place: how alike, and how far apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.compared.similarity import FEWEST, table
from pellucid.architecture.compared.together import fixed_batch
from pellucid.architecture.graph import Graph
from pellucid.architecture.tree import output_nodes
from pellucid.core.answer import ask
from pellucid.core.network import Network
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors

MOST_SITES, BATCH = 24, 32
Places = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """CKA of the values at `sites_a` (rows) with those at `sites_b` (columns).

    `apart` is ‖b − a‖ / ‖a‖ of the values at two sites that belong together and have one shape.
    """

    sites_a: tuple[str, ...]
    sites_b: tuple[str, ...]
    similarity: Tensor
    apart: Mapping[tuple[str, str], float]


def activations(
    a: Network, b: Network, x: Tensors, y: Tensors, places: Places, pairs: Sequence[tuple[str, str]]
) -> Activations | None:
    """Both networks run over batches of the same samples; None where nothing keeps samples apart."""
    sites = [list(map(Site.parse, side)) for side in places]
    if not all(sites):
        return None
    rows, columns = ({site: k for k, site in enumerate(side)} for side in places)
    both = [(rows[s], columns[t]) for s, t in pairs if s in rows and t in columns]
    sums = dict.fromkeys(both, (0.0, 0.0))
    size = len(next(iter(x.values())))
    step = max(fixed_batch(a.model), fixed_batch(b.model))
    most = max(BATCH // step, 1) * step if step else BATCH
    starts = [i for i in range(0, size, most) if size - i >= FEWEST or i == 0]
    with a.lease() as one, b.lease() as two, torch.no_grad():

        def batches() -> Iterator[tuple[list[Tensor], list[Tensor]]]:
            for i in starts:
                end = min(i + most, size)
                left = _values(a, one, x, sites[0], i, end, step)
                right = _values(b, two, y, sites[1], i, end, step)
                for j, k in both:
                    if left[j].shape == right[k].shape:
                        v, w = left[j].double(), right[k].double()
                        step_apart, length = float((w - v).square().sum()), float(v.square().sum())
                        sums[j, k] = sums[j, k][0] + step_apart, sums[j, k][1] + length
                yield left, right

        values = table(batches())
    apart = {(places[0][j], places[1][k]): (d / s) ** 0.5 for (j, k), (d, s) in sums.items() if s}
    return Activations(*places, values, apart)


def _values(
    net: Network, model: nn.Module, x: Tensors, sites: Sequence[Site], start: int, end: int, step: int
) -> list[Tensor]:  # fmt: skip
    """What stands at the sites for some samples, as many at a time as the network takes."""
    size = step or end - start
    found: list[list[Tensor]] = [[] for _ in sites]
    for i in range(start, end - size + 1, size):
        at = ask(net, model, {k: v[i : i + size] for k, v in x.items()}, sites=sites).at
        for held, site in zip(found, sites, strict=True):
            held.append(at[site])
    return [torch.cat(held) if len(held) > 1 else held[0] for held in found]


def spread(pairs: Sequence[tuple[str, str]]) -> Places:
    """Pairs of places, as many as fit a picture, from the first to the last."""
    count = min(len(pairs), MOST_SITES)
    kept = [pairs[round(k * (len(pairs) - 1) / max(count - 1, 1))] for k in range(count)]
    return tuple(dict.fromkeys(p for p, _ in kept)), tuple(dict.fromkeys(q for _, q in kept))


def sites(found: Architecture, net: Network) -> tuple[str, ...]:
    """The modules whose outputs are compared: outermost ones first, as many as fit a picture, in order of running."""
    holders = {path for path, module in net.model.named_modules() if type(module) is nn.Module}  # these never run
    graph = found.graph
    if not len(graph.edges):
        return ()
    batch = next((s[:1] for s, f in zip(graph.nodes.shape, graph.nodes.family, strict=True) if f == "io" and s), None)
    depths, last = graph.depths, output_nodes(graph)
    kept: list[int] = []
    for depth in range(1, max(depths, default=0) + 1):
        level = [g for g in range(1, len(graph.groups)) if depths[g] == depth and graph.groups.path[g] not in holders]
        level = [g for g in level if _keeps_samples(graph, last[g], batch)]
        if kept and len(kept) + len(level) > MOST_SITES:
            break
        kept += level
    return tuple(graph.site_of(g) for g in sorted(kept))[: 2 * MOST_SITES]


def _keeps_samples(graph: Graph, node: int | None, batch: tuple[int | str, ...] | None) -> bool:
    if node is None or batch is None:
        return False
    return "float" in graph.nodes.dtype[node] and (graph.nodes.shape[node] or ())[:1] == batch
