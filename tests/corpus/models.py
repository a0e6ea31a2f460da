"""Models that cannot be explained, or not by every method, each with what a person should be told about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadModel, BadTarget
from pellucid.core.network import Network
from pellucid.core.target import scalar, token
from pellucid.methods import all_methods

Model = nn.Module | Network
METHODS = all_methods()


@dataclass(frozen=True, slots=True)
class Case:
    """How to make a model, what is done with it, and the error's class and parts of its sentence.

    `own` is an error of the user's own, which comes through as it is.
    """

    name: str
    build: Callable[[], Any]
    call: Callable[[Any], object]
    error: type[Exception]
    says: tuple[str, ...]
    own: bool = False


class Says(nn.Module):
    """A model that puts out what a function makes of a linear layer's scores."""

    def __init__(self, then: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.scores, self.then = nn.Linear(4, 3), then

    def forward(self, x: Tensor) -> Any:
        return self.then(self.scores(x))


class Trouble(Exception):
    """The user's own."""


class Raises(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.scores, self.error = nn.Linear(4, 3), error

    def forward(self, x: Tensor) -> Tensor:
        self.scores(x)
        raise self.error


class Grows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.scores.bias += 1
        out: Tensor = self.scores(x)
        return out


class TakesNothing(nn.Module):
    def forward(self) -> Tensor:
        return torch.zeros(2, 3)


class Optional(nn.Module):
    """A branch that does not run."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.used(x).mean((2, 3))
        return out


class Mixed(nn.Module):
    """Layers of two number formats, without the conversion between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.first(x))
        return out


def table() -> Tensor:
    return torch.linspace(-1, 1, 8).reshape(2, 4)


def picture() -> Tensor:
    return torch.linspace(-1, 1, 192).reshape(1, 3, 8, 8)


def saliency(target: Any = 0) -> Callable[[Model], object]:
    return lambda model: METHODS["saliency"](model, table(), target)


def of_picture(method: str, **options: Any) -> Callable[[Model], object]:
    return lambda model: METHODS[method](model, picture(), 0, **options)


def broken(value: float, count: int) -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))
    with torch.no_grad():
        model[1].weight.view(-1)[:count] = value
    return model


def weights() -> Iterator[Case]:
    nan, inf = float("nan"), float("inf")
    finished = "Load weights that finished training."
    yield Case("NaN weights", lambda: broken(nan, 5), saliency(), BadModel, ("5 values", "'1.weight'", finished))
    yield Case("infinite weights", lambda: broken(inf, 1), saliency(), BadModel, ("1 values", "infinite", finished))
    meta = ("'weight'", "meta device", "Load the weights")
    yield Case("meta weights", lambda: nn.Linear(4, 3, device="meta"), saliency(), BadModel, meta)
    lazy = ("'weight'", "no shape yet", "Run the model once")
    yield Case("lazy layer", lambda: nn.LazyLinear(3), saliency(), BadModel, lazy)
    bare = ("'running_mean'", "no shape yet", "Run the model once")
    yield Case("lazy statistics", lambda: nn.LazyBatchNorm1d(affine=False), saliency(), BadModel, bare)
    number = ("complex64", "float32", "[batch, 4]")
    yield Case("complex weights", lambda: nn.Linear(4, 3, dtype=torch.complex64), saliency(), BadInput, number)
    kinds = ("'last' (Linear)", "float64 weights", "given float32", "model.float()")
    yield Case("two number formats", Mixed, saliency(), BadInput, kinds)
    given = ("function", "expected a torch.nn.Module", "pl.open")
    yield Case("a function", lambda: torch.sigmoid, saliency(), BadModel, ("expected a torch.nn.Module", "pl.open"))
    yield Case("a state", lambda: nn.Linear(4, 3).state_dict(), saliency(), BadModel, ("OrderedDict", *given[1:]))
    edits = ("edits its own parameter", "'scores.bias'", "Move the update out of forward()")
    yield Case("edits itself", Grows, saliency(), BadModel, edits)
    nothing = ("1 input was given", "takes 0", "nothing")
    yield Case("takes no input", TakesNothing, saliency(), BadInput, nothing)


def outputs() -> Iterator[Case]:
    which = "Say which one to explain"
    yield Case("puts out nothing", lambda: Says(lambda _: None), saliency(), BadModel, ("NoneType", "none", which))
    yield Case("puts out text", lambda: Says(lambda _: "cat"), saliency(), BadModel, ("str", "0 tensors", which))
    two = ("tuple", "0 (1, 3), 1 (1, 3)", which)
    yield Case("puts out two tensors", lambda: Says(lambda y: (y, 2 * y)), saliency(), BadModel, two)
    named = ("dict", "boxes (1, 3), classes (1, 3)", which)
    boxes = lambda: Says(lambda y: {"boxes": y, "classes": 2 * y})  # noqa: E731
    yield Case("puts out a mapping", boxes, saliency(), BadModel, named)
    part = ("no part 'heads'", "boxes, classes")
    yield Case("unknown part", lambda: Network(boxes(), output="heads"), saliency(), BadModel, part)
    flat = ("[batch, classes]", "(1,)", "scalar(function)")
    yield Case("puts out classes", lambda: Says(lambda y: y.argmax(1)), saliency(), BadTarget, flat)
    top = ("(2,)", "no top class", "pl.scalar")
    yield Case("has no top class", lambda: Says(lambda y: y[:, 0]), saliency(None), BadModel, top)
    cut = ("does not depend differentiably", "occlusion")
    yield Case("detaches", lambda: Says(Tensor.detach), saliency(), BadModel, cut)
    yield Case("rounds to a class", lambda: Says(lambda y: y.argmax(1, keepdim=True)), saliency(), BadModel, cut)
    yield Case("overflows", lambda: Says(lambda y: y / 0), saliency(), BadModel, ("NaN or infinite", "overflow"))
    mixed = ("(1, 3) for 2 samples", "first axis")
    yield Case("mixes samples", lambda: Says(lambda y: y.mean(0, keepdim=True)), _three_samples, BadModel, mixed)
    real = ("complex numbers", "pl.scalar")
    yield Case("puts out complex numbers", lambda: Says(lambda y: torch.complex(y, y)), saliency(), BadModel, real)
    odd = ("token(0, 1)", "(1, 3)", "[batch, position, class]")
    yield Case("is no sequence", lambda: nn.Linear(4, 3), saliency(token(0, 1)), BadTarget, odd)
    one = ("scalar target gave (1, 3)", "one number for each")
    yield Case("gives no scalar", lambda: nn.Linear(4, 3), saliency(scalar(lambda y: y)), BadTarget, one)
    errors = (Trouble("mine"), RuntimeError("shape is wrong, says the user"), ValueError("no"), KeyError("k"))
    for error in errors:
        says = (str(error),)
        yield Case(f"raises {error!r}", lambda e=error: Raises(e), saliency(), type(error), says, own=True)


def _three_samples(model: Model) -> object:
    return METHODS["saliency"](model, torch.ones(3, 4), 0)


def sites() -> Iterator[Case]:
    here = ("no module at 'layer9'", "used")
    yield Case("no such site", Optional, of_picture("grad_cam", site="layer9"), BadInput, here)
    idle = ("'unused' did not run", "net.sites")
    yield Case("site did not run", Optional, of_picture("grad_cam", site="unused"), BadModel, idle)
    again = ("'used#1' did not run", "net.sites")
    yield Case("site ran once only", Optional, of_picture("layer_cam", site="used#1"), BadModel, again)
    odd = ("'a#b' is not a site", "path#call")
    yield Case("not a site", Optional, of_picture("grad_cam", site="a#b"), BadInput, odd)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    none = ("Nothing inside Sequential is a map", "occlusion")
    yield Case("no map anywhere", lambda: flat, of_picture("grad_cam"), BadModel, none)
    wide = ("'1' holds (1, 3)", "[batch, channels, height, width]")
    yield Case("site holds no map", lambda: flat, of_picture("grad_cam", site="1"), BadInput, wide)
    script = ("Nothing inside RecursiveScriptModule is a map", "occlusion")
    yield Case("scripted", lambda: torch.jit.script(Optional()), of_picture("layer_cam"), BadModel, script)


def cases() -> Iterator[Case]:
    """Every one of them."""
    yield from weights()
    yield from outputs()
    yield from sites()
