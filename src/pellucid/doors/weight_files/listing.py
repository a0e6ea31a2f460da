"""The weights in a file, whatever its architecture: names, shapes, types and statistics, read in small pieces."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.kinds import IN_PARTS, kind_of, meant
from pellucid.doors.model_file import refusal
from pellucid.doors.torch.state_dicts import weights_of_file
from pellucid.doors.transformers.files import weight_files
from pellucid.doors.weight_files.entries import ITEM, Entry, Listing, contiguous, read
from pellucid.doors.weight_files.gguf_blocks import is_unpacked, unpacked_blocks
from pellucid.doors.weight_files.gguf_file import gguf
from pellucid.doors.weight_files.hdf5_file import hdf5
from pellucid.doors.weight_files.numpy_file import arrays
from pellucid.doors.weight_files.safetensors_file import parts_of, safetensors
from pellucid.doors.weight_files.sealed import unchanged

if TYPE_CHECKING:
    from torch import Tensor

_PIECE = 1 << 20  # numbers that are looked at at once


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the numbers of a tensor are like.  `lowest` to `std` are over those that are finite; NaN without any.

    `zeros` is the share of exact zeros, 0 to 1; `bad` counts the NaN and infinite ones.
    """

    lowest: float
    highest: float
    mean: float
    std: float
    zeros: float
    bad: int


def is_listed(path: Path) -> bool:
    """Is it a kind of file whose tensors can be listed?  Raises as `kind_of` does."""
    return kind_of(meant(path)).name in _READERS


def listed(path: str | Path) -> Listing:
    """Every tensor in a file of weights: PyTorch checkpoints, safetensors, GGUF, NumPy archives, HDF5; of a Hugging
    Face folder, in its files of weights.

    Only headers are read.  Raises `BadModel` for a file that holds no list of tensors, or is damaged.
    """
    place = meant(Path(path))
    kind = kind_of(place)
    reader = _READERS.get(kind.name)
    if reader is None:
        raise refusal(place, kind)
    if place.is_dir():
        return reader(place)
    with unchanged(place):
        return reader(place)


def _of_script(path: Path) -> Listing:
    return replace(weights_of_file(path), kind="a TorchScript archive")


def _in_parts(index: Path) -> Listing:
    return _together(index, parts_of(index))


def _in_folder(path: Path) -> Listing:
    folder = path if path.is_dir() else path.parent
    return _together(folder, weight_files(folder))


def _together(whole: Path, files: Sequence[Path]) -> Listing:
    parts = [listed(file) for file in files]
    entries = tuple(e for part in parts for e in part.entries)
    if len({e.name for e in entries}) < len(entries):
        raise BadModel(f"Two parts of {printable(whole.name)} hold tensors of one name.", "Download them again.")
    kind = parts[0].kind if len(parts) == 1 else f"a checkpoint in {len(parts)} parts"
    return Listing(whole, kind, entries, parts[0].metadata, parts[0].notes)


_READERS: dict[str, Callable[[Path], Listing]] = {
    "a PyTorch checkpoint": weights_of_file,
    "a Python pickle": weights_of_file,
    "a TorchScript archive": _of_script,
    "a safetensors file": safetensors,
    IN_PARTS: _in_parts,
    "a GGUF language model": gguf,
    "a NumPy archive": arrays,
    "an HDF5 file": hdf5,
    "a Hugging Face folder": _in_folder,
}


def statistics(entry: Entry) -> Statistics | None:
    """What a tensor's numbers are like, in one pass over pieces of a million; None for packings that are not unpacked.

    >>> import numpy as np, torch
    >>> from functools import partial
    >>> statistics(Entry("a", "float32", (4,), load=partial(torch.tensor, [0.0, 2.0, 4.0, float("nan")])))
    Statistics(lowest=0.0, highest=4.0, mean=2.0, std=1.632..., zeros=0.25, bad=1)
    """
    import torch

    low, high, count, mean, spread, zeros, bad = math.inf, -math.inf, 0, 0.0, 0.0, 0, 0
    found = pieces(entry)
    if found is None:
        return None
    for piece in found:
        x = piece.to(torch.float64)
        fine = x[torch.isfinite(x)]
        bad += len(x) - len(fine)
        zeros += int((x == 0).sum())
        if not len(fine):
            continue
        low, high = min(low, float(fine.min())), max(high, float(fine.max()))
        here, center = len(fine), float(fine.mean())
        step = center - mean  # Chan, Golub and LeVeque (1983): means and spreads of parts, put together
        mean += step * here / (count + here)
        spread += float(((fine - center) ** 2).sum()) + step**2 * count * here / (count + here)
        count += here
    if not count:
        return Statistics(math.nan, math.nan, math.nan, math.nan, zeros / max(1, entry.count), bad)
    return Statistics(low, high, mean, math.sqrt(spread / count), zeros / entry.count, bad)


def pieces(entry: Entry) -> Iterator[Tensor] | None:
    """The numbers of a tensor in flat pieces, in the order of the file; None when nobody here unpacks them."""
    if entry.dtype.startswith("complex"):
        return None
    if entry.place is not None and entry.blocked is not None:
        return _blocks(entry) if is_unpacked(entry.dtype) else None
    if entry.place is not None and _dense(entry):
        return _runs(entry)
    if entry.blocked is not None and entry.load is None:
        return None
    return _cut(entry)


def _cut(entry: Entry) -> Iterator[Tensor]:
    flat = entry.tensor().reshape(-1)
    for start in range(0, len(flat), _PIECE):
        yield flat[start : start + _PIECE]


def _dense(entry: Entry) -> bool:
    """Do its numbers fill a stretch of the file, in whatever order?"""
    if entry.stride is None:
        return True
    axes = sorted(((s, n) for n, s in zip(entry.shape, entry.stride, strict=True) if n > 1), reverse=True)
    return tuple(s for s, _ in axes) == contiguous(tuple(n for _, n in axes))


def _runs(entry: Entry) -> Iterator[Tensor]:
    import torch

    dtype, item = getattr(torch, entry.dtype, None), ITEM[entry.dtype]
    if entry.place is None or not isinstance(dtype, torch.dtype):
        raise BadModel(f"{printable(entry.name)} is stored as {entry.dtype}.", "Update torch.")
    for start in range(0, entry.count, _PIECE):
        count = min(_PIECE, entry.count - start)
        yield torch.frombuffer(read(entry.place, (entry.offset + start) * item, count * item), dtype=dtype)


def _blocks(entry: Entry) -> Iterator[Tensor]:
    import torch

    numbers, size = entry.blocked or (1, 1)
    blocks, step = entry.count // numbers, _PIECE // numbers
    for start in range(0, blocks, step):
        assert entry.place is not None  # noqa: S101 (asked for by the caller)
        data = read(entry.place, start * size, min(step, blocks - start) * size)
        yield torch.from_numpy(unpacked_blocks(entry.dtype, data))
