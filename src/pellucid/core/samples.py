"""Many inputs that may be looked at again: a tensor, a list, a folder of pictures, a torch data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pellucid.core.counts import count
from pellucid.core.errors import BadInput, PellucidError
from pellucid.core.network import Network
from pellucid.core.tensors import Tensors, as_tensors, joined


@runtime_checkable
class Samples(Protocol):
    """Anything with a length and numbered items: a tensor `[n, ...]`, a list, `pellucid.pictures`, a torch `Dataset`.

    An item is one sample: a tensor without a batch axis, a mapping of such by input name, or a tuple whose first entry
    is one of these (the others, such as a label, are left alone).  A picture may keep its batch axis of one, as
    `net.read` gives it.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Collection:
    """Samples as one network reads them; those that cannot be read are left out, and why is noted in `skipped`."""

    net: Network
    samples: Samples
    skipped: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse(self.samples)

    def __len__(self) -> int:
        return len(self.samples)

    def name(self, i: int) -> str:
        """What a sample is called: its file's name where it has one, else its number."""
        names: Sequence[str] = getattr(self.samples, "names", ())
        return str(names[i]) if len(names) > i else f"sample {i}"

    def __getitem__(self, i: int) -> Tensors:
        """One sample as a batch of one; raises `BadInput` when it is nothing that the network takes."""
        item = self.samples[i]
        item = item[0] if isinstance(item, tuple | list) else item
        one = item if isinstance(item, dict) else {self.net.inputs[0]: item}
        return as_tensors({k: self._with_batch(v) for k, v in one.items()}, self.net.inputs)

    def _with_batch(self, v: Any) -> Any:
        if not isinstance(v, Tensor):
            v = torch.as_tensor(v)
        has_batch = v.ndim == 4 and len(v) == 1 and self.net.preparation is not None
        return v if has_batch else v[None]

    def batches(self, size: int) -> Iterator[tuple[list[int], Tensors]]:
        """All samples in order, up to `size` of one shape at a time, with their numbers."""
        numbers, waiting = list[int](), list[Tensors]()
        for i in range(len(self)):
            try:
                one = self[i]
            except PellucidError as why:
                self.skipped[i] = f"{self.name(i)}: {why.what}"
                continue
            if waiting and (len(waiting) == size or _shapes(one) != _shapes(waiting[0])):
                yield numbers, joined(waiting)
                numbers, waiting = [], []
            numbers.append(i)
            waiting.append(one)
        if waiting:
            yield numbers, joined(waiting)
        elif len(self.skipped) == len(self):
            first = next(iter(self.skipped.values()))
            raise BadInput(f"None of the {count(len(self), 'sample')} could be read. {first}")


def _refuse(samples: object) -> None:
    if not isinstance(samples, Samples):
        kind = type(samples).__name__
        raise BadInput(f"A {kind} has no length or no numbered items.", "Give a tensor, a list, or loader.dataset.")
    if len(samples) == 0:
        raise BadInput("There are no samples.", "Give at least one.")


def _shapes(x: Tensors) -> dict[str, tuple[int, ...]]:
    return {k: tuple(v.shape) for k, v in x.items()}
