"""Which stored tensors say how to compute and are no parameters, by the operator that reads them and where."""

from __future__ import annotations

from collections.abc import Mapping

from pellucid.doors.onnx.graph import Node

_NOT: Mapping[str, tuple[int, ...]] = {  # inputs of floating numbers
    "BatchNormalization": (3, 4), "Resize": (1, 2), "Upsample": (1,), "Clip": (1, 2), "Pad": (2,), "Range": (0, 1, 2),
    "Dropout": (1, 2), "OneHot": (2,), "Pow": (1,),
}  # fmt: skip


def is_setting(node: Node, position: int) -> bool:
    """Is that input of a node a statistic, a limit, a scale of a picture or the like?

    >>> is_setting(Node("Clip", ("x", "low"), ("y",)), 1), is_setting(Node("Conv", ("x", "w"), ("y",)), 1)
    (True, False)
    """
    return position in _NOT.get(node.op, ())
