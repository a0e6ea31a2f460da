"""Why an input does not fit a model: said from the layer that refused it, where arithmetic proves it, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from torch import Tensor, nn

from pellucid.core.errors import BadInput, PellucidError
from pellucid.core.facing import fits, shape_in_words
from pellucid.core.preparation import Preparation
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
    for name, wanted, given in _other_sizes(model, x):
        what = f"Input {name!r} {shape_in_words(given)} does not fit: the file was made for {shape_in_words(wanted)}"
        return BadInput(f"{what}, and this does not run.", *how_to_fit(wanted))
    return None


def unlike_size(model: nn.Module, x: Tensors) -> str:
    """A sentence on an input that runs, and is of another size than the file states; '' where it is of that size."""
    for name, wanted, given in _other_sizes(model, x):
        made, is_ = shape_in_words(wanted), shape_in_words(given)
        return f"The file was made for {name!r} {made} and was given {is_}: it runs, outside of what it was made for."
    return ""


def _other_sizes(model: nn.Module, x: Tensors) -> Iterator[tuple[str, tuple[int | None, ...], tuple[int, ...]]]:
    """The inputs of another size than a file fixes, with the two shapes of one sample."""
    fixed: Mapping[str, tuple[int | None, ...]] = getattr(model, "fixed_axes", {})
    for name, v in x.items():
        wanted, given = fixed.get(name, ())[1:], tuple(v.shape[1:])
        if len(wanted) == len(given) and not fits(given, wanted):
            yield name, wanted, given


def how_to_fit(wanted: Sequence[int | None], like: Preparation | None = None) -> tuple[str, str]:
    """The next step for an input of another shape than the one sample's that is wanted, in Python and as it is typed.

    For pictures a preparation, with the numbers of the one that they are `like` where it has as many channels.

    >>> how_to_fit((1, 28, 28))[1]
    'Say its size and colors: --preparation size=28,mean=0.5,std=0.5 (one number: gray), as in training.'
    >>> how_to_fit((6,))[0]
    'Give an input of [batch, 6].'
    """
    if len(wanted) != 3 or wanted[0] not in (1, 3) or wanted[1] != wanted[2]:
        hint = f"Give an input of {shape_in_words(wanted)}"
        sizes = "x".join(["1", *(str(n or 1) for n in wanted)])
        return f"{hint}.", f"{hint}: in Python, pl.explain(net, x); for a map, --shape {sizes}."
    channels, size = wanted[0], wanted[1] or 224
    known = like is not None and like.channels == channels
    usual = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if channels == 3 else ((0.5,), (0.5,))
    mean, std = (like.mean, like.std) if like is not None and known else usual
    numbers = ",".join(f"{k}={'/'.join(f'{n:g}' for n in v)}" for k, v in (("mean", mean), ("std", std)))
    gray = " (one number: gray)" if channels == 1 else ""
    return (
        f"Say its size and colors: pl.open(model, preparation=pl.Preparation(size={size}, mean={mean}, std={std})), "
        "with the numbers it was trained with.",
        f"Say its size and colors: --preparation size={size},{numbers}{gray}, as in training.",
    )


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
