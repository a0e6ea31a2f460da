"""Inputs in one shape.  Users pass a tensor, a tuple or a mapping; everything inside sees `Tensors`, batch first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pellucid.core.counts import count as counted
from pellucid.core.counts import were_given
from pellucid.core.errors import BadInput

Tensors: TypeAlias = dict[str, Tensor]
Inputs: TypeAlias = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


def as_tensors(x: Inputs, names: Sequence[str]) -> Tensors:
    """Name the inputs and check them, once, here, so that no method ever has to."""
    given = _named(x, names)
    if not given:
        raise BadInput("No input was given.", f"The network takes: {', '.join(names) or 'nothing'}.")
    for name, v in given.items():
        _check(name, v)
    sizes = ", ".join(f"{name} {len(v)}" for name, v in given.items())
    if len({len(v) for v in given.values()}) != 1:
        raise BadInput(f"The inputs hold different numbers of samples: {sizes}.", "Make their first axes equally long.")
    return given


def by_name(names: Sequence[str], sizes: Mapping[str, Sequence[int | None]] | None = None) -> tuple[str, str]:
    """The hint for a network of these inputs that was not given all of them: in Python, and as it is typed for a map.

    `sizes`: the shapes that are known of them, None for an axis of any size.

    >>> by_name(["image", "age"])[0]
    'It takes: image, age. Give them by name: pl.explain(net, {"image": ..., "age": ...}).'
    >>> by_name(["ids", "age"], {"ids": (None, 6), "age": (None, 1)})[1]
    'It takes: ids, age. A map takes them as --shape ids=1x6,age=1x1; explained they are in Python.'
    """
    takes = f"It takes: {', '.join(names)}."
    if len(names) < 2:
        return takes, takes
    shown = ", ".join(f'"{name}": ...' for name in names)
    typed = ",".join(f"{name}={'x'.join(str(n or 1) for n in (sizes or {}).get(name) or (1, None))}" for name in names)
    return (
        f"{takes} Give them by name: pl.explain(net, {{{shown}}}).",
        f"{takes} A map takes them as --shape {typed}; explained they are in Python.",
    )


def _named(x: object, names: Sequence[str]) -> Tensors:
    if isinstance(x, Mapping):
        return dict(x)
    given: list[Any] = list(x) if isinstance(x, list | tuple) else [x]
    if len(given) > len(names):
        takes = ", ".join(names) or "nothing"
        raise BadInput(f"{were_given(len(given), 'input')}; the network takes {len(names)}.", f"It takes: {takes}.")
    return dict(zip(names, given, strict=False))


def _check(name: str, v: object) -> None:
    if not isinstance(v, Tensor):
        raise BadInput(f"Input {name!r} is a {type(v).__name__}, expected a tensor.", "Use net.read(file).")
    if v.layout != torch.strided or v.is_quantized:
        kind = "quantized" if v.is_quantized else str(v.layout).removeprefix("torch.")
        raise BadInput(f"Input {name!r} is a {kind} tensor, expected a dense one.", "Use to_dense() or dequantize().")
    if v.ndim == 0:
        raise BadInput(f"Input {name!r} is a single number; expected a batch, samples first.", "Add an axis: x[None].")
    if v.numel() == 0:
        raise BadInput(f"Input {name!r} is empty: its shape is {tuple(v.shape)}.", "Give at least one sample.")
    if v.is_complex():
        raise BadInput(f"Input {name!r} is complex ({v.dtype}); expected real numbers.", "Use torch.view_as_real.")
    if v.is_meta:
        raise BadInput(f"Input {name!r} is on the meta device: it holds no numbers.", "Give real values.")
    if not finite(v):
        count = int((~torch.isfinite(v)).sum())
        raise BadInput(
            f"Input {name!r} holds {counted(count, 'value that is', 'values that are')} NaN or infinite.",
            "Replace them beforehand.",
        )


def finite(v: Tensor) -> bool:
    """Is every value a number?  One sum tells nearly always: NaN and infinity survive it, and only it can overflow.

    >>> finite(torch.tensor([1.0, float("inf"), float("-inf")])), finite(torch.tensor([3e38, 3e38]))
    (False, True)
    """
    v = v.detach()
    return not v.is_floating_point() or bool(torch.isfinite(v.sum())) or bool(torch.isfinite(v).all())


def batch_size(x: Tensors) -> int:
    """How many samples."""
    return len(next(iter(x.values())))


def rows(x: Tensors, start: int, stop: int) -> Tensors:
    """Some of the samples."""
    return {k: v[start:stop] for k, v in x.items()}


def joined(parts: Sequence[Tensors]) -> Tensors:
    """Samples of several batches in one."""
    return parts[0] if len(parts) == 1 else {k: torch.cat([p[k] for p in parts]) for k in parts[0]}


def each(fn: Callable[..., Tensor], *trees: Tensors) -> Tensors:
    """Apply `fn` to the floating tensors of equally named trees; whole numbers are left out."""
    return {k: fn(*(t[k] for t in trees)) for k, v in trees[0].items() if v.is_floating_point()}


def add_to(sums: Tensors, terms: Tensors, weight: float = 1.0) -> None:
    """Add weighted terms to running sums, in place: many passes then need no more memory than one."""
    for k, v in sums.items():
        v.add_(terms[k], alpha=weight)


def per_sample(v: Tensor, like: Tensor) -> Tensor:
    """One number a sample, viewed so that it broadcasts over `like`."""
    return v.reshape(-1, *[1] * (like.ndim - 1))


def total(x: Tensors) -> Tensor:
    """The sum over everything but the samples."""
    sums = [v.flatten(1).sum(1) if v.ndim > 1 else v for v in x.values()]
    return torch.stack(sums).sum(0)


def digest(v: Tensor) -> str:
    """A name for the content alone, so that noise does not depend on the neighbors in a batch."""
    raw = v.detach().contiguous().cpu().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(raw.numpy().tobytes(), digest_size=8).hexdigest()
