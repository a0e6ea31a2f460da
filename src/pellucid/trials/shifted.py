"""A network that takes its input in other units, so that zero lies elsewhere, and computes the same for all that."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pellucid.core.errors import PellucidError
from pellucid.core.network import Network
from pellucid.core.tensors import Tensors
from pellucid.trials.unlearned import Layer, layers_of

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
ROUNDING = 1e-3  # of the largest output: by how much the two networks may differ


class Padded(nn.Module):
    """A convolution that pads with a number other than zero."""

    def __init__(self, layer: nn.Module, pad: list[int], value: float) -> None:
        super().__init__()
        self.layer, self.pad, self.value = layer, pad, value

    def forward(self, x: Tensor) -> Tensor:
        """Pad, then convolve."""
        out: Tensor = self.layer(functional.pad(x, self.pad, value=self.value))
        return out


def shifted(net: Network, x: Tensors, name: str, shift: float) -> tuple[Network, bool] | None:
    """The network for inputs to which (to input `name`) `shift` was added, and whether its first layer undoes that.

    The shift is folded into the bias of the first layer: b - shift * (sum of a unit's weights); a convolution that pads
    with zeros pads with the shift.  Both networks are then run, on both inputs, and must put out the same: a network
    that normalizes or pads its input first, or reads it in several places, is found so, and has the shift taken off in
    front of it instead.  None where neither can be done (scripted code).

    >>> net = Network(nn.Linear(3, 2))
    >>> other, folded = shifted(net, {"input": torch.ones(1, 3)}, "input", 2.0)
    >>> torch.allclose(other.model(torch.full((1, 3), 3.0)), net.model(torch.ones(1, 3)), atol=1e-5), folded
    (True, True)
    """
    first = next(iter(layers_of(net, x)), None)
    for change in (_in_the_first_layer, _in_front):
        with net.lease() as leased, torch.no_grad():
            before = net.pick(net.call(leased, x)).clone()
            try:
                model = change(net, copy.deepcopy(leased) if net.borrowed_because else leased, first, name, shift)
                after = None if model is None else net.pick(net.call(model, {**x, name: x[name] + shift}))
            except (AttributeError, RuntimeError, TypeError, ValueError, PellucidError):  # copied or changed in vain
                continue
        if model is None or after is None or after.shape != before.shape:
            continue
        if not bool((after - before).abs().max() > ROUNDING * before.abs().max()):
            title = f"{net.name}, input shifted"
            other = Network(model, inputs=net.inputs, labels=net.labels, output=net.output, name=title)
            return other, change is _in_the_first_layer
    return None


def _in_the_first_layer(_: Network, model: nn.Module, first: Layer | None, name: str, shift: float) -> nn.Module | None:
    layer = None if first is None else model.get_submodule(first.name)
    return _with(model, first.name, _folded(layer, shift)) if first and isinstance(layer, _LAYERS) else None


def _in_front(net: Network, model: nn.Module, _: Layer | None, name: str, shift: float) -> nn.Module:
    """A hook and no module around the model, so that every module keeps its path."""
    model.register_forward_pre_hook(partial(_take_off, name, net.inputs.index(name), shift), with_kwargs=True)
    return model


def _take_off(name: str, place: int, shift: float, _: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    if name in kwargs:
        return args, {**kwargs, name: kwargs[name] - shift}
    return (*args[:place], args[place] - shift, *args[place + 1 :]), kwargs


def _with(model: nn.Module, path: str, layer: nn.Module) -> nn.Module:
    """The model with another layer at a path; the model is changed, so it must be a double."""
    if not path:
        return layer
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, layer)
    return model


def _folded(layer: Any, shift: float) -> nn.Module:
    weight: Tensor = layer.weight
    bias = layer.bias
    new: Any = copy.copy(layer)
    new._parameters = dict(layer._parameters)
    start = bias.detach() if isinstance(bias, Tensor) else weight.new_zeros(len(weight))
    new.bias = nn.Parameter(start - shift * weight.detach().flatten(1).sum(1), requires_grad=False)
    pad = _padding(layer) if hasattr(layer, "kernel_size") else []
    if any(pad) and layer.padding_mode == "zeros":  # other paddings take from the input, and shift with it
        new.padding = "valid" if isinstance(layer.padding, str) else (0,) * len(layer.kernel_size)
        new = Padded(new, pad, shift)
    done: nn.Module = new
    return done


def _padding(layer: Any) -> list[int]:
    """How much a convolution pads, as functional.pad wants it: last axis first, before and after."""
    sides: list[int] = []
    kernel, dilation, padding = layer.kernel_size, layer.dilation, layer.padding
    for i, (k, d) in reversed(list(enumerate(zip(kernel, dilation, strict=True)))):
        if isinstance(padding, str):
            total = d * (k - 1) if padding == "same" else 0
            sides += [total // 2, total - total // 2]
        else:
            sides += [padding[i]] * 2
    return sides
