r"""FullGrad: the input's share of the score and that of every bias inside the network, which together are all of it.

$$f(x) = \sum_i x_i \frac{\partial f}{\partial x_i} + \sum_{\text{operations}} b\cdot\frac{\partial f}{\partial y},
\qquad y = J x + b\ \text{near } x$$

Biases are those of layers, the shifts of normalizations, constants that are added, and what bends leave (a SiLU is
$y = y'(x)\,x + b$ near $x$), each with a map of its own wherever its operation keeps places apart.  A layer and the
normalization behind it have one, however that is spelled: what adds numbers or multiplies by them goes on with a layer.
The picture that the paper draws adds up the sizes of all of them, each set to 0..1 so that no layer drowns the others:
$\psi(x\odot\nabla f) + \sum\psi(b \odot \partial f/\partial y)$, with $\psi$ = size, to 0..1, enlarged.

Good for: a map that is both sharp and about objects, for one gradient pass; counting what biases say.
Not for:  signs and amounts, unless `kind="signed"`; networks whose biases lie where there are no places any more
          (dense layers, attention): what is left out of the map is in `facts`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pellucid.core.method import Finding, Promise, method
from pellucid.core.names import operation_name
from pellucid.core.run import current, running
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors, total
from pellucid.rules.affine import step_by_numbers
from pellucid.rules.biases import Biases, Term

Kind = Literal["layers", "channels", "signed"]


@method(
    title="FullGrad",
    family="gradient",
    paper="Srinivas, Fleuret 2019, arXiv:1905.00780",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 gradient pass",
    signed=False,
)
def full_grad(
    f: Score,
    x: Tensors,
    *,
    kind: Annotated[
        Kind,
        "sizes, each layer set to 0..1, as the authors' program does; each channel, as their formula does; or shares "
        "of the score with their signs",
    ] = "layers",
) -> Finding:
    """Where input and biases matter, `[batch, 1, height, width]` for a picture: all layers' maps, added up.

    With `kind="signed"` the unit is the score's: a map's sum and `facts["without a place"]` are the score.  Other kinds
    have no unit.  `gap` is the relative error of that sum, whatever the kind.  Inputs without axes of places (tables,
    tokens) keep their shape and show the input's part alone.  Raises `BadModel` when the score does not depend
    differentiably on the input.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.SiLU(), torch.nn.Flatten(), torch.nn.Linear(8, 1))
    >>> e = pl.methods.full_grad(net, torch.ones(1, 1, 4, 4), 0, kind="signed")
    >>> e.gap[0] < 1e-3, tuple(e.values.shape)
    (True, (1, 1, 4, 4))
    """

    def one(g: Score, part: Tensors, rows: Tensor) -> Tensors:
        maps = _Maps(part, kind)
        score, gradient = g.differentiated(part, rows, Biases(maps.add))
        return {**maps.with_input(gradient), _SCORE: score, _PLACED: maps.placed[None], _REST: maps.rest[None]}

    alone = replace(current(), max_batch=1)  # whatever axis of an inner value is the batch, all of it is this sample's
    with running(alone):
        found = next(f.passes([x], one, "gradient passes", backward=True))
    score, placed, rest = (found.pop(k) for k in (_SCORE, _PLACED, _REST))
    gap = (score - placed - rest).abs() / score.abs().clamp(min=1e-6)
    facts = {"score": score.tolist(), "input and biases at places": placed.tolist(), "without a place": rest.tolist()}
    lost = float(gap.max())
    notes = (f"Input and biases miss {lost:.0%} of the score: some operations cannot be looked into.",)
    return Finding(found, signed=kind == "signed", gap=tuple(gap.tolist()), facts=facts, notes=notes[: lost > 0.01])


_SCORE, _PLACED, _REST = " score", " placed", " rest"


class _Maps:
    """The maps of one sample as they come in: those of one size together, since enlarging is linear."""

    def __init__(self, x: Tensors, kind: Kind) -> None:
        self.x = x
        self.kind: Kind = kind
        self.of_size: dict[tuple[str, torch.Size], Tensor] = {}
        self.placed = self.rest = next(v for v in x.values() if v.is_floating_point()).new_zeros(())

    def add(self, term: Term) -> None:
        """Take in what one operation's bias added, on the places of the first input that has as many axes."""
        name = next((k for k, v in self.x.items() if term.order and v.ndim == len(term.order)), "")
        places = _places(term)
        if places is None or not name:
            self.rest = self.rest + term.value.sum()
            return
        self.placed = self.placed + places.sum()
        shown = _shown(places, self.kind)
        key = (name, shown.shape)
        self.of_size[key] = self.of_size[key] + shown if key in self.of_size else shown

    def with_input(self, gradient: Tensors) -> Tensors:
        """All maps of each input, added up."""
        own = {k: self.x[k] * g for k, g in gradient.items()}
        self.placed = self.placed + total(own)[0]
        has_places = {name for name, _ in self.of_size} | {k for k, v in own.items() if v.ndim > 3}
        maps = {k: _shown(v, self.kind) if k in has_places else _alone(v, self.kind) for k, v in own.items()}
        for (name, _), small in self.of_size.items():
            maps[name] = maps[name] + _spread(small, maps[name].shape[2:], exact=self.kind == "signed")
        return maps


def _places(term: Term) -> Tensor | None:
    """A term as `[1, channels, *places]`, or None where its operation keeps no places apart."""
    if term.order is None:
        return None
    v = term.value.permute([term.order.index(axis) for axis in range(len(term.order))])
    return v if len(v) == 1 and math.prod(v.shape[2:]) > 1 else None


def _shown(v: Tensor, kind: Kind) -> Tensor:
    """Channels added up, after each layer or each channel has been set to 0..1."""
    if kind == "signed":
        return v.sum(1, keepdim=True)
    size, places = v.abs(), tuple(range(2, v.ndim))
    axes = places if kind == "channels" else (1, *places)
    least = size.amin(axes, keepdim=True)
    weight = _inverse(size.amax(axes, keepdim=True) - least)
    if kind == "channels":
        return (size * weight).sum(1, keepdim=True) - (weight * least).sum(1, keepdim=True)
    return (size.sum(1, keepdim=True) - v.shape[1] * least) * weight


def _alone(v: Tensor, kind: Kind) -> Tensor:
    """An input that has no places, in its own shape."""
    if kind == "signed":
        return v
    axes, size = tuple(range(1, v.ndim)), v.abs()
    least = size.amin(axes, keepdim=True)
    return (size - least) * _inverse(size.amax(axes, keepdim=True) - least)


def _inverse(v: Tensor) -> Tensor:
    return torch.where(v > 0, v, torch.inf).reciprocal()


def _spread(small: Tensor, size: tuple[int, ...], *, exact: bool) -> Tensor:
    """A map at another size, linearly between the centers of its cells; `exact` keeps each cell's amount."""
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[small.ndim]
    shrinks = small.ndim == 4 and any(a > b for a, b in zip(small.shape[2:], size, strict=True))

    def resized(v: Tensor) -> Tensor:
        return F.interpolate(v, size, mode=mode, align_corners=False, antialias=shrinks)

    if not exact:
        return resized(small)
    with torch.enable_grad():
        ones = torch.ones_like(small).requires_grad_()
        (weight,) = torch.autograd.grad(resized(ones).sum(), ones)  # how much of each cell arrives
    return resized(small / weight)


def reference(f: Score, x: Tensors, *, kind: Kind = "layers") -> Tensors:
    """The definition, for one picture and functions that write nothing: y - J x with the whole Jacobian, everywhere."""

    def one(g: Score, part: Tensors, rows: Tensor) -> Tensors:
        slowly = _Slowly()
        _, gradient = g.differentiated(part, rows, slowly)
        (name,) = gradient
        maps = torch.zeros_like(part[name][:, :1])
        for v in (part[name] * gradient[name], *slowly.terms.values()):
            if v.ndim == 4 and v[0, 0].numel() > 1 and v.any():
                layers = [v] if kind == "layers" else list(torch.split(v, 1, 1))
                sizes = [(s.abs() - s.abs().min()) / (s.abs() - s.abs().min()).max() for s in layers]
                shown = (v if kind == "signed" else torch.cat(sizes, 1)).sum(1, keepdim=True)
                maps = maps + F.interpolate(shown, maps.shape[2:], mode="bilinear")
        return {name: maps}

    with running(replace(current(), max_batch=1)):
        return next(f.passes([x], one, "gradient passes", backward=True))


class _Slowly(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.terms: dict[int, Tensor] = {}
        self.done = 0
        self.before: tuple[Any, Callable[[Tensor], Tensor], Tensor, int] | None = None  # what was run just before

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and keep its bias times the gradient on it."""
        out, self.done = func(*args, **(kwargs or {})), self.done + 1
        varying = [i for i, v in enumerate(args) if isinstance(v, Tensor) and v.requires_grad]
        if not isinstance(out, Tensor) or not out.requires_grad or not varying:
            return out

        def again(*new: Tensor) -> Tensor:
            given = dict(enumerate(args)) | dict(zip(varying, new, strict=True))
            result: Tensor = func(*given.values(), **(kwargs or {}))
            return result

        function: Callable[..., Tensor] = again
        inputs = tuple(args[i].detach() for i in varying)
        self.terms[self.done] = torch.zeros(())
        if self.before is not None and args[varying[0]] is self.before[0] and _goes_on(func, args, kwargs or {}):
            _, layer, start, earlier = self.before
            del self.terms[earlier]  # one layer with this
            function, inputs = partial(_after, again, layer), (start,)
        jacobian: Any = torch.autograd.functional.jacobian
        with torch.enable_grad():
            slopes = jacobian(function, inputs, vectorize=True)
        along = [(j * v).flatten(out.ndim).sum(-1) for j, v in zip(slopes, inputs, strict=True)]
        bias = out.detach() - sum(along)
        bias = bias * (bias.abs() > 1e-12 * out.detach().abs().max())  # rounding
        y: Tensor = _Ear.apply(out, bias, self.terms, self.done)  # type: ignore[no-untyped-call]  # torch's own
        begins = func in (F.conv2d, F.linear) or _goes_on(func, args, kwargs or {})
        self.before = (y, function, inputs[0], self.done) if begins else None
        return y


def _goes_on(func: Any, args: Any, kwargs: Any) -> bool:
    return func is F.batch_norm or step_by_numbers(operation_name(func), args, kwargs) is not None


def _after(second: Callable[..., Tensor], first: Callable[..., Tensor], v: Tensor) -> Tensor:
    return second(first(v))


class _Ear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, bias: Tensor, terms: dict[int, Tensor], number: int) -> Tensor:
        ctx.bias, ctx.terms, ctx.number = bias, terms, number
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *up: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.number in ctx.terms:
            ctx.terms[ctx.number] = up[0] * ctx.bias
        return up[0], None, None, None
