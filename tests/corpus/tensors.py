"""Inputs, targets and options that do not fit, each with what a person should be told about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadModel, BadOption, BadTarget
from pellucid.core.network import Network
from pellucid.core.target import channel, log_odds, neuron, probability, region
from tests.corpus.models import METHODS, Case, picture, table


def linear() -> nn.Module:
    return nn.Linear(4, 3)


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))


def unpooled() -> nn.Module:
    """Fits pictures of one size only."""
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 3)).eval()


def tokens() -> nn.Module:
    return nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 3))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        out: Tensor = self.a(left) + self.b(right)
        return out


class Normalizes(nn.Module):
    """Takes whole numbers, and turns them into others without a table."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean((2, 3))


def give(x: Any, target: Any = 0, method: str = "saliency", **options: Any) -> Callable[[Any], object]:
    return lambda model: METHODS[method](model, x, target, **options)


def with_value(value: float) -> Tensor:
    x = table()
    x[0, :2] = value
    return x


def numbers() -> Iterator[Case]:
    nan, inf = float("nan"), float("inf")
    held = ("'input' holds 2 values", "NaN or infinite", "Replace them")
    yield Case("NaN input", linear, give(with_value(nan)), BadInput, held)
    yield Case("infinite input", linear, give(with_value(inf)), BadInput, held)
    yield Case("complex input", linear, give(table().to(torch.complex64)), BadInput, ("complex64", "view_as_real"))
    yield Case("meta input", linear, give(table().to("meta")), BadInput, ("meta device", "Give real values"))
    yield Case("sparse input", linear, give(table().to_sparse()), BadInput, ("sparse_coo", "to_dense()"))
    yield Case("quantized input", linear, _quantized, BadInput, ("quantized", "dequantize()"))
    read = ("(Conv2d)", "float32 weights", "net.read(picture)", "x.float()")
    whole = torch.arange(192).reshape(1, 3, 8, 8)
    yield Case("pixels 0 to 255", convolutional, give(whole.to(torch.uint8)), BadInput, (*read, "given uint8"))
    yield Case("pixels as int", convolutional, give(whole), BadInput, (*read, "given int64"))
    yield Case("a mask", convolutional, give(picture() > 0), BadInput, (*read, "given bool"))
    yield Case("int table", linear, give(torch.ones(2, 4).long()), BadInput, ("the model (Linear)", "given int64"))
    yield Case("ints, no table", Normalizes, give(whole), BadModel, ("whole numbers (x)", "embedding table"))
    unknown = ("'0' (Embedding)", "0 to 6", "given 1 to 9", "tokenizer")
    yield Case("unknown token", tokens, give(torch.tensor([[1, 9, 2]])), BadInput, unknown)


def _quantized(model: Any) -> object:
    return METHODS["saliency"](model, torch.quantize_per_tensor(table(), 0.1, 0, torch.qint8), 0)


def shapes() -> Iterator[Case]:
    yield Case("one number", linear, give(torch.tensor(1.0)), BadInput, ("single number", "x[None]"))
    yield Case("empty batch", linear, give(torch.zeros(0, 4)), BadInput, ("empty", "(0, 4)", "at least one"))
    yield Case("no columns", linear, give(torch.zeros(2, 0)), BadInput, ("empty", "(2, 0)", "at least one"))
    plan = "takes [batch, 3, height, width]"
    gray = ("[batch, 1, 8, 8]", "'0' (Conv2d)", plan, "3 channels")
    yield Case("gray picture", convolutional, give(torch.ones(2, 1, 8, 8)), BadInput, gray)
    last = ("[batch, 8, 8, 3]", plan, "after the batch axis")
    yield Case("channels last", convolutional, give(picture().permute(0, 2, 3, 1)), BadInput, last)
    single = ("[batch, 8, 8]", plan, "given (1, 8, 8)", "x[None]")
    yield Case("no batch axis", convolutional, give(picture()[0]), BadInput, single)
    tiny = ("[batch, 3, 2, 2]", "window of (3, 3)", "larger")
    yield Case("too small a picture", convolutional, give(torch.ones(1, 3, 2, 2)), BadInput, tiny)
    size = ("[batch, 3, 9, 9]", "'3' (Linear)", "72 features", "(1, 98)")
    yield Case("another size", unpooled, give(torch.ones(1, 3, 9, 9)), BadInput, size)
    wide = ("[batch, 5]", "the model (Linear)", "4 features", "(1, 5)")
    yield Case("too many columns", linear, give(torch.ones(2, 5)), BadInput, wide)
    norm = ("'0' (BatchNorm1d)", "4 channels", "(1, 5)")
    yield Case("norm", lambda: nn.Sequential(nn.BatchNorm1d(4)).eval(), give(torch.ones(2, 5)), BadInput, norm)
    flat = ("No input is a picture", "input (2, 4)", "[batch, channels, height, width]")
    for method in ("grad_cam", "layer_cam", "rise", "sobol", "hsic", "extremal_perturbation"):
        yield Case(f"{method} of a table", linear, give(table(), method=method), BadInput, flat)


def several() -> Iterator[Case]:
    left, right = table(), torch.ones(2, 2)
    sizes = ("different numbers of samples", "left 2, right 1", "first axes")
    yield Case("two batch sizes", Pair, give({"left": left, "right": right[:1]}), BadInput, sizes)
    many = ("3 inputs were given", "takes 2", "left, right")
    yield Case("too many inputs", Pair, give((left, right, right)), BadInput, many)
    more = ("2 inputs were given", "takes 1", "input")
    yield Case("one too many", linear, give((left, right)), BadInput, more)
    name = ("no input 'middle'", "left, right")
    yield Case("unknown input", Pair, give({"left": left, "middle": right}), BadInput, name)
    yield Case("no input", linear, give({}), BadInput, ("No input", "input"))
    wrong = ("expected a tensor", "net.read(file)")
    yield Case("a list of numbers", linear, give([[1.0, 2.0]]), BadInput, ("a list", *wrong))
    yield Case("an array", linear, give(np.ones((2, 4))), BadInput, ("a ndarray", *wrong))
    yield Case("a file name", linear, give("cat.jpg"), BadInput, ("a str", *wrong))
    yield Case("nothing", linear, give(None), BadInput, ("a NoneType", *wrong))
    yield Case("a number", linear, give(3), BadInput, ("a int", *wrong))
    unprepared = ("does not say how pictures are prepared", "pl.open")
    yield Case("a picture file", lambda: Network(linear()), lambda net: net.read("cat.jpg"), BadInput, unprepared)


def targets() -> Iterator[Case]:
    beyond = "classes 0 to 2"
    yield Case("class beyond", linear, give(table(), 7), BadTarget, ("Class 7", beyond))
    yield Case("class below", linear, give(table(), -1), BadTarget, ("Class -1", beyond))
    yield Case("probability beyond", linear, give(table(), probability(3)), BadTarget, ("Class 3", beyond))
    yield Case("log-odds beyond", linear, give(table(), log_odds(99)), BadTarget, ("Class 99", beyond))
    named = lambda: Network(linear(), labels=("tabby cat", "tiger cat", "dog"))  # noqa: E731
    yield Case("no names", linear, give(table(), "cat"), BadTarget, ("'cat'", "no class names", "number"))
    yield Case("no such name", named, give(table(), "cow"), BadTarget, ("'cow'", "there are 3", "number"))
    both = ("fits 2 classes", "tabby cat (0), tiger cat (1)", "full name")
    yield Case("two such names", named, give(table(), "cat"), BadTarget, both)
    per = lambda which: give(table(), probability(which))  # noqa: E731
    yield Case("one class for two", linear, per((1,)), BadTarget, ("1 class was given for 2 samples",))
    yield Case("a class beyond", linear, per((1, 5)), BadTarget, ("Class 5", beyond))
    deep = ("channel(0, 9)", "channels are axis 1")
    yield Case("channel beyond", convolutional, give(picture(), channel("0", 9)), BadTarget, deep)
    unit = ("neuron(0, (1, 2))", "one index for each later axis")
    yield Case("half a neuron", convolutional, give(picture(), neuron("0", 1, 2)), BadTarget, unit)
    lost = ("no module at 'layer4'", "Modules there are")
    yield Case("target nowhere", convolutional, give(picture(), channel("layer4", 0)), BadInput, lost)
    where = torch.zeros(8, 8, dtype=torch.bool)
    yield Case("no pixels", convolutional, give(picture(), region(0, where)), BadTarget, ("region", "(8, 8)"))


def wrong_kinds() -> Iterator[Case]:
    """Targets of a type that is no class."""
    for which, shown in ((1.5, "1.5"), (True, "True"), ((0.5, 1), "0.5"), ((None, 1), "None"), (b"cat", "cat")):
        yield Case(f"class {shown}", linear, give(table(), which), BadTarget, (shown, "a class is"))


def options() -> Iterator[Case]:
    def ask(method: str, **chosen: Any) -> Callable[[Any], object]:
        return give(table(), method=method, **chosen)

    yield Case("steps 0", linear, ask("integrated_gradients", steps=0), BadOption, ("steps=0", "1 to 4096"))
    yield Case("steps 1.5", linear, ask("integrated_gradients", steps=1.5), BadOption, ("steps=1.5", "int"))
    yield Case("noise", linear, ask("smooth_grad", noise=float("nan")), BadOption, ("noise=nan", "0 to 2"))
    yield Case("kind", linear, ask("smooth_grad", kind="best"), BadOption, ("kind='best'", "variance"))
    yield Case("no such option", linear, ask("saliency", steps=3), BadOption, ("no option 'steps'", "absolute"))
    large = ("window=9", "(2, 4)", "smaller window")
    yield Case("large window", linear, ask("occlusion", window=9), BadOption, large)
    yield Case("window 0", linear, ask("occlusion", window=0), BadOption, ("window=0", "1 to 4096"))


def cases() -> Iterator[Case]:
    """Every one of them."""
    yield from numbers()
    yield from shapes()
    yield from several()
    yield from targets()
    yield from wrong_kinds()
    yield from options()
