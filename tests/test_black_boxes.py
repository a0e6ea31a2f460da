"""Functions, graphs, sequences and tables under the trust card: what needs no look inside works without one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.check import Verdict
from pellucid.core.errors import BadModel
from pellucid.trials.layout import score_of
from pellucid.trials.probed import probe_set

SIDE = 24


def bright_corner(picture: Tensor) -> np.ndarray:
    """Two scores, from the brightness of the upper left corner, worked out without torch."""
    light = np.asarray(picture)[:, :, :8, :8].mean((1, 2, 3))
    return np.stack([6 * light, -6 * light], 1)


def scene() -> Tensor:
    """Dark noise with a bright corner, so that painting the corner over loses something."""
    x = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.3
    x[:, :, :8, :8] += 0.7
    return x


def test_a_function_is_explained_and_its_map_tested():
    net = pl.open(bright_corner, labels=("bright", "dark"))
    assert (net.name, net.inputs) == ("bright_corner", ("picture",))
    why = pl.explain(net, scene(), "bright", method="occlusion", options={"window": 4, "stride": 4})
    outside = why.values[0, 0].clone()
    outside[:8, :8] = 0
    assert float(outside.abs().max()) == 0.0  # the planted truth: nothing else is read
    checks = {c.name: c for c in why.checks}
    assert checks["faithfulness"].verdict is Verdict.HOLDS
    assert "no weights" in checks["randomization"].why


def test_without_a_method_a_function_gets_one_that_needs_no_gradient():
    why = pl.explain(bright_corner, scene(), 0, trust="quick")
    assert why.method == "occlusion" and why.checks[0].verdict is Verdict.HOLDS


@pytest.mark.parametrize("method", ["saliency", "grad_cam", "lrp"])
def test_what_needs_a_look_inside_is_refused_with_a_sentence(method):
    with pytest.raises(BadModel):
        pl.methods.all_methods()[method](pl.open(bright_corner), scene(), 0)


def test_a_function_of_torch_keeps_its_gradient():
    weight = torch.arange(6.0)
    found = pl.methods.saliency(pl.open(lambda x: x @ weight), torch.ones(2, 6), 0)
    assert torch.equal(found.values, weight.expand(2, 6))


@pytest.mark.parametrize(
    ("answer", "said"),
    [("three", "expected one row of numbers"), (np.ones((3, 2)), r"\(3, 2\) for 1 samples"), (1.0, "samples")],
)
def test_a_function_that_gives_something_else_is_named(answer, said):
    with pytest.raises(BadModel, match=said):
        pl.explain(pl.open(lambda x: answer), torch.ones(1, 8), 0, method="shapley_values")


def test_two_functions_are_told_apart():
    one, two = pl.open(lambda x: x.sum(1)), pl.open(lambda x: 2 * x.sum(1))
    assert one.fingerprint != two.fingerprint
    assert one.fingerprint == pl.open(lambda x: x.sum(1)).fingerprint


class Messages(nn.Module):
    """A graph network whose input is how much each edge counts: two rounds of sums over neighbors, read at one node."""

    def __init__(self, edges: Tensor, nodes: Tensor) -> None:
        super().__init__()
        self.register_buffer("edges", edges)
        self.register_buffer("nodes", nodes)

    def forward(self, edge_weights: Tensor) -> Tensor:
        source, sink = self.edges
        state = self.nodes.expand(len(edge_weights), -1)
        for _ in range(2):
            message = state[:, source] * edge_weights
            state = state + torch.zeros_like(state).index_add(1, sink, message)
        return state[:, :1]


def test_edges_of_a_graph_are_explained_as_weights_that_can_be_taken_away():
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(12, (2, 40), generator=generator)
    net = Messages(edges, torch.rand(12, generator=generator) + 0.5)
    why = pl.methods.feature_ablation(net, torch.ones(1, 40), pl.scalar(lambda out: out[:, 0]))
    near = edges[1] == 0
    near |= torch.isin(edges[1], edges[0][near])  # two rounds: edges into node 0, and into what leads there
    assert bool((why.values[0][~near] == 0).all()) and bool((why.values[0][edges[1] == 0] > 0).all())
    (probes,) = probe_set(score_of(why), why.x, 64)
    assert probes.layout.kind == "table" and probes.layout.size == 40
    assert pl.check(why, trust="quick").checks[0].verdict is Verdict.HOLDS
