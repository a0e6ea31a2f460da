"""Models and circumstances in which an explanation must leave no trace: each a function that makes one afresh."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations, parametrize

CLASSES = 3


@dataclass(slots=True)
class Scene:
    """A model, its input and what surrounds the call; `after` says whether what should have happened did."""

    model: nn.Module
    x: Any
    around: Callable[[], AbstractContextManager[Any]] = nullcontext
    raises: type[Exception] | None = None
    after: Callable[[], bool] = lambda: True
    opaque: bool = False  # no module of it can be looked into, so there is no map to read


def picture(samples: int = 1) -> Tensor:
    return torch.linspace(-1, 1, samples * 3 * 8 * 8).sin().reshape(samples, 3, 8, 8)


def head(width: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * width, CLASSES)]


def cnn(inplace: bool = False) -> nn.Sequential:
    body = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace), nn.Dropout(0.5), nn.Conv2d(4, 5, 3)]
    return nn.Sequential(*body, nn.ReLU(inplace), *head(5))


def evaluation() -> Scene:
    return Scene(cnn().eval(), picture(2))


def training() -> Scene:
    return Scene(cnn().train(), picture(2))


def mixed_flags() -> Scene:
    model = cnn().train()
    model[1].eval()
    return Scene(model, picture())


def frozen() -> Scene:
    return Scene(cnn().eval().requires_grad_(False), picture())


def with_gradients() -> Scene:
    model, x = cnn(), picture(2).requires_grad_()
    model(x).sum().backward()
    return Scene(model, x)


def input_in_a_graph() -> Scene:
    return Scene(cnn().eval(), picture().requires_grad_().flip(3) * 2)


def hooks() -> Scene:
    model, ran = cnn().eval(), list[str]()
    model[0].register_forward_hook(lambda *_: ran.append("forward"))
    model[4].register_forward_pre_hook(lambda *_: ran.append("before"), with_kwargs=False)
    model[0].register_full_backward_hook(lambda *_: None)
    model[2].register_forward_hook(lambda *_: None, always_call=True)
    return Scene(model, picture(), after=lambda: "forward" in ran and "before" in ran)


class Whole(nn.Module):
    """A model inside of another, with something beside it."""

    def __init__(self, body: nn.Module, **beside: nn.Module) -> None:
        super().__init__()
        self.body = body
        for name, module in beside.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


def hook_on_another_module() -> Scene:
    """The hook runs a module that a double of the model would not run."""
    model, norm = cnn().train(), nn.BatchNorm2d(4)
    model[0].register_forward_hook(lambda _m, _x, out: norm(out))
    return Scene(Whole(model, norm=norm).train(), picture(2))


class Failure(Exception):
    """The user's own."""


class Breaks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.count = cnn(), 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.body(x)
        raise Failure("in the middle")


def breaking() -> Scene:
    return Scene(Breaks().train(), picture(), raises=Failure)


def no_grad() -> Scene:
    return Scene(cnn().train(), picture(), torch.no_grad)


def inference_mode() -> Scene:
    return Scene(cnn().train(), picture(), torch.inference_mode)


def born_in_inference_mode() -> Scene:
    with torch.inference_mode():
        return Scene(cnn().eval(), picture().clone())


def autocast() -> Scene:
    return Scene(cnn().train(), picture(), partial(torch.autocast, "cpu", dtype=torch.bfloat16))


def in_place() -> Scene:
    return Scene(cnn(inplace=True).train(), picture())


class Reused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act, self.conv = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1)
        self.end = nn.Sequential(*head(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        for _ in range(3):
            x = self.act(self.conv(x)) + x
        out: Tensor = self.end(x)
        return out


def reused() -> Scene:
    return Scene(Reused(), picture())


def tied() -> Scene:
    model = Reused()
    beside = nn.Conv2d(4, 4, 3)
    beside.weight = model.conv.weight
    return Scene(Whole(model, beside=beside), picture())


def parametrized() -> Scene:
    model = cnn().train()
    parametrizations.weight_norm(model[0])
    parametrizations.spectral_norm(model[4])
    parametrize.register_parametrization(model[8], "bias", nn.Softplus())
    return Scene(model, picture())


class Stochastic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = cnn().eval()

    def forward(self, x: Tensor) -> Tensor:
        kept = F.dropout(x, 0.2, training=True)
        out: Tensor = self.body(kept) + random.random() + float(np.random.rand())  # noqa: S311
        return out


def stochastic() -> Scene:
    return Scene(Stochastic(), picture())


class OwnGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.generator = cnn().eval(), torch.Generator().manual_seed(3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x + 0.1 * torch.randn(x.shape, generator=self.generator))
        return out


def own_generator() -> Scene:
    return Scene(OwnGenerator(), picture())


class Bound(nn.Module):
    """Keeps bound methods and partials of itself, and replaces its own forward."""

    def __init__(self) -> None:
        super().__init__()
        self.body = cnn()
        self.stages = [self.body.forward, partial(self.scale, by=2.0)]
        self.forward = self.run  # type: ignore[method-assign]

    def scale(self, x: Tensor, by: float) -> Tensor:
        return x * by

    def run(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return x


def bound_methods() -> Scene:
    return Scene(Bound().train(), picture())


class Unregistered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.rest = [nn.BatchNorm2d(4), nn.ReLU(), nn.Sequential(*head(4))]

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for module in self.rest:
            x = module(x)
        return x


def plain_lists() -> Scene:
    return Scene(Unregistered().train(), picture(2))


class Keeper:
    """Not a module, but holds one and counts."""

    def __init__(self, module: nn.Module) -> None:
        self.module, self.calls = module, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        out: Tensor = self.module(x)
        return out


class Odd(nn.Module):
    """Edits lists, tensors, buffers and counters of its own in each pass, and reaches modules in roundabout ways."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.body = cnn()
        body = self.body
        self.way: Any = {"closure": lambda x: body(x), "object": Keeper(body), "plain": body}[way]
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.seen, self.queue, self.table = list[float](), deque([1.0], 4), {"calls": 0}
        self.scale, self.calls = torch.ones(3, 1, 1), 0
        self.shared = self.seen

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + 0.1 * x.detach().mean((0, 2, 3))[:, None, None]
        self.seen.append(float(x.detach().sum()))
        self.queue.append(2.0)
        self.table["calls"] += 1
        self.scale.mul_(1.01)
        self.calls += 1
        self.surprise = self.calls
        out: Tensor = self.way(x * self.scale + 0 * len(self.shared))
        return out


def edits_itself() -> Scene:
    return Scene(Odd("plain").train(), picture(2))


def closure() -> Scene:
    return Scene(Odd("closure").train(), picture(2))


def helper_object() -> Scene:
    return Scene(Odd("object").train(), picture(2))


def scripted() -> Scene:
    return Scene(torch.jit.script(cnn().train()), picture(2), opaque=True)


def traced() -> Scene:
    return Scene(torch.jit.trace(cnn().eval(), picture(2)), picture(2), opaque=True)


def graph_module() -> Scene:
    return Scene(fx.symbolic_trace(cnn().train()), picture(2))


def compiled() -> Scene:
    model = torch.compile(cnn().train(), backend="eager")
    assert isinstance(model, nn.Module)
    return Scene(model, picture(2))


def data_parallel() -> Scene:
    return Scene(nn.DataParallel(cnn().train()), picture(2))


SCENES: dict[str, Callable[[], Scene]] = {
    scene.__name__: scene
    for scene in (
        evaluation, training, mixed_flags, frozen, with_gradients, input_in_a_graph, hooks, hook_on_another_module,
        breaking, no_grad, inference_mode, born_in_inference_mode, autocast, in_place, reused, tied, parametrized,
        stochastic, own_generator, bound_methods, plain_lists, edits_itself, closure, helper_object, scripted, traced,
        graph_module, compiled, data_parallel,
    )
}  # fmt: skip
