"""Long lists of operations in groups: what repeats is found as it was planted, and everything is in one group."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.architecture.architecture import Architecture
from pellucid.architecture.graph import Edges, Graph, nodes, only_root
from pellucid.architecture.stretches.dividing import divided
from pellucid.architecture.stretches.folding import folded, unfolded
from pellucid.architecture.stretches.repeats import Repeat, repeats
from pellucid.architecture.text import from_text
from pellucid.architecture.tree import pictured_nodes, tree
from pellucid.render.graph.outline import Outline, outline
from pellucid.render.graph.scene import Scene, open_first, scene
from pellucid.render.map import network
from pellucid.render.marks import Pixels
from pellucid.views.architecture import architecture_figure
from pellucid.views.graph import Map
from pellucid.views.view import Stack
from tests import graphs

FEWEST, MOST = 40, 90
LIGHT = ("densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet")


def drawn(graph: Graph) -> tuple[Outline, Scene, Scene]:
    """A graph as it is drawn: its outline, what is seen when all is closed, and what is seen at first."""
    made = outline(folded(graph)[0])
    return made, scene(made, {0}), scene(made, open_first(made))


def every_operation_once(graph: Graph) -> None:
    """Nothing is lost, nothing is there twice, and the way back leads to what was."""
    found, was = folded(graph)
    assert unfolded(found) == graph
    held = Counter(item for items in outline(found).items for item in items if item >= 0)
    assert held == Counter(range(len(graph.nodes)))
    assert [old for old in was if old >= 0] == list(range(len(graph.groups)))
    assert all((old < 0) == found.is_stretch(group) for group, old in enumerate(was))
    assert found.nodes.site == graph.nodes.site and found.edges == graph.edges


@pytest.mark.parametrize("seed", range(12))
def test_planted_repeats_are_found_and_counted(seed):
    at = random.Random(seed)  # noqa: S311
    looks: list[int] = []
    cuts = [(2,)] * 400
    planted = []
    for _ in range(at.randrange(1, 4)):
        looks += range(len(looks) + 1000, len(looks) + 1000 + at.randrange(1, 20))  # nothing of it stands twice
        pattern = [10_000 * len(looks) + at.randrange(4) for _ in range(at.randrange(2, 12))]
        pattern[0] = -len(looks)  # so that no shorter one repeats
        times = at.randrange(2, 9)
        planted.append(Repeat(len(looks), len(pattern), times))
        cuts[len(looks)] = (1,)
        looks += pattern * times
    looks.append(-1_000_000)
    assert repeats(looks, cuts[: len(looks)]) == planted


def test_of_repeats_in_repeats_the_longer_is_taken_and_a_pair_is_none():
    block = ["conv", "relu", "conv", "relu", "add"]
    assert repeats(block * 6, [(0,)] + [(1,)] * 29) == [Repeat(0, 5, 6)]
    assert repeats(["x", "relu", "relu", "y"], [(0,)] * 4) == []
    assert repeats(["x", "relu", "relu", "relu", "y"], [(0,)] * 5) == [Repeat(1, 1, 3)]


@pytest.mark.parametrize("seed", range(6))
def test_a_list_is_divided_at_the_strong_cuts(seed):
    at = random.Random(seed)  # noqa: S311
    sizes = [at.randrange(3, 9) for _ in range(40)]
    strength = [s for size in sizes for s in (8, *[1] * (size - 1))]
    found = divided([1] * len(strength), strength, 40)
    assert [end - start for start, end in found] == sizes


@pytest.mark.parametrize("count", [61, 500, 5000])
def test_a_division_holds_every_place_once_and_has_about_the_wanted_number(count):
    at = random.Random(count)  # noqa: S311
    found = divided([at.randrange(1, 5) for _ in range(count)], [at.randrange(1, 9) for _ in range(count)], 56)
    assert [start for start, _ in found] == [0, *[end for _, end in found[:-1]]] and found[-1][1] == count
    assert 28 <= len(found) <= 58


def test_a_pattern_that_repeats_is_one_box_that_says_how_often():
    found = graphs.Drawn()
    x = found.add("input", "")
    for i in range(9):
        x = found.add(f"stem{i}", "", x)
    for _ in range(12):
        for op in ("conv", "norm", "hardswish"):
            x = found.add(op, "", x)
    for i in range(30):
        x = found.add(f"head{i}", "", x)
    made, closed, first = drawn(found.graph())
    (run,) = [box for box in closed.boxes if box.kind == "run"]
    assert (run.title, run.count) == ("conv → norm → hardswish ×12", 12) and made.size[run.index] == 3
    assert len(closed.boxes) == 1 + 9 + 1 + 30, "what does not repeat stays as it is while there is room"
    assert [frame.title for frame in first.frames[1:]] == ["conv → norm → hardswish ×12"]


def test_blocks_with_a_way_around_repeat_as_a_whole():
    found = graphs.Drawn()
    x = found.add("input", "")
    for i in range(10):
        x = found.add(f"stem{i}", "", x)
    for _ in range(11):
        y = found.add("relu", "", found.add("conv", "", x))
        x = found.add("relu", "", found.add("add", "", found.add("conv", "", y), x))
    made, closed, _ = drawn(found.graph())
    (run,) = [box for box in closed.boxes if box.kind == "run"]
    assert run.count == 11 and [made.graph.nodes.op[i] for i in made.inside(run.index)] == [
        "conv", "relu", "conv", "add", "relu",
    ]  # fmt: skip


def test_constants_go_with_what_reads_them_wherever_they_stand():
    found = graphs.Drawn()
    x = found.add("input", "")
    weights = [found.add("filled", "") for _ in range(40)]  # all before the first that reads one
    for weight in weights:
        x = found.add("relu", "", found.add("conv", "", x, weight))
    made, closed, _ = drawn(found.graph())
    assert [(box.title, box.count) for box in closed.boxes] == [("input", 1), ("conv → relu ×40", 40)]
    assert {tuple(made.inside(group)) for group in made.run[closed.boxes[1].index]} == {
        (w, 41 + 2 * k, 42 + 2 * k) for k, w in enumerate(weights)
    }


def chain(count: int, seed: int = 0) -> Graph:
    """Operations one after the other, in no order that repeats."""
    at, found = random.Random(seed), graphs.Drawn()  # noqa: S311
    x = found.add("input", "")
    for _ in range(count):
        x = found.add(at.choice(["conv", "relu", "norm", "pool"]), "", x, label=str(at.randrange(99)))
    found.add("output", "", x)
    return found.graph()


def branches(count: int, seed: int = 0) -> Graph:
    """Ways around, forks, long skips, and stretches between them, in no order that repeats."""
    at, found = random.Random(seed), graphs.Drawn()  # noqa: S311
    x = found.add("input", "")
    kept = [x]
    while len(found.ops) < count:
        start = x
        for _ in range(at.randrange(1, 6)):
            x = found.add(at.choice(["conv", "relu", "norm"]), "", x, label=str(at.randrange(99)))
        if at.random() < 0.5:
            x = found.add("add", "", x, start)
        elif at.random() < 0.5:
            x = found.add("cat", "", x, *(found.add("pool", "", start) for _ in range(at.randrange(1, 4))))
        elif at.random() < 0.2:
            x = found.add("cat", "", x, at.choice(kept))
        kept.append(x)
    found.add("output", "", x)
    return found.graph()


@pytest.mark.parametrize("count", [100, 500, 5000])
@pytest.mark.parametrize("make", [chain, branches])
def test_a_flat_network_opens_as_a_whole_in_about_sixty_boxes(make, count):
    graph = make(count)
    every_operation_once(graph)
    made, closed, first = drawn(graph)
    assert FEWEST <= len(first.boxes) <= 60
    longest = max(len(made.items[g]) for g in range(1, len(made.items)))
    assert longest <= 40, "what is opened is not a long list again"
    for box in closed.boxes:
        if box.kind == "group":
            inside = made.inside(box.index)
            assert inside == list(range(inside[0], inside[-1] + 1)), "a stretch is without gaps"


def test_stretches_are_cut_where_one_value_is_handed_on():
    """Of blocks that differ, each with a way around, none is cut in two while others are whole."""
    at, found = random.Random(4), graphs.Drawn()  # noqa: S311
    x, ends = found.add("input", ""), {0}
    for _ in range(50):
        start = x
        for _ in range(at.randrange(3, 7)):
            x = found.add("relu", "", x, label=str(at.randrange(999)))
        x = found.add("add", "", x, start)
        ends.add(x)
    made, closed, _ = drawn(found.graph())
    assert {made.inside(box.index)[-1] for box in closed.boxes if box.kind == "group"} == ends - {0}


@pytest.mark.parametrize("make", [graphs.residual, graphs.transformer, graphs.u_shaped, graphs.dense, graphs.wild])
def test_what_is_in_modules_or_short_stays_as_it_is(make):
    graph = make(8)
    assert folded(graph)[0] is graph


def test_a_long_module_is_divided_inside_and_nothing_else():
    found = graphs.Drawn()
    x = found.add("conv", "stem", found.add("input", ""))
    for i in range(100):
        x = found.add("relu", "body.inner", x, label=str(i))
    graph = found.graph()
    every_operation_once(graph)
    new, was = folded(graph)
    inner = graph.groups.path.index("body.inner")
    assert {was[new.groups.parent[g]] for g in range(len(was)) if was[g] < 0} <= {inner, -1}
    assert {new.groups.path[g] for g in range(len(was)) if was[g] < 0} == {"body.inner"}
    assert FEWEST <= len(scene(new, open_first(new)).boxes) <= 60


def test_many_rows_without_edges_are_divided_too():
    graph = Graph("loose", "", nodes(*(f"op{i}" for i in range(300))), only_root("Net"), Edges())
    every_operation_once(graph)
    assert FEWEST <= len(drawn(graph)[2].boxes) <= 60


def uneven(count: int) -> nn.Sequential:
    """Layers of sizes that do not repeat."""
    at, layers, size = random.Random(1), [], 3  # noqa: S311
    while len(layers) < count:
        new = at.randrange(3, 40)
        layers += [nn.Conv2d(size, new, 1), nn.BatchNorm2d(new), at.choice([nn.ReLU, nn.SiLU])()]
        size = new
    return nn.Sequential(*layers).eval()


X = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def run() -> Architecture:
    return pl.map(uneven(240), X)


def test_a_flat_module_is_drawn_alike_run_and_not_run(run):
    listed = pl.map(uneven(240))
    for found in (run, listed):
        every_operation_once(found.graph)
        assert FEWEST <= len(drawn(found.graph)[2].boxes) <= 60
    of_layers = [[g.kind[i] for i in range(1, len(g)) if g.kind[i]] for g in (run.graph.groups, listed.graph.groups)]
    assert of_layers[0] == of_layers[1] and run.totals.modules == 241, "modules are modules"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_exported_program_and_a_script_without_modules_are_divided(tmp_path: Path):
    net = uneven(72)
    torch.export.save(torch.export.export(net, (X,)), tmp_path / "flat.pt2")
    torch.jit.trace(net, X).save(str(tmp_path / "flat.pt"))
    for found in (pl.map(tmp_path / "flat.pt2"), pl.map(pl.open(tmp_path / "flat.pt", trusted=True), X)):
        assert len(found.graph.nodes) > 70
        assert FEWEST <= len(drawn(found.graph)[2].boxes) <= 60


def test_boxes_of_a_run_show_what_leaves_them(run):
    found = run.folded()
    assert set(found.overlay.pictures) == set(run.overlay.pictures)
    last = pictured_nodes(found.graph, found.overlay.pictures)
    made = outline(found.graph)
    for box in scene(made, open_first(made)).boxes:
        if box.kind != "node":
            inside = made.inside(box.index)
            assert last[box.index] == inside[-1], "the last operation of a chain is what leaves it"
    figure = architecture_figure(run)
    assert isinstance(figure, Stack)
    (view,) = [v for v in figure.views if isinstance(v, Map)]
    shown = sum(isinstance(mark, Pixels) for mark in network(view).marks)
    assert shown >= len(scene(made, open_first(made)).boxes) - 2


def test_a_group_whose_output_has_no_places_shows_the_last_that_has():
    graph = graphs.residual(2)
    inside = outline(graph).inside(1)
    assert pictured_nodes(graph, {inside[0]})[1] == inside[0]
    assert pictured_nodes(graph, set(inside))[1] == inside[-1]
    assert pictured_nodes(graph, ())[1] is None


def test_numbers_of_stretches_are_sums_or_what_leaves_them(run):
    found = run.folded()
    made, groups = outline(found.graph), found.graph.groups
    for g in range(len(groups)):
        inside = made.inside(g)
        if found.graph.is_stretch(g):
            assert groups.parameters[g] == sum(found.graph.nodes.parameters[i] for i in inside)
            assert found.overlay.measures["flops"].groups[g] == sum(found.graph.nodes.flops[i] or 0 for i in inside)
            assert found.overlay.measures["mean"].groups[g] == found.overlay.measures["mean"].nodes[inside[-1]]


def test_lines_say_what_boxes_say(run):
    found = run.folded()
    closed = scene(found.graph, {0}).boxes
    lines = tree(found.graph, 1)
    assert [line.name for line in lines if line.kind == ""] == [
        found.graph.groups.kind[box.index] for box in closed if box.kind != "node" and found.graph.is_stretch(box.index)
    ]
    assert sum(line.parameters for line in lines) == run.totals.parameters


def test_sites_and_json_know_nothing_of_stretches(run):
    assert from_text(run.text) == run.graph and not any(map(run.graph.is_stretch, range(len(run.graph.groups))))


@pytest.mark.parametrize("name", LIGHT)
def test_real_files_without_names_open_as_a_whole(name):
    onnx = pytest.importorskip("onnx")
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("this onnx brings no files")
    graph = pl.map(path).graph
    every_operation_once(graph)
    assert len(graph.groups) == 1
    assert FEWEST <= len(drawn(graph)[2].boxes) <= MOST


@pytest.mark.parametrize(("name", "times"), [("resnet50", [2, 3, 5, 2]), ("shufflenet", [3, 7, 3])])
def test_the_stages_of_published_networks_are_counted_right(name, times):
    """All blocks of a stage but its first: of 3, 4, 6, 3 (He et al., 2016) and 4, 8, 4 (Zhang et al., 2018)."""
    onnx = pytest.importorskip("onnx")
    path = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light" / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("this onnx brings no files")
    for found in (pl.map(path), pl.map(path, (1, 3, 224, 224))):
        assert [box.count for box in drawn(found.graph)[1].boxes if box.kind == "run"] == times


def test_the_layers_of_a_decoder_without_names_are_found(tmp_path: Path):
    generate = pytest.importorskip("benchmarks.map.generate")
    made = generate.model(400, mask=True)
    layers = sum(node.op_type == "Softmax" for node in made.graph.node)
    known = {node.output[0]: f"t{k}" for k, node in enumerate(made.graph.node)} | {"logits": "logits"}
    for node in made.graph.node:
        node.name = ""
        node.input[:] = [known.get(name, name) for name in node.input]
        node.output[:] = [known[node.output[0]]]
    (tmp_path / "decoder.onnx").write_bytes(made.SerializeToString())
    graph = pl.map(tmp_path / "decoder.onnx").graph
    assert len(graph.groups) == 1
    (box,) = [box for box in drawn(graph)[1].boxes if box.kind == "run"]
    assert box.count == layers


class Looped(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for k in range(40):
            x = torch.tanh(torch.relu(x) + torch.sigmoid(x) * k)
        return x


def test_a_loop_in_python_is_drawn_once():
    made, closed, _ = drawn(pl.map(Looped(), X).graph)
    (run,) = [box for box in closed.boxes if box.kind == "run"]
    assert run.count == 40 and made.size[run.index] == 5
