"""What a network has learned, layer by layer, however it is written: a convolution with what scales its channels after.

A matrix product with a transposed weight and an addition are a linear layer; a batch normalization, or a product and a
sum of each channel with constants, belong to the convolution before them when nothing else reads what lies between.
So a file into whose weights an exporter folded all that has the same layers as the network that it was written from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pellucid.architecture.compared.scaling import (
    BATCHES,
    FACTORS,
    MOVES,
    Constants,
    axis_after,
    batch,
    constant,
    given_to,
    id_of,
    of_batch,
)  # fmt: skip
from pellucid.core.recording.step import Ref
from pellucid.core.recording.tape import Operation, Tape
from pellucid.core.structure import leaves

_CONVOLUTIONS = frozenset({"conv1d", "conv2d", "conv3d"})
_BACK = frozenset({"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"})
_PRODUCTS = frozenset({"matmul", "mm"})
_NORMS = {
    "layer_norm": ("input", "normalized_shape", "weight", "bias"),
    "group_norm": ("input", "num_groups", "weight", "bias"),
    "rms_norm": ("input", "normalized_shape", "weight"),
    "instance_norm": ("input", "running_mean", "running_var", "weight", "bias"),
}
_PRODUCT = ("input", "weight", "bias", "stride", "padding")
_KERNEL_CONVOLUTION = (*_PRODUCT, "dilation", "transposed", "output_padding", "groups")
_OTHERS = frozenset(
    {"embedding", "prelu", "lstm", "gru", "rnn_tanh", "rnn_relu", "multi_head_attention_forward", "bilinear"}
)
LINEAR, BACK = "linear", "transposed convolution"


@dataclass(frozen=True, slots=True)
class Layer:
    """A learned map on a tape, from the value `taken` to the value `put`, whose channels lie along `axis`.

    `operations` are the numbers of those that it is: the first does the work, the others scale and shift.  `weights`
    are values: of a linear map or convolution the weight ("turned": inputs first) and the bias; of others all.
    """

    kind: str
    shape: tuple[int, ...]
    groups: int
    taken: int
    put: int
    axis: int
    operations: tuple[int, ...]
    weights: tuple[int | None, ...]
    turned: bool = False
    after: tuple[Constants, ...] = ()

    @property
    def normalized(self) -> bool:
        """Does a normalization of its own follow it?"""
        multiplied = any(c.how in ("batch_norm", "mul", "div") for c in self.after)
        return self.kind in (LINEAR, BACK) and multiplied


def layers(tape: Tape) -> tuple[Layer, ...]:
    """The layers of a recorded pass, in the order of running.

    >>> import torch
    >>> from pellucid.core.recording.record import record_module
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
    >>> (found,) = layers(record_module(model, (torch.ones(1, 3, 2, 2),), {}))
    >>> found.kind, found.shape, found.operations, found.normalized
    ('linear', (4, 3), (0, 1), True)
    """
    return tuple(_Finding(tape).layers())


def readers(tape: Tape) -> dict[int, list[int]]:
    """The operations that read each value; what the network hands back is read by -1 as well."""
    found: dict[int, list[int]] = {}
    for op in tape.operations:
        for v in () if op.idle else dict.fromkeys(op.inputs):
            found.setdefault(v, []).append(op.index)
    for ref in leaves(tape.result, Ref, deep=True):
        found.setdefault(ref.id, []).append(-1)
    return found


class _Finding:
    def __init__(self, tape: Tape) -> None:
        self.tape, self.readers = tape, readers(tape)
        self.used: set[int] = set()

    def layers(self) -> Iterator[Layer]:
        for op in self.tape.operations:
            if op.index in self.used or op.idle or not op.outputs or not self._varies(op.outputs[0]):
                continue
            found = self._layer(op)
            if found is not None:
                self.used.update(found.operations)
                yield found

    def _layer(self, op: Operation) -> Layer | None:
        name = op.name.rstrip("_").removeprefix("aten.")
        if name in ("_convolution", "convolution"):
            name = "conv_transpose2d" if self.tape.steps[op.index].args[6:7] == (True,) else "conv2d"
            return self._product(op, name, _KERNEL_CONVOLUTION)
        if name in _CONVOLUTIONS or name in _BACK or name == "linear":
            return self._product(op, name)
        if name in _PRODUCTS or name == "addmm":
            return self._matrix(op, name)
        if name in BATCHES:
            return self._normalization(op)
        if name in _NORMS:
            given = given_to(self.tape.steps[op.index], _NORMS[name])
            weights = tuple(self._constant(given.get(key)) for key in ("weight", "bias"))
            axis = 1 if name in ("group_norm", "instance_norm") else -1
            return self._followed(op, name, id_of(given.get("input")), weights, axis)
        if name in FACTORS or name in _OTHERS:
            return self._other(op, FACTORS.get(name, name))
        return None

    def _product(self, op: Operation, name: str, names: tuple[str, ...] = ()) -> Layer | None:
        """A convolution or a linear layer."""
        step = self.tape.steps[op.index]
        back = name in _BACK
        usual = (*_PRODUCT, "output_padding", "groups") if back else (*_PRODUCT, "dilation", "groups")
        given = given_to(step, names or usual)
        weight, taken = self._constant(given.get("weight")), id_of(given.get("input"))
        if weight is None or taken is None:
            return None
        kind = BACK if back else LINEAR
        groups = given.get("groups", 1)
        bias = self._constant(given.get("bias"))
        axis = (
            len(self._shape(op.outputs[0])) - 1
            if name == "linear"
            else len(self._shape(op.outputs[0])) - (len(self._shape(weight)) - 1)
        )
        return self._absorbed(op, kind, taken, (weight, bias), axis, groups=groups if name != "linear" else 1)

    def _matrix(self, op: Operation, name: str) -> Layer | None:
        """A product with a constant matrix on the right."""
        args = self.tape.steps[op.index].args
        if name == "addmm":
            if len(args) < 3:
                return None
            bias, taken, weight = self._constant(args[0]), id_of(args[1]), self._constant(args[2])
            if bias is None or self.tape.steps[op.index].kwargs:
                return None
        else:
            if len(args) < 2:
                return None
            bias, taken, weight = None, id_of(args[0]), self._constant(args[1])
        if weight is None or taken is None or not self._varies(taken) or len(self._shape(weight)) != 2:
            return None
        axis = len(self._shape(op.outputs[0])) - 1
        return self._absorbed(op, LINEAR, taken, (weight, bias), axis, turned=True)

    def _absorbed(
        self, op: Operation, kind: str, taken: int, weights: tuple[int | None, ...], axis: int, *, turned: bool = False,
        groups: int = 1,
    ) -> Layer:  # fmt: skip
        """The layer with what scales and shifts its channels afterwards."""
        put, axis, operations, after = self._after(op, axis)
        shape = self._shape(weights[0])
        shape = shape[::-1] if turned else shape
        if kind == BACK:
            shape = (shape[1] * groups, shape[0] // groups, *shape[2:])
        kernel = tuple(n for n in shape[2:] if n != 1)
        return Layer(kind, (*shape[:2], *kernel), groups, taken, put, axis, operations, weights, turned, after)

    def _normalization(self, op: Operation) -> Layer | None:
        constants = batch(self.tape, op)
        if constants is None:
            return None
        taken = id_of(of_batch(self.tape, op).get("input"))
        if taken is None:
            return None
        shape = self._shape(constants.values[1])
        return Layer("batch_norm", shape, 1, taken, op.outputs[0], 1, (op.index,), (), after=(constants,))

    def _followed(
        self, op: Operation, kind: str, taken: int | None, weights: tuple[int | None, ...], axis: int
    ) -> Layer | None:
        if taken is None:
            return None
        put, axis, operations, after = self._after(op, axis % len(self._shape(op.outputs[0])))
        sizes = (v for v in (*weights, *(v for c in after for v in c.values)) if v is not None)
        shape = next(((self.tape.values[v].shape) for v in sizes), ())
        shape = tuple(n for n in shape if n != 1)
        if not shape:
            return None
        return Layer(kind, shape, 1, taken, put, axis, operations, weights, after=after)

    def _other(self, op: Operation, kind: str) -> Layer | None:
        """An operation with constants that were learned: an embedding, a recurrent layer, an added table."""
        held = tuple(v for v in op.inputs if self._learned(v))
        taken = next((v for v in op.inputs if self._varies(v)), None)
        if not held or taken is None:
            return None
        shape = tuple(n for n in self._shape(held[0]) if n != 1)
        axis = len(self._shape(op.outputs[0])) - 1
        if axis < 0:
            return None
        return Layer(kind, shape, 1, taken, op.outputs[0], axis, (op.index,), held)

    def _after(self, op: Operation, axis: int) -> tuple[int, int, tuple[int, ...], tuple[Constants, ...]]:
        """Which value stands after all that scales and shifts the channels, and what that is."""
        put, last, operations, after = op.outputs[0], axis, [op.index], list[Constants]()
        value, ahead, moved = put, axis, list[int]()
        while len(self.readers.get(value, ())) == 1 and self.readers[value][0] >= 0:
            reader = self.tape.operations[self.readers[value][0]]
            name = reader.name.rstrip("_").removeprefix("aten.")
            if len(reader.outputs) != 1 and name not in BATCHES:
                break
            turned = axis_after(self.tape, reader, name, ahead, len(self._shape(value))) if name in MOVES else None
            found = None if turned is not None else self._constants(reader, name, value, ahead)
            if turned is None and found is None:
                break
            value, ahead = reader.outputs[0], ahead if turned is None else turned
            moved.append(reader.index)
            if found is not None:
                after.append(found)
                operations += moved
                put, last, moved = value, ahead, []
        return put, last, tuple(operations), tuple(after)

    def _constants(self, op: Operation, name: str, value: int, axis: int) -> Constants | None:
        if name in BATCHES:
            return batch(self.tape, op) if axis == 1 and id_of(of_batch(self.tape, op).get("input")) == value else None
        if name not in FACTORS:
            return None
        args = self.tape.steps[op.index].args
        if len(args) != 2 or self.tape.steps[op.index].kwargs:
            return None
        how = FACTORS[name]
        other = args[1] if id_of(args[0]) == value else args[0] if how in ("add", "mul") else None
        constant = self._constant(other)
        if constant is None:
            return None
        size = self._shape(value)
        shape = (1,) * (len(size) - len(self._shape(constant))) + self._shape(constant)
        fits = len(shape) == len(size) and all(n == (size[k] if k == axis else 1) for k, n in enumerate(shape))
        return Constants(how, (constant,)) if fits else None

    def _constant(self, argument: Any) -> int | None:
        return constant(self.tape, argument)

    def _learned(self, v: int) -> bool:
        value = self.tape.values[v]
        return not value.varies and "float" in value.dtype and max(value.shape, default=1) > 1

    def _varies(self, v: int) -> bool:
        return self.tape.values[v].varies

    def _shape(self, v: int | None) -> tuple[int, ...]:
        return () if v is None else self.tape.values[v].shape
