"""Graphs with a motif grown onto a random tree (torch-geometric): is it a house or a ring?  The motif is the reason.

The network sees only which nodes are joined.  Its input is how much each edge counts, 1 for each, so that the card
takes edges away as it takes columns from a table.  The columns are all 1, so their size is no guess; that an edge joins
busy nodes is one, and only who knows the graph can draw it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import pellucid as pl
from benchmarks.trust.rig import generator
from benchmarks.trust.verdicts import correlations, kendall, part
from pellucid.checks.faithfulness import score_map
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.trials.probed import ProbeSet, probe_set

TREE, RING, HOUSE = 20, 6, 1  # nodes of the tree, nodes of the ring, the class "house"
SEEDS = 3  # trainings
METHODS: dict[str, dict[str, Any]] = {
    "input_x_gradient": {}, "integrated_gradients": {"steps": 32}, "feature_ablation": {}, "shapley_sampling": {},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Graph:
    """`edges`: each once, `[2, edges]`; `truth`: True for the edges of the motif; `label`: 1 for a house."""

    edges: Tensor
    truth: Tensor
    label: int

    def joined(self, counts: Tensor, nodes: int) -> Tensor:
        """How much each pair of nodes is joined, `[batch, nodes, nodes]`, from how much each edge counts."""
        source, sink = self.edges
        out = counts.new_zeros(len(counts), nodes, nodes)
        return out.index_put((torch.arange(len(counts))[:, None], source, sink), counts) + out.index_put(
            (torch.arange(len(counts))[:, None], sink, source), counts
        )


class Sums(nn.Module):
    """Three rounds of sums over neighbors (GraphConv of Morris et al. 2019), read from the sum over all nodes.

    A node knows nothing at first but that it is there, so whatever is told of a graph comes through its edges.
    """

    def __init__(self, width: int = 24, rounds: int = 3) -> None:
        super().__init__()
        self.own = nn.ModuleList(nn.Linear(1 if k == 0 else width, width) for k in range(rounds))
        self.others = nn.ModuleList(nn.Linear(1 if k == 0 else width, width, bias=False) for k in range(rounds))
        self.last = nn.Linear(width, 2)

    def forward(self, joined: Tensor) -> Tensor:
        """`[batch, nodes, nodes]` to `[batch, 2]`; a node without any edge adds to nothing."""
        there = (joined.sum(2, keepdim=True) > 0).to(joined)
        h = torch.ones_like(there)
        for own, others in zip(self.own, self.others, strict=True):
            h = torch.relu(own(h) + joined @ others(h)) * there
        return self.last(h.sum(1) / 10)


class Triangles(nn.Module):
    """A network by its wiring: it counts triangles, of which a house has one, and trees and rings have none."""

    def forward(self, joined: Tensor) -> Tensor:
        """`[batch, nodes, nodes]` to `[batch, 2]`; the log-odds of a house are 8 times the triangles less 4."""
        z = 8 * (joined @ joined * joined).sum((1, 2)) / 6 - 4
        return torch.stack([-z / 2, z / 2], 1)


class Edges(nn.Module):
    """The network on one graph: `[batch, edges]`, how much each edge counts, to `[batch, 2]`."""

    def __init__(self, inner: nn.Module, graph: Graph) -> None:
        super().__init__()
        self.inner, self.graph = inner, graph

    def forward(self, edge_weights: Tensor) -> Tensor:
        """Ring, house."""
        return self.inner(self.graph.joined(edge_weights, int(self.graph.edges.max()) + 1))


@cache
def graphs(count: int, key: str) -> tuple[Graph, ...]:
    """Random trees of torch-geometric's BA generator with a house (label 1) or a ring (0) joined to them, in turns."""
    from torch_geometric.datasets import ExplainerDataset
    from torch_geometric.datasets.graph_generator import BAGraph
    from torch_geometric.datasets.motif_generator import CycleMotif, HouseMotif

    out = []
    before = np.random.get_state()  # the generator of trees draws there
    with torch.random.fork_rng(devices=[]):
        for label, motif in ((0, CycleMotif(RING)), (HOUSE, HouseMotif())):
            seed = int(torch.randint(2**31, (), generator=generator("motifs", key, label)))
            torch.manual_seed(seed)
            np.random.seed(seed)
            found = ExplainerDataset(BAGraph(TREE, 1), motif, num_motifs=1, num_graphs=count // 2)
            out.append([once(g.edge_index, g.edge_mask > 0, label) for g in found])
    np.random.set_state(before)
    return tuple(g for pair in zip(*out, strict=True) for g in pair)


def once(edges: Tensor, truth: Tensor, label: int) -> Graph:
    """Each edge once, however often and in whichever direction it was listed."""
    pairs, of = edges.sort(0).values.unique(dim=1, return_inverse=True)
    inside = torch.zeros(pairs.shape[1], dtype=torch.bool)
    return Graph(pairs, inside.index_put((of,), truth, accumulate=False), label)


def batch_of(some: tuple[Graph, ...], g: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Graphs as one batch; with a generator, up to a third of each graph's edges is left out at random."""
    nodes, rows = TREE + RING, []
    for graph in some:
        counts = torch.ones(1, graph.edges.shape[1])
        if g is not None:
            counts = (torch.rand(counts.shape, generator=g) >= torch.rand((), generator=g) / 3).float()
        rows.append(graph.joined(counts, nodes))
    return torch.cat(rows), torch.tensor([graph.label for graph in some])


@cache
def network(seed: int = 0, steps: int = 600) -> nn.Module:
    """The network, trained in seconds; the graphs of half of its batches lack some edges, as those of the card do."""
    torch.manual_seed(seed)
    model, pool, g = Sums(), graphs(1200, "train"), generator("motif batches", seed)
    optimizer = torch.optim.Adam(model.parameters(), 0.005)
    for step in range(steps):
        pick = torch.randint(len(pool), (64,), generator=g).tolist()
        joined, labels = batch_of(tuple(pool[i] for i in pick), g if step % 2 else None)
        optimizer.zero_grad()
        functional.cross_entropy(model(joined), labels).backward()
        optimizer.step()
    return model.eval()


def accuracy(model: nn.Module, count: int = 400) -> float:
    """On graphs that it never saw."""
    joined, labels = batch_of(graphs(count, "test"))
    with torch.no_grad():
        return float((model(joined).argmax(1) == labels).float().mean())


def in_triangles(graph: Graph) -> Graph:
    """The graph with another truth: the edges that a triangle is made of."""
    joined = graph.joined(torch.ones(1, graph.edges.shape[1]), int(graph.edges.max()) + 1)[0]
    source, sink = graph.edges
    return replace(graph, truth=(joined @ joined)[source, sink] > 0)


def shuffled(truth: Tensor, g: torch.Generator) -> Tensor:
    """The truth on other edges: what a shift is to a picture, since edges have no order."""
    return truth[torch.randperm(len(truth), generator=g)]


def busy(graph: Graph) -> Tensor:
    """The guess of somebody who knows the graph and no network: edges between nodes that have many."""
    degree = torch.bincount(graph.edges.flatten()).double()
    return degree[graph.edges].prod(0)


def maps(graph: Graph, net: Network, random: Network | None, g: torch.Generator) -> Iterator[tuple[str, str, Tensor]]:
    """Kind, name and map."""
    truth, x = graph.truth.double(), torch.ones(1, graph.edges.shape[1])
    yield "true", "edges of the truth", truth
    for share in (0.75, 0.5, 0.25):
        yield "diluted", f"{share:.0%} truth, rest shuffled", share * truth + (1 - share) * shuffled(truth, g)
    for name, options in METHODS.items():
        found = getattr(pl.methods, name)(net, x, pl.logit(graph.label), **options)
        yield "a method's", name.replace("_", " "), found.values[0].double().detach()
    yield "wrong", "random numbers", torch.rand(truth.shape, generator=g).double()
    yield "wrong", "shuffled truth", shuffled(truth, g)
    yield "wrong", "opposite of the truth", -truth
    yield "wrong", "edges of busy nodes", busy(graph)
    other = pl.methods.integrated_gradients(net, x, pl.logit(1 - graph.label), steps=32)
    yield "wrong", "another class's IG", other.values[0].double().detach()
    if random is None:
        return
    drawn = pl.methods.integrated_gradients(random, x, pl.logit(graph.label), steps=32)
    yield "wrong", "IG of random weights", drawn.values[0].double().detach()


def all_of(scale: float) -> dict[str, Any]:
    """Networks that learned, whose truth is the motif, and one wired to count triangles, whose truth is its one."""
    learned = tuple(network(seed) for seed in range(SEEDS))
    found, count = graphs(400, "test"), round(30 * scale)
    planted = tuple(in_triangles(g) for g in found)
    return {
        "accuracy": [accuracy(model) for model in learned], "edges": fmean(len(g.truth) for g in found),
        "cards": {
            "learned": cards(learned, found, count), "wired": cards((Triangles(),), planted, count, redraw=False),
        },
    }  # fmt: skip


def cards(
    models: tuple[nn.Module, ...], known: tuple[Graph, ...], count: int, probes: int = 128, *, redraw: bool = True
) -> dict[str, Any]:
    """The card on houses that all networks get right, each asked in its turn: verdicts, tau of graded maps, drops."""
    words, before = (dict[tuple[str, str], Counter[str]]() for _ in range(2))
    r, reasons = dict[str, list[float]](), Counter[str]()
    taus, drops = dict[int, list[float]](), {"truth": list[float](), "as many others": list[float]()}
    houses = [g for g in known if g.label == HOUSE and all(named(m, g) == HOUSE for m in models)][:count]
    for i, graph in enumerate(houses):
        net, g = Network(Edges(models[i % len(models)], graph).eval()), generator("motif maps", i)
        x = torch.ones(1, len(graph.truth))
        (probe,) = probe_set(Score(net, pl.logit(HOUSE)), {net.inputs[0]: x}, probes, {"busy nodes": busy(graph)})
        for kind, name, m in maps(graph, net, unlearned(i, graph) if redraw else None, g):
            found = score_map(m, probe)
            words.setdefault((kind, name), Counter())[found.word] += 1
            before.setdefault((kind, name), Counter())[score_map(m, replace(probe, guesses=())).word] += 1
            r.setdefault(name, []).append(found.r)
            reasons[found.reason] += bool(found.reason)
        for n, tau in ordered(graph, probe, g).items():
            taus.setdefault(n, []).append(tau)
        for name, gone in (("truth", graph.truth), ("as many others", others(graph.truth, g))):
            drops[name].append(fall(net.model, x, gone, HOUSE))
    return {
        "pictures": len(houses), "matrix": [[*key, dict(w)] for key, w in words.items()],
        "without the guess": [[*key, dict(w)] for key, w in before.items()],
        "tau": {n: fmean(v) for n, v in taus.items()}, "r": {k: fmean(v) for k, v in r.items()},
        "drops": {k: fmean(v) for k, v in drops.items()}, "reasons": dict(+reasons),
    }  # fmt: skip


def named(model: nn.Module, graph: Graph) -> int:
    """The class that the network names."""
    with torch.no_grad():
        return int(Edges(model, graph)(torch.ones(1, len(graph.truth))).argmax())


def unlearned(i: int, graph: Graph) -> Network:
    """The network with random weights, eight of them in turns."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(100 + i % 8)
        return Network(Edges(Sums().eval(), graph).eval())


def ordered(graph: Graph, probe: ProbeSet, g: torch.Generator) -> dict[int, float]:
    """Tau-b of r with the share of truth, of fifteen maps between the shuffled truth and the truth, by probes."""
    truth = graph.truth.double()
    known = [(s, s * truth + (1 - s) * shuffled(truth, g)) for s in (0, 0.25, 0.5, 0.75, 1) for _ in range(3)]
    noise = 0.25 * float(truth.std()) * torch.randn(len(known), len(truth), generator=g)
    stacked = torch.stack([m for _, m in known]) + noise
    shares = [s for s, _ in known]
    return {n: kendall(shares, correlations(stacked, part(probe, slice(n))).tolist()) for n in (64, 128)}


def others(truth: Tensor, g: torch.Generator) -> Tensor:
    """As many edges as the motif has, all outside it."""
    outside = (~truth).nonzero()[:, 0]
    picked = outside[torch.randperm(len(outside), generator=g)[: int(truth.sum())]]
    return torch.zeros_like(truth).index_fill(0, picked, True)


def fall(model: nn.Module, x: Tensor, gone: Tensor, label: int) -> float:
    """How far the log-odds fall when these edges do not count."""
    with torch.no_grad():
        full, less = model(torch.cat([x, x.masked_fill(gone, 0)])).double()
    return float((full[label] - full[1 - label]) - (less[label] - less[1 - label]))
