"""Why an input does not fit a model: said from the layer that refused it, where arithmetic proves it, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from pellucid.core.errors import BadInput, PellucidError
from pellucid.core.tensors import Tensors

_CONVOLUTIONS = {nn.Conv1d: "length", nn.Conv2d: "height, width", nn.Conv3d: "depth, height, width"}
_SIZE = "Give inputs of the size used in training, batch axis first."


def misfit(error: Exception, model: nn.Module, x: Tensors) -> PellucidError | None:
    """The sentence for an error that a layer of torch's own raised because of what it was given; None for any other.

    Only what can be checked is claimed: an exception out of the user's own code is never explained away.
    """
    if (stated := _unlike_stated(model, x)) is not None:
        return stated
    layer, given = _refused(error.__traceback__)
    if layer is None or not isinstance(given, Tensor):
        return None
    facts = _kind(layer, given) or _shape(layer, given)
    if facts is None:
        return None
    what, hint = facts
    path = next((name for name, module in model.named_modules() if module is layer), "")
    at = f"{repr(path) if path else 'the model'} ({type(layer).__name__})"
    # samples come in by the first axis, however many go through at once
    shapes = ", ".join(f"{name!r} [{', '.join(['batch', *map(str, v.shape[1:])])}]" for name, v in x.items())
    return BadInput(f"Input {shapes} does not fit: {at} {what}.", hint)


def _unlike_stated(model: nn.Module, x: Tensors) -> BadInput | None:
    """For a model that a file states the inputs of: the one whose shape differs, but for the number of samples."""
    fixed: Mapping[str, tuple[int | None, ...]] = getattr(model, "fixed_axes", {})
    for name, v in x.items():
        sizes, shape = fixed.get(name, ()), tuple(v.shape)
        if len(sizes) != len(shape) or all(n in (None, s) for n, s in zip(sizes[1:], shape[1:], strict=True)):
            continue
        wanted = ", ".join(["batch", *("any" if n is None else str(n) for n in sizes[1:])])
        given = ", ".join(["batch", *map(str, shape[1:])])
        picture = len(sizes) == 4 and sizes[2] == sizes[3] and sizes[2] is not None and sizes[2:] != shape[2:]
        hint = f"Prepare pictures at its size: pl.Preparation({sizes[2]}), --preparation size={sizes[2]}."
        return BadInput(
            f"Input {name!r} [{given}] does not fit: the file was made for [{wanted}], and this does not run.",
            hint if picture else f"Give an input of [{wanted}].",
        )
    return None


def _refused(trace: TracebackType | None) -> tuple[nn.Module | None, Any]:
    """The innermost layer of torch's own in which an error arose, and what it was given."""
    found: tuple[nn.Module | None, Any] = (None, None)
    while trace is not None:
        held = trace.tb_frame.f_locals
        layer = held.get("self")
        if isinstance(layer, nn.Module) and "forward" in trace.tb_frame.f_code.co_name:
            inner = trace.tb_frame.f_globals.get("__name__", "").startswith("torch.nn.modules")
            found = (layer, held.get("input")) if inner else (None, None)
        trace = trace.tb_next
    return found


def _kind(layer: nn.Module, given: Tensor) -> tuple[str, str] | None:
    """A number format that the layer does not compute in."""
    weight = getattr(layer, "weight", None)
    tables = nn.Embedding | nn.EmbeddingBag  # these take whole numbers
    if not isinstance(weight, Tensor) or isinstance(layer, tables) or weight.dtype == given.dtype:
        return None
    formats = f"has {_name(weight)} weights and was given {_name(given)}"
    if not given.is_floating_point() and not given.is_complex():
        return formats, "Use net.read(picture), or prepare the values as in training and give x.float()."
    return formats, "Make the model one format: model.float()."


def _name(v: Tensor) -> str:
    return str(v.dtype).removeprefix("torch.")


def _shape(layer: nn.Module, given: Tensor) -> tuple[str, str] | None:
    """A shape that the layer cannot take."""
    shape = tuple(given.shape)
    for kind, axes in _CONVOLUTIONS.items():
        if isinstance(layer, kind):
            return _convolution(layer, shape, axes)
    if isinstance(layer, nn.Linear) and shape[-1:] != (layer.in_features,):
        return f"takes {layer.in_features} features and was given {shape}", _SIZE
    if isinstance(layer, nn.Embedding) and given.numel():
        low, high = int(given.min()), int(given.max())
        if low < 0 or high >= layer.num_embeddings:
            knows = f"knows the numbers 0 to {layer.num_embeddings - 1} and was given {low} to {high}"
            return knows, "Use the model's own tokenizer."
    features = getattr(layer, "num_features", None)
    if isinstance(features, int) and len(shape) > 1 and shape[1] != features:
        return f"takes {features} channels and was given {shape}", _SIZE
    return None


def _convolution(layer: Any, shape: tuple[int, ...], axes: str) -> tuple[str, str] | None:
    expected = f"takes [batch, {layer.in_channels}, {axes}] and was given {shape}"
    if len(shape) != len(layer.kernel_size) + 2:
        return expected, "Add the batch axis: x[None]."
    if shape[1] != layer.in_channels:
        return expected, f"Give {layer.in_channels} channels, after the batch axis."
    if not isinstance(layer.padding, str):
        spans = zip(layer.kernel_size, layer.dilation, layer.padding, shape[2:], strict=True)
        if any((k - 1) * d + 1 > side + 2 * p for k, d, p, side in spans):
            return f"has a window of {tuple(layer.kernel_size)} and was given {shape}", "Give a larger input."
    return None
