"""The graph of a network: what ran is in it once, sums are right, repeats are found, text goes there and back."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.architecture.graph import Edges, Graph, Nodes, nodes, only_root
from pellucid.architecture.overlay import of_structure
from pellucid.architecture.sources.draft import Draft, Row, Run
from pellucid.architecture.sources.from_modules import from_modules
from pellucid.architecture.sources.from_tape import from_tape, unused
from pellucid.architecture.text import from_text, to_text
from pellucid.architecture.totals import longest, totals
from pellucid.architecture.tree import tree
from pellucid.core.recording.record import record_module
from tests import graphs
from tests import zoo_of_kinds as zoo
from tests.zoo_of_kinds import KINDS, build


def graph_of(kind) -> tuple[nn.Module, object, Graph]:
    model, args, kwargs = build(kind)
    tape = record_module(model, args, kwargs, keep_values=False)
    return model, tape, from_tape(tape, kind.__name__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_every_operation_that_did_something_is_a_node_and_every_use_an_edge(kind):
    model, tape, graph = graph_of(kind)
    at = {site: i for i, site in enumerate(graph.nodes.site) if site}
    assert set(at) == {str(op.site) for op in tape.operations if not op.idle}
    learned = [p for p in model.parameters() if p.is_floating_point()]  # the state of Keras's generators is not
    assert sum(graph.groups.parameters[:1]) == sum(p.numel() for p in learned)
    assert sum(f or 0 for f in graph.nodes.flops) == graph.groups.flops[0] == tape.flops
    edges = set(zip(graph.edges.source, graph.edges.target, strict=True))
    assert len(edges) == len(graph.edges) and all(source < target for source, target in edges)
    drawn = {op.index for op in tape.operations if not op.idle}
    uses = {
        (at[str(tape.operations[a].site)], at[str(tape.operations[b].site)])
        for a, b, _ in tape.edges
        if a in drawn and b in drawn and a != b
    }
    made = {v.id: v.operation for v in tape.values}
    assert uses <= edges
    idle = {v for op in tape.operations if op.idle for v in op.outputs if made[v] == op.index}
    assert not idle  # nothing is made by what is left out, so no use can be missing
    inner = {(s, t) for s, t in edges if graph.nodes.family[s] != "io" and graph.nodes.family[t] != "io"}
    assert inner == uses


@pytest.mark.parametrize("kind", [zoo.resnet, zoo.mobilenet, zoo.unet, zoo.gpt2], ids=lambda k: k.__name__)
def test_flops_are_torchs_own_count(kind):
    model, args, kwargs = build(kind)
    if hasattr(model, "config"):
        model.config._attn_implementation = "eager"  # torch's counter passes over attention on the CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*args, **kwargs)
    graph = from_tape(record_module(model, args, kwargs, keep_values=False), "")
    assert graph.groups.flops[0] == counter.get_total_flops()
    by_module = {name.partition(".")[2]: sum(v.values()) for name, v in counter.get_flop_counts().items()}
    ours = {p: f for p, f in zip(graph.groups.path, graph.groups.flops, strict=True) if p}
    known = [p for p in ours if p in by_module]
    assert known and all(ours[p] == by_module[p] for p in known)


def test_the_costs_of_a_small_network_are_those_of_the_formulas():
    model = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 10))
    found = pl.map(model, (2, 3, 16, 16))
    conv, linear = 3 * 16 * 9 + 16, 16 * 64 * 10 + 10
    assert found.totals.parameters == conv + linear and found.totals.parameter_bytes == 4 * (conv + linear)
    assert found.totals.flops == 2 * 2 * (16 * 64 * 27) + 2 * 2 * (16 * 64 * 10)
    assert found.totals.activation_bytes == 4 * 2 * (16 * 64 * 2 + 10)  # flatten is a view and takes nothing
    assert found.totals.operations == found.totals.depth == 4 and found.totals.modules == 5
    assert [n for n in found.graph.nodes.label if n] == ["input", "16x3x3x3, stride 2, padding 1", "10x1024"]


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.never = nn.Linear(4, 4), nn.Linear(4, 7)

    def forward(self, x):
        return self.layer(torch.relu(self.layer(x))) + x


def test_a_module_that_runs_twice_is_two_groups_that_share_their_parameters():
    tape = record_module(Twice(), (torch.zeros(1, 4),), {})
    graph = from_tape(tape, "")
    assert graph.groups.path == ("", "layer", "layer") and graph.groups.call == (0, 0, 1)
    assert [graph.site_of(g) for g in range(3)] == ["", "layer", "layer#1"]
    assert graph.groups.parameters == (4 * 4 + 4 + 4 * 7 + 7, 20, 20) and graph.groups.alike == (0, 1, 1)
    assert unused(tape) == 4 * 7 + 7
    (line,) = tree(graph)
    assert line.count == 2 and line.parameters == 20  # folded, and what they share counted once


class Pieces(nn.Module):
    in_pieces = True

    def forward(self, x):
        return x.relu()


class InTurns(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Pieces(), Pieces()

    def forward(self, x):
        return self.b(self.a(self.b(self.a(x).exp())))


def test_a_module_that_runs_in_pieces_is_one_group_in_each_run_of_what_holds_it():
    shared = InTurns()
    graph = from_tape(record_module(nn.Sequential(shared, nn.Tanh(), shared), (torch.zeros(1, 4),), {}), "")
    runs = list(zip(graph.groups.path, graph.groups.parent, strict=True))
    assert runs == [("", -1), ("0", 0), ("0.a", 1), ("0.b", 1), ("1", 0), ("0", 0), ("0.a", 5), ("0.b", 5)]
    inside = [[op for op, at in zip(graph.nodes.op, graph.nodes.group, strict=True) if at == g] for g in range(8)]
    assert inside[1:] == [["exp"], ["relu"] * 2, ["relu"] * 2, ["tanh"], ["exp"], ["relu"] * 2, ["relu"] * 2]


class Block(nn.Module):
    def __init__(self, width, around=True, late=False):
        super().__init__()
        self.a, self.b, self.around, self.late = nn.Linear(width, width), nn.Linear(width, width), around, late

    def forward(self, x):
        first = self.a(x)
        second = self.b(first.relu())
        return second + (first if self.late else x) if self.around else second


def test_planted_repeats_are_found_and_nothing_else():
    kinds = ((8, True, False),) * 3 + ((8, False, False), (8, True, True)) + ((8, True, False),) * 2
    model = nn.Sequential(*(Block(*k) for k in kinds), nn.Linear(8, 8))
    graph = pl.map(model, (1, 8)).graph
    first = {graph.groups.path[g]: graph.groups.path[graph.groups.alike[g]] for g in range(len(graph.groups))}
    assert [first[str(i)] for i in range(8)] == ["0", "0", "0", "3", "4", "0", "0", "0.a"]
    assert first["3.a"] == first["4.b"] == first["0.a"] == "0.a"
    lines = {line.name: line.count for line in tree(graph, 1)}
    assert lines == {"0 … 2": 3, "3": 1, "4": 1, "5 … 6": 2, "7": 1}


def test_blocks_of_other_sizes_are_not_alike():
    graph = pl.map(nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)), (1, 3, 9, 9)).graph
    assert len(set(graph.groups.alike)) == 3  # the same weights, but shapes of 7x7 and 5x5
    graph = pl.map(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)), (1, 3, 9, 9)).graph
    assert graph.groups.alike == (0, 1, 1)


def test_a_thousand_layers_of_one_kind_and_ones_that_interleave():
    draft = Draft("deep")
    root = draft.group(Run(-1, "", "Net"))
    left, right = (draft.group(Run(root, name, "Side")) for name in "ab")
    before = [draft.add(Row("input", root)) for _ in range(2)]
    for i in range(500):  # two branches whose operations run in turns, as a file may list them
        side = i % 2
        at = draft.add(Row("relu", (left, right)[side], (1, 4)))
        draft.edge(before[side], at, (1, 4))
        before[side] = at
    graph = draft.finished()
    assert graph.groups.alike == (0, 1, 1) and longest(graph) == 250


def test_a_group_that_is_all_there_is_is_no_level_of_its_own():
    lines = tree(graphs.wrapped(70))
    assert [line.name for line in lines] == ["outer", "net", *map(str, range(70))]


def test_a_tree_of_modules_holds_every_module_and_every_parameter():
    for kind in (zoo.resnet, zoo.vit, zoo.lstm, zoo.bert):
        model, *_ = build(kind)
        graph = from_modules(model, "tree")
        assert graph.groups.parameters[0] == sum(p.numel() for p in model.parameters())
        held = {p for p, m in model.named_modules() if any(True for _ in m.parameters()) or not list(m.children())}
        assert held <= set(graph.groups.path)
        sizes = {p: sum(v.numel() for v in m.parameters()) for p, m in model.named_modules()}
        ours = zip(graph.groups.path, graph.groups.parameters, strict=True)
        assert all(sizes[path] == count for path, count in ours)


def test_shared_weights_are_counted_once_wherever_they_are_held():
    model = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 20, bias=False))
    model[1].weight = model[0].weight
    for graph in (from_modules(model, ""), pl.map(model, {"input": (1, 5)}).graph):
        assert graph.groups.parameters == (160, 160, 160)


texts = st.text(st.characters(codec="utf-8"), max_size=12)
shapes = st.none() | st.lists(st.integers(0, 9) | texts, max_size=4).map(tuple)


@given(st.lists(st.tuples(texts, shapes, texts, st.none() | st.integers(0, 2**60)), min_size=1, max_size=6), st.data())
def test_text_goes_there_and_back_whatever_names_there_are(rows, data):
    n = len(rows)
    ops, sizes, labels, flops = zip(*rows, strict=True)
    plain = nodes(*ops)
    table = Nodes(ops, plain.family, plain.group, sizes, labels, (1,) * n, flops, (2,) * n, labels, ops)
    ends = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), unique=True, max_size=5))
    edges = Edges(tuple(a for a, _ in ends), tuple(b for _, b in ends), tuple(sizes[a] for a, _ in ends))
    graph = Graph(labels[0], ops[0], table, only_root(labels[-1]), edges)
    text = to_text(graph, totals(graph), of_structure(graph))
    assert from_text(text) == graph
    assert json.loads(text)["totals"]["operations"] == n


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"pellucid":"graph","version":99}', '{"pellucid":"graph","version":1}', "null", '"graph"'],
)
def test_other_texts_are_refused_with_a_sentence(text):
    with pytest.raises(pl.BadInput):
        from_text(text)


def test_columns_that_do_not_fit_are_refused():
    with pytest.raises(pl.BadInput, match="columns"):
        Graph("", "", Nodes(("a", "b")), only_root(""), Edges())
    with pytest.raises(pl.BadInput, match="target of an edge is 5"):
        Graph("", "", nodes("a"), only_root(""), Edges((0,), (5,), (None,)))


def meta_llama(layers, hidden, inner, heads, groups, words):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=groups, vocab_size=words,
    )  # fmt: skip
    with torch.device("meta"):
        return transformers.LlamaForCausalLM(config)


@pytest.mark.slow
def test_a_network_of_seventy_billion_parameters_is_mapped_without_one_of_them():
    layers, hidden, inner, heads, groups, words = 80, 8192, 28672, 64, 8, 128256
    model = meta_llama(layers, hidden, inner, heads, groups, words)
    found = pl.map(model, {"input_ids": torch.zeros(1, 64, dtype=torch.long, device="meta")})
    narrow = hidden * groups // heads
    block = 2 * hidden * hidden + 2 * hidden * narrow + 3 * hidden * inner + 2 * hidden
    assert found.totals.parameters == layers * block + 2 * words * hidden + hidden == 70_553_706_496
    matrices = layers * (block - 2 * hidden) + words * hidden
    attention = layers * 2 * (2 * 64 * 64 * hidden)  # scores and mixing
    assert matrices * 2 * 64 < found.totals.flops <= matrices * 2 * 64 + attention + layers * 64 * 64 * 2
    (run,) = [line for line in tree(found.graph, 2) if line.kind == "LlamaDecoderLayer"]
    assert run.count == 80 and run.parameters == layers * block
    assert model.training and all(p.is_meta for p in model.parameters())  # handed back as it was


def test_weights_on_the_meta_device_are_mapped_by_shapes_alone():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(10**5, 10**5), nn.ReLU(), nn.Linear(10**5, 3))
    found = pl.map(model, (7, 10**5))
    assert found.totals.parameters == 10**10 + 10**5 + 3 * 10**5 + 3
    assert found.totals.flops == 2 * 7 * (10**10 + 3 * 10**5) and "meta" in found.notes[0]
