"""ONNX files of a given size: decoders of a language model, 34 operators a layer, in the order that exporters write.

With a mask, one input is read by the attention of every layer: the case that layered drawings find hard.  Weights are
small, so that files are about structure, not about reading numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, TOKENS = 8, 4


class Writer:
    """The nodes so far, with a running number in every name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, op: str, path: str, *inputs: str, **attributes: object) -> str:
        """One more node; its output's name."""
        out = f"{path}/{op}_{len(self.nodes)}_output_0"
        name = f"{path}/{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], name, **attributes))
        return out

    def weight(self, name: str, *shape: int) -> str:
        """One more parameter, drawn from its name."""
        values = np.random.default_rng(len(name) + len(self.weights)).standard_normal(shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values * 0.1, name))
        return name

    def constant(self, name: str, *values: int) -> str:
        """One more list of whole numbers."""
        self.weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name


def norm(w: Writer, path: str, x: str, power: str, small: str) -> str:
    """Root mean square normalization, as exporters take it apart."""
    square = w.add("Pow", path, x, power)
    mean = w.add("ReduceMean", path, square, "axes", keepdims=1)
    root = w.add("Sqrt", path, w.add("Add", path, mean, small))
    return w.add("Mul", path, w.add("Div", path, x, root), w.weight(f"{path}.weight", WIDTH))


def attention(w: Writer, path: str, x: str, mask: str) -> str:
    """One head."""
    heads = []
    for k in "qkv":
        flat = w.add("MatMul", f"{path}/{k}_proj", x, w.weight(f"{path}.{k}_proj.weight", WIDTH, WIDTH))
        flat = w.add("Add", f"{path}/{k}_proj", flat, w.weight(f"{path}.{k}_proj.bias", WIDTH))
        split = w.add("Reshape", path, flat, "split")
        heads.append(w.add("Transpose", path, split, perm=[0, 2, 3, 1] if k == "k" else [0, 2, 1, 3]))
    scores = w.add("Div", path, w.add("MatMul", path, heads[0], heads[1]), "scale")
    scores = w.add("Add", path, scores, mask) if mask else w.add("Mul", path, scores, "scale")
    mixed = w.add("MatMul", path, w.add("Softmax", path, scores, axis=-1), heads[2])
    joined = w.add("Reshape", path, w.add("Transpose", path, mixed, perm=[0, 2, 1, 3]), "join")
    return w.add("MatMul", f"{path}/o_proj", joined, w.weight(f"{path}.o_proj.weight", WIDTH, WIDTH))


def layer(w: Writer, path: str, x: str, mask: str) -> str:
    """Attention and a gated perceptron, each beside its residual."""
    x = w.add("Add", path, x, attention(w, f"{path}/self_attn", norm(w, f"{path}/norm1", x, "two", "small"), mask))
    y = norm(w, f"{path}/norm2", x, "two", "small")
    gate = w.add("MatMul", f"{path}/mlp/gate_proj", y, w.weight(f"{path}.mlp.gate_proj.weight", WIDTH, WIDTH))
    gate = w.add("Mul", f"{path}/mlp/act", gate, w.add("Sigmoid", f"{path}/mlp/act", gate))
    up = w.add("MatMul", f"{path}/mlp/up_proj", y, w.weight(f"{path}.mlp.up_proj.weight", WIDTH, WIDTH))
    down = w.weight(f"{path}.mlp.down_proj.weight", WIDTH, WIDTH)
    return w.add("Add", path, x, w.add("MatMul", f"{path}/mlp/down_proj", w.add("Mul", f"{path}/mlp", gate, up), down))


def model(operators: int, *, mask: bool) -> onnx.ModelProto:
    """A model of at least so many operators, and at most a layer more."""
    w = Writer()
    for name, value in {"two": 2.0, "small": 1e-6, "scale": 2.0}.items():
        w.weights.append(numpy_helper.from_array(np.float32(value), name))
    w.constant("axes", -1)
    w.constant("split", 0, 0, 2, WIDTH // 2)
    w.constant("join", 0, 0, WIDTH)
    x = w.add("MatMul", "/model/embed", "x", w.weight("model.embed.weight", WIDTH, WIDTH))
    number = 0
    while len(w.nodes) < operators - 1:
        x = layer(w, f"/model/layers.{number}", x, "mask" if mask else "")
        number += 1
    w.nodes.append(helper.make_node("MatMul", [x, w.weight("lm_head.weight", WIDTH, WIDTH)], ["logits"], "/lm_head"))
    shape = [1, TOKENS, WIDTH]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    if mask:
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, TOKENS, TOKENS]))
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(w.nodes, "decoder", inputs, outputs, w.weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def files(folder: Path, sizes: tuple[int, ...]) -> Iterator[tuple[str, Path, int]]:
    """A file of each size with a mask and without: a name, the path, how many operators it has."""
    for size in sizes:
        for mask in (False, True):
            made = model(size, mask=mask)
            path = folder / f"decoder_{size}{'_mask' if mask else ''}.onnx"
            path.write_bytes(made.SerializeToString())
            yield f"{size} operators{', mask' if mask else ''}", path, len(made.graph.node)
