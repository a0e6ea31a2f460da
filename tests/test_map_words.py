"""What a map says in words: labels that keep whole settings, counts that agree with their nouns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import pellucid as pl
from pellucid.architecture.totals import Totals
from pellucid.architecture.unrun import of_onnx
from pellucid.core.errors import BadModel
from pellucid.render.graph.boxes import group_box
from pellucid.render.graph.lettering import LONGEST, fitting
from pellucid.render.graph.outline import outline
from pellucid.views.architecture import totals_words


@pytest.mark.parametrize(
    "label",
    ["8x2x3x3, stride 2, padding 1, dilation 2, groups 2", "size 7x7, scale factor 0.5, mode bilinear, and more",
     "stride 2", "a, " * 20, "x" * 40 + ", stride 2"],
)  # fmt: skip
def test_a_label_keeps_its_first_settings_whole_or_says_that_there_are_more(label: str) -> None:
    found = fitting(label)
    assert len(found) <= LONGEST
    if "…" not in found:
        assert found == label
    elif len(label.split(", ")[0]) < LONGEST - 3:
        kept = found.removesuffix(", …")
        parts, wanted = kept.split(", "), label.split(", ")
        assert parts == wanted[: len(parts)] and len(f"{kept}, {wanted[len(parts)]}, …") > LONGEST


def test_a_convolution_that_pads_first_says_its_weights() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4), nn.ReLU())
    tree = outline(pl.map(model, (1, 3, 8, 8)).graph)
    assert group_box(tree, tree.graph.groups.path.index("0"), 1).lines == ("0", "4x3x3x3")


def test_a_cast_says_to_which_type(tmp_path: Path) -> None:
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT64)
    ends = [helper.make_tensor_value_info(n, t, (2,)) for n, t in (("x", TensorProto.FLOAT), ("y", TensorProto.INT64))]
    (tmp_path / "cast.onnx").write_bytes(
        helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:])).SerializeToString()
    )
    found = of_onnx(tmp_path / "cast.onnx")
    assert "to int64" in found.graph.nodes.label
    assert not any("FLOPs are those" in note for note in found.notes)


def test_one_is_no_plural(tmp_path: Path) -> None:
    words = totals_words(Totals(1, 1, 4, None, 0, 1, 1, 1))
    assert words == "1 parameter (4 B), 1 operation in 1 module. 1 parameter was not used in this pass."
    node = helper.make_node("Odd", ["x"], ["y"], domain="own")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (2,)) for name in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("own", 1)])
    (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BadModel, match=r"uses 1 operator that is not known: own::Odd \(set 1, 1x\)"):
        pl.open(tmp_path / "odd.onnx")
    torch.save({"other.w": torch.zeros(2), "weight": torch.zeros(1, 2), "bias": torch.zeros(1)}, tmp_path / "one.pt")
    with pytest.raises(BadModel, match="1 tensor has no place"):
        pl.open(tmp_path / "one.pt", architecture=nn.Linear(2, 1))


def test_a_module_that_runs_three_times_is_one() -> None:
    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(self.layer(x)))

    model = Again()
    assert pl.map(model, (1, 4)).totals.modules == len(list(model.modules()))
