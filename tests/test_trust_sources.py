"""The pieces of the proof that other packages feed (imagenet-w, torch-geometric), on cases by hand: none is needed."""

from __future__ import annotations

import pytest
import torch

import pellucid as pl
from benchmarks.trust import __main__ as proof
from benchmarks.trust import motifs, stamp
from benchmarks.trust.motifs import Edges, Graph, Sums, Triangles


def triangle() -> Graph:
    """A triangle (the motif) with a tail of two edges, each edge listed in both directions."""
    pairs = torch.tensor([[0, 1, 1, 2, 0, 2, 2, 3, 3, 4], [1, 0, 2, 1, 2, 0, 3, 2, 4, 3]])
    return motifs.once(pairs, torch.tensor([True] * 6 + [False] * 4), 1)


def test_edges_that_are_listed_twice_become_one_with_the_same_truth():
    graph = triangle()
    assert graph.edges.tolist() == [[0, 0, 1, 2, 3], [1, 2, 2, 3, 4]]
    assert graph.truth.tolist() == [True, True, True, False, False]


def test_edge_weights_are_what_joins_two_nodes_in_both_directions():
    counts = torch.tensor([[1.0, 2, 3, 4, 5], [0, 0, 0, 0, 7]])
    joined = triangle().joined(counts, 5)
    assert torch.equal(joined, joined.mT)
    assert joined[0, 1, 2] == 3 and joined[1, 3, 4] == 7 and joined[0].sum() == 2 * 15


def test_an_edge_that_counts_nothing_is_an_edge_that_is_not_there():
    torch.manual_seed(0)
    model, graph, without = Sums().eval(), triangle(), torch.tensor([1.0, 1, 1, 1, 0])
    shorter = Graph(graph.edges[:, :4], graph.truth[:4], 1)
    with torch.no_grad():
        # Node 4 is alone then; the shorter graph does not have it.
        torch.testing.assert_close(Edges(model, graph)(without[None]), Edges(model, shorter)(torch.ones(1, 4)))


def test_the_network_that_counts_triangles_sees_nothing_else():
    graph, one = motifs.in_triangles(triangle()), torch.eye(5)
    assert graph.truth.tolist() == [True, True, True, False, False]
    net = Edges(Triangles(), graph)
    odds = (net(1 - one) - net(torch.ones(5, 5))) @ torch.tensor([-1.0, 1.0])
    assert odds.tolist() == [-8, -8, -8, 0, 0]


def test_every_method_of_the_table_gives_a_number_an_edge():
    torch.manual_seed(0)
    net = Edges(Sums().eval(), triangle())
    for name, options in motifs.METHODS.items():
        found = getattr(pl.methods, name)(net, torch.ones(1, 5), pl.logit(1), **options)
        assert found.values.shape == (1, 5)


def test_the_box_of_a_stamp_and_the_share_of_a_map_inside_it():
    ink = torch.zeros(20, 20, dtype=torch.bool)
    ink[4, 3] = ink[6, 9] = True
    box = stamp.line(ink)
    assert int(box.sum()) == 3 * 7 and bool(box[4:7, 3:10].all())
    m = torch.zeros(20, 20)
    m[5, 5], m[0, 0], m[1, 1] = 3, 1, -9  # what speaks against is not counted
    assert stamp.inside(m, box) == pytest.approx(0.75)


def test_a_stamp_moved_never_meets_itself():
    ink = torch.zeros(100, 30, dtype=torch.bool)
    ink[40:56] = True
    g = torch.Generator().manual_seed(0)
    assert not any(bool((stamp.moved(ink, g) & ink).any()) for _ in range(50))


def test_a_part_whose_package_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(proof, "find_spec", lambda name: None)
    assert proof.lacking("stamp") == "imagenet-w" and proof.lacking("motifs") == "torch-geometric"
    assert proof.lacking("unfair") == ""
