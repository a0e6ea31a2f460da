"""An imported model as a Network: its inputs and labels, and what the file says, or does not say, about preparation."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.doors.files import printable
from pellucid.doors.onnx import functions, order, scores, support
from pellucid.doors.onnx.file import guard
from pellucid.doors.onnx.graph import Dims, Model
from pellucid.doors.onnx.joined import fused
from pellucid.doors.onnx.running import build
from pellucid.doors.onnx.running.module import OnnxModule
from pellucid.doors.onnx.running.values import named_dtype
from pellucid.doors.pictures.reading import read

_LABELS = ("names", "labels", "classes", "class_names")
_LONGEST = 4 << 20
# What the standard's own metadata says about pictures: https://github.com/onnx/onnx/blob/main/docs/MetadataProps.md
_RANGES = {"Normalized_0_1": (0.0, 1.0), "Normalized_1_1": (0.5, 0.5), "NominalRange_0_255": (0.0, 1 / 255)}


def network(model: Model, path: Path, preparation: Preparation | None = None) -> Network:
    """The network of a parsed file.  Raises `BadModel` when it holds unknown operators or more than fits in memory."""
    guard.refuse_too_large(model)
    whole = fused.fused(order.ordered(functions.inlined(model)))
    support.refuse_unknown(whole)
    ending = scores.offered(whole)
    module = build.module(ending.model)
    stated = preparation or _stated(model, module)
    notes = [f"Exported by {model.producer}."] if model.producer else []
    if stated is None and _takes_pictures(module):
        notes.append(
            "The file does not say how pictures are prepared: state it with "
            "pl.open(path, preparation=pl.Preparation(size, mean=..., std=...))."
        )
    if ending.note:
        notes.append(ending.note)
    if module.last:
        notes.append("The file keeps channels last; here pictures and maps have them first: [batch, channels, ...].")
    if module.batch is not None and not frees_its_batch(module):
        notes.append(f"The file was exported for exactly {module.batch} sample at a time.")
    return Network(
        module,
        inputs=[v.name for v in module.inputs],
        labels=labels(model.metadata),
        preparation=stated,
        name=path.stem,
        output=ending.output,
        head=ending.head,
        source=str(path),
        reader=read,
        notes=notes,
    )


def labels(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Class names that an exporter wrote into the metadata: a dictionary, a list, or one a line.

    >>> labels({"names": "{0: 'person', 1: 'bicycle'}"})
    ('person', 'bicycle')
    """
    for key in _LABELS:
        text = metadata.get(key, "")
        if text and len(text) <= _LONGEST:
            found = _list(text)
            if found:
                return tuple(printable(str(v)) for v in found)
    return ()


def _list(text: str) -> list[Any]:
    for reader in (json.loads, ast.literal_eval):
        try:
            value = reader(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return _by_number(value)
        return list(value) if isinstance(value, list | tuple) else []
    lines = text.strip().splitlines()
    return lines if len(lines) > 1 else [part.strip() for part in text.split(",") if part.strip()]


def _by_number(value: dict[Any, Any]) -> list[Any]:
    try:
        numbered = {int(k): v for k, v in value.items()}
    except (TypeError, ValueError):
        return []
    return [numbered[i] for i in range(len(numbered))] if set(numbered) == set(range(len(numbered))) else []


def _takes_pictures(module: OnnxModule) -> bool:
    shape = module.seen(module.inputs[0]) if len(module.inputs) == 1 else None
    return shape is not None and len(shape) == 4


def _stated(model: Model, module: OnnxModule) -> Preparation | None:
    """Only from the standard's own metadata, and only when it says everything: size, order of colors and range."""
    shape = module.seen(module.inputs[0]) if _takes_pictures(module) else None
    size = shape[2] if shape is not None else None
    colors = model.metadata.get("Image.BitmapPixelFormat", "")
    scale = _RANGES.get(model.metadata.get("Image.NominalPixelRange", ""))
    if not isinstance(size, int) or size < 1 or colors not in ("Rgb8", "Bgr8", "Gray8") or scale is None:
        return None
    channels = 1 if colors == "Gray8" else 3
    mean, std = (scale[0],) * channels, (scale[1],) * channels
    return Preparation(size, mean=mean, std=std, bgr=colors == "Bgr8", source="the file's own metadata")


def frees_its_batch(module: OnnxModule) -> bool:
    """Does a model that was exported for one sample compute the same when it is given two?  Tried out, on noise.

    Shapes that such a file fixes begin with 1; where the first axis is the batch, they mean as many samples as come.
    If it does, `module.batch` is set free.
    """
    declared, module.batch = module.batch, None
    try:
        two = [_noise(module.seen(v), v.dtype, i) for i, v in enumerate(module.inputs)]
        with torch.no_grad():
            together = _parts(module(*two))
            alone = [_parts(module(*(x[i : i + 1] for x in two))) for i in range(2)]
        if all(
            torch.allclose(whole.float(), torch.cat(parts).float(), rtol=1e-3, atol=1e-5, equal_nan=True)
            for whole, *parts in zip(together, *alone, strict=True)
        ):
            return True
    except Exception:  # whatever it is that the file's fixed shapes lead to
        together = []
    module.batch = declared
    return False


def _noise(one: Dims | None, dtype: str, number: int) -> Tensor:
    shape = [2, *(d if isinstance(d, int) and d > 0 else 32 for d in (one or ())[1:])]
    kind = named_dtype(dtype)
    steps = torch.arange(torch.Size(shape).numel(), dtype=torch.float64).reshape(shape)
    noise = torch.frac(torch.sin(steps * 12.9898 + number) * 43758.5453).abs()
    return noise.to(kind) if kind.is_floating_point else (noise * 2).to(kind)


def _parts(out: Any) -> list[Tensor]:
    return [v for v in (out.values() if isinstance(out, dict) else [out]) if isinstance(v, Tensor)]
