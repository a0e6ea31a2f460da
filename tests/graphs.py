"""Graphs for the tests of scenes and layouts: small, regular, and nasty ones, and transformers of any size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pellucid.architecture.graph import Edges, Graph, Groups, Nodes

FAMILIES = {"conv": "convolution", "matmul": "linear", "relu": "activation", "softmax": "activation",
            "add": "arithmetic", "norm": "normalization", "pool": "pooling", "reshape": "shape", "input": "io",
            "output": "io"}  # fmt: skip


class Drawn:
    """A graph under construction: operations with the path of their module and what they take."""

    def __init__(self, name: str = "network") -> None:
        self.name = name
        self.ops: list[tuple[str, int, str]] = []
        self.edges: set[tuple[int, int]] = set()
        self.paths: dict[str, int] = {"": 0}
        self.parents: list[int] = [-1]

    def group(self, path: str) -> int:
        if path not in self.paths:
            parent = self.group(path.rpartition(".")[0])
            self.paths[path] = len(self.paths)
            self.parents.append(parent)
        return self.paths[path]

    def add(self, op: str, path: str, *inputs: int, label: str = "") -> int:
        self.ops.append((op, self.group(path), label))
        self.edges |= {(source, len(self.ops) - 1) for source in inputs}
        return len(self.ops) - 1

    def graph(self) -> Graph:
        count = len(self.ops)
        ops, groups, labels = zip(*self.ops, strict=True) if count else ((), (), ())
        families = tuple(FAMILIES.get(op.lower(), "other") for op in ops)
        kinds = [_kind(path) for path in self.paths]
        inside = [0] * len(self.parents)
        for group in groups:
            while group >= 0:
                inside[group] += 1
                group = self.parents[group]
        numbers = tuple(1000 * n for n in inside)
        edges = sorted(self.edges)
        return Graph(
            self.name,
            "made for a test",
            Nodes(tuple(ops), families, tuple(groups), ((1, 8, 8),) * count, ("float32",) * count, (1000,) * count,
                  (2000,) * count, (256,) * count, tuple(labels), ("",) * count),
            Groups(tuple(self.parents), tuple(self.paths), (0,) * len(inside), tuple(kinds), numbers, numbers, numbers,
                   tuple(self._alike(kinds))),
            Edges(tuple(s for s, _ in edges), tuple(t for _, t in edges), ((1, 8, 8),) * len(edges)),
        )  # fmt: skip

    def _alike(self, kinds: list[str]) -> list[int]:
        """Groups of one kind that hold the same operations in the same order."""
        inner: list[list[str]] = [[] for _ in self.parents]
        for op, group, _ in self.ops:
            while group >= 0:
                inner[group].append(op)
                group = self.parents[group]
        first: dict[tuple[str, ...], int] = {}
        return [first.setdefault((kinds[g], *inner[g]), g) for g in range(len(kinds))]


def _kind(path: str) -> str:
    last = path.rpartition(".")[2]
    return "Block" if last.isdigit() else last.capitalize() or "Network"


def chain(length: int) -> Graph:
    """One operation after another."""
    net = Drawn("chain")
    at = net.add("input", "")
    for _ in range(length):
        at = net.add("relu", "", at)
    return net.graph()


def residual(blocks: int) -> Graph:
    """Residual blocks in stages, every second stage with a projection on the way around."""
    net = Drawn("residual")
    x = net.add("relu", "stem", net.add("conv", "stem", net.add("input", ""), label="16x3x3x3"))
    for stage in range(2):
        for block in range(blocks):
            path = f"stages.{stage}.{block}"
            y = net.add("norm", path, net.add("conv", f"{path}.conv1", x, label="16x16x3x3"))
            y = net.add("conv", f"{path}.conv2", net.add("relu", path, y), label="16x16x3x3")
            around = net.add("conv", f"{path}.down", x) if stage and not block else x
            x = net.add("relu", path, net.add("add", path, y, around))
    net.add("output", "", net.add("matmul", "head", net.add("pool", "", x), label="10x16"))
    return net.graph()


def transformer(operations: int, masked: bool = True) -> Graph:
    """A decoder of about so many operations in alike layers; a mask that every layer reads is the hard part."""
    net = Drawn("transformer")
    x, mask = net.add("input", ""), net.add("input", "")
    x, layer = net.add("Embed", "embed", x), 0
    while len(net.ops) < operations - 2:
        path = f"layers.{layer}"
        y = _norm(net, f"{path}.norm1", x)
        heads = [_head(net, f"{path}.attention", name, y) for name in "qkv"]
        attention = f"{path}.attention"
        y = net.add("Div", attention, net.add("MatMul", attention, heads[0], heads[1]))
        y = net.add("Softmax", attention, net.add("Add", attention, y, *([mask] if masked else [])))
        y = net.add("Reshape", attention, net.add("Transpose", attention, net.add("MatMul", attention, y, heads[2])))
        y = net.add("Add", f"{attention}.out", net.add("MatMul", f"{attention}.out", y))
        x = net.add("Add", path, x, y)
        y = _norm(net, f"{path}.norm2", x)
        gate = net.add("MatMul", f"{path}.mlp.gate", y)
        gate = net.add("Mul", f"{path}.mlp.act", gate, net.add("Sigmoid", f"{path}.mlp.act", gate))
        y = net.add("Mul", f"{path}.mlp", gate, net.add("MatMul", f"{path}.mlp.up", y))
        x = net.add("Add", path, x, net.add("MatMul", f"{path}.mlp.down", y))
        layer += 1
    net.add("MatMul", "head", x)
    return net.graph()


def _norm(net: Drawn, path: str, x: int) -> int:
    y = net.add("ReduceMean", path, net.add("Pow", path, x))
    return net.add("Mul", path, net.add("Div", path, x, net.add("Sqrt", path, net.add("Add", path, y))))


def _head(net: Drawn, path: str, name: str, y: int) -> int:
    y = net.add("Add", f"{path}.{name}", net.add("MatMul", f"{path}.{name}", y, label="64x64"))
    return net.add("Transpose", path, net.add("Reshape", path, y))


def u_shaped(depth: int) -> Graph:
    """Long ways across: what goes down is read on the way up."""
    net = Drawn("u")
    x, kept = net.add("input", ""), []
    for level in range(depth):
        x = net.add("conv", f"down.{level}", net.add("conv", f"down.{level}", x))
        kept.append(x)
        x = net.add("pool", "", x)
    for level in reversed(range(depth)):
        x = net.add("conv", f"up.{level}", net.add("cat", "", net.add("upsample", f"up.{level}.grow", x), kept[level]))
    return net.graph()


def dense(length: int) -> Graph:
    """Every layer reads all that came before it."""
    net = Drawn("dense")
    found = [net.add("input", "")]
    for i in range(length):
        found.append(net.add("conv", f"block.{i}", net.add("cat", f"block.{i}", *found)))
    return net.graph()


def experts(count: int) -> Graph:
    """Alike modules side by side."""
    net = Drawn("experts")
    x = net.add("input", "")
    out = [net.add("matmul", f"experts.{i}", net.add("relu", f"experts.{i}", x)) for i in range(count)]
    net.add("add", "", *out)
    return net.graph()


def torn() -> Graph:
    """Groups that do not run in one piece, so that closed they feed each other; and a loop."""
    net = Drawn("torn")
    x = net.add("input", "")
    for i in range(4):
        x = net.add("relu", "a" if i % 2 else "b.inner", x)
        x = net.add("tanh", "b", x)
    net.edges.add((x, 1))
    net.edges.add((2, 2))
    return net.graph()


def constants() -> Graph:
    """Constants through several operations into the last one, and inputs that come late."""
    net = Drawn("constants")
    x, late = net.add("input", ""), net.add("input", "")
    fixed = net.add("Cast", "", net.add("Reshape", "", net.add("Constant", "")))
    for i in range(6):
        x = net.add("conv", "body", x, net.add("Constant", "body", label=f"{i}"))
    net.add("where", "", x, fixed, late)
    return net.graph()


def loose() -> Graph:
    """Operations that are joined to nothing, beside some that are."""
    net = Drawn("loose")
    for i in range(7):
        net.add(f"op{i}", "")
    net.add("relu", "m", net.add("input", ""))
    return net.graph()


def weights(blocks: int = 3) -> Graph:
    """What a file of weights tells: groups of every size and no edges, and beside them two chains of their own."""
    net = Drawn("weights")
    for name in ("cls", "position"):
        net.add("tensor", name, label="1x197x192")
    for block in range(blocks):
        for inner in ("attention.in", "attention.out", "norm", "mlp.first", "mlp.second"):
            path = f"blocks.{block}.{inner}"
            net.add("weight", path, label="x".join(["192"] * (1 + (block + len(inner)) % 4)))
    for name in ("head", "norm", "patch"):
        net.add("tensor", name, label="192")
    for path in ("left", "right"):
        x = net.add("input", "")
        for i in range(4):
            x = net.add("conv", f"{path}.{i % 2}", x)
        net.add("spare", path)
    return net.graph()


def wrapped(count: int = 70) -> Graph:
    """A network inside two others that hold nothing else, too large to be seen in few boxes."""
    net = Drawn("wrapped")
    x = net.add("input", "")
    for i in range(count):
        x = net.add("relu", f"outer.net.{i}", net.add("conv" if i % 2 else "matmul", f"outer.net.{i}", x))
    net.add("output", "", x)
    return net.graph()


def flat(count: int) -> Graph:
    """One long list: a stem, blocks that repeat, and after them units with ways around that do not."""
    net = Drawn("flat")
    x = net.add("conv", "", net.add("input", ""), label="16x3x3x3")
    for _ in range(4):
        y = net.add("relu", "", net.add("norm", "", net.add("conv", "", x)))
        x = net.add("add", "", net.add("norm", "", net.add("conv", "", y)), x)
    kept = x
    while len(net.ops) < count:
        fixed = [net.add("Constant", "")] if len(net.ops) % 5 == 0 else []
        y = net.add("relu", "", net.add("conv", "", x, *fixed, label=f"{len(net.ops)}"))
        x = net.add("add", "", net.add("softmax", "", y), x) if len(net.ops) % 3 else net.add("pool", "", y)
    net.add("output", "", net.add("reshape", "", net.add("cat", "", x, kept)))
    return net.graph()


def modules() -> Graph:
    """Modules of which nothing ran."""
    net = Drawn("modules")
    for path in ("encoder.0.conv", "encoder.1.conv", "encoder.1.norm", "decoder", "head"):
        net.group(path)
    return net.graph()


def outputs() -> Graph:
    """Many inputs and outputs, some of them after something else."""
    net = Drawn("outputs")
    x = net.add("cat", "", *(net.add("input", "") for _ in range(5)))
    for _ in range(6):
        net.add("output", "", net.add("relu", "m", x))
    for _ in range(4):
        net.add("output", "", x)
    return net.graph()


def words() -> Graph:
    """Names that are long, foreign, or try to be more than names."""
    net = Drawn("</script><script>alert(1)</script>\u2028")
    x = net.add("input", "")
    for op in ("卷积层", "a" * 60, "</script>", "<img src=x onerror=alert(1)>", "𝕏" * 40, "\u2028\u202e", ""):
        x = net.add(op, "block.层", x, label=f"{op}&\"'`${{}}")
    return net.graph()


def settings() -> Graph:
    """Convolutions that pad first, one of them with labels of more settings than fit, and one that only pads."""
    net = Drawn("settings")
    x = net.add("input", "")
    reads = []
    for i, label in enumerate(("16x3x3x3", "16x16x3x3, stride 2, padding 1, dilation 2, groups 4", "")):
        x = net.add("pad", f"conv{i}", x, label="pad 1, 2, 1, 2, mode reflect, value 0.5")
        reads.append(len(net.ops) if label else -1)
        x = net.add("conv", f"conv{i}", x, label=label)
    x = net.add("relu", "", x, label="层" * 20 + ", " + "𝕏" * 12)
    graph = net.graph()
    parameters = tuple(1000 * (node in reads) for node in range(len(graph.nodes)))
    kinds = tuple("Conv2d" if path else "" for path in graph.groups.path)
    return replace(graph, nodes=replace(graph.nodes, parameters=parameters), groups=replace(graph.groups, kind=kinds))


def wild(seed: int, count: int = 40) -> Graph:
    """A random graph with random groups."""
    net, numbers = Drawn(f"wild {seed}"), _numbers(seed)
    paths = ["", "a", "a.b", "a.b.c", "a.d", "e", "e.f"]
    for i in range(count):
        inputs = {next(numbers) % i for _ in range(next(numbers) % 4)} if i else set()
        net.add(f"op{next(numbers) % 5}", paths[(7 * i // count + next(numbers) % 2) % 7], *inputs)
    return net.graph()


def _numbers(seed: int) -> Iterator[int]:
    """The generator of Park and Miller (1988); its low digits are not good enough, hence the shift."""
    state = seed + 1
    while True:
        state = state * 48271 % 2147483647
        yield state >> 8
