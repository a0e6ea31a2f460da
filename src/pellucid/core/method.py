"""A method is one function in one file.  The decorator adds provenance and keeps the signature; nothing is registered:
a file `methods/foo.py` that defines `foo` *is* the registration.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from functools import cache
from importlib.metadata import version
from typing import Any, Concatenate, Generic, ParamSpec

import torch
from torch import nn

from pellucid.core.continued import next_token
from pellucid.core.embedding import embedded
from pellucid.core.ending import head_of
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.explanation import Cost, Explanation
from pellucid.core.head import Head
from pellucid.core.last_map import grid_at
from pellucid.core.network import Network
from pellucid.core.option import Option, checked, options_of
from pellucid.core.remarks import remarks
from pellucid.core.run import Meter, Run, current, running
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import Target, logit
from pellucid.core.tensors import Inputs, Tensors, as_tensors, batch_size, finite

P = ParamSpec("P")


class Promise(Flag):
    """What a method claims; the test suite holds every method to its claims on random networks."""

    NONE = 0
    COMPLETE = auto()  # the values sum to score(x) - score(baseline)
    LINEAR = auto()  # explain(a*t + b*u) = a*explain(t) + b*explain(u)
    IMPLEMENTATION_INVARIANT = auto()  # however the same network is written: the same map
    DUMMY = auto()  # an input that is never read gets exactly 0
    SYMMETRIC = auto()  # inputs that play the same part get the same value
    SCALE_INVARIANT = auto()  # the unit in which the input is measured does not matter


@dataclass(frozen=True, slots=True)
class Finding:
    """What a recipe returns when there is more to say than the maps."""

    maps: Tensors
    signed: bool | None = None  # when it depends on an option
    resolution: tuple[int, int] | None = None
    gap: tuple[float, ...] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Method(Generic[P]):
    """A recipe with its provenance: call it on a network, an input and a target to get an `Explanation`."""

    def __init__(
        self,
        recipe: Callable[Concatenate[Score, Tensors, P], Tensors | Finding],
        *,
        title: str,
        family: str,
        paper: str,
        promises: Promise,
        cost: str,
        signed: bool,
        slopes: bool,
        together: bool,
    ) -> None:
        self.recipe, self.title, self.family, self.paper = recipe, title, family, paper
        self.promises, self.cost, self.together = promises, cost, together
        self.signed, self.slopes = signed, slopes
        self.name = recipe.__name__
        self.__name__, self.__doc__, self.__module__ = recipe.__name__, recipe.__doc__, recipe.__module__
        self.__wrapped__ = recipe
        self.options: tuple[Option, ...] = options_of(recipe)

    @property
    def summary(self) -> str:
        """The first line of the method's description."""
        return (self.__doc__ or "").strip().split("\n")[0]

    def __call__(
        self,
        net: Network | nn.Module,
        x: Inputs,
        target: Target | int | str | None = None,
        at: Site | str | None = None,
        *_: P.args,
        **options: P.kwargs,
    ) -> Explanation:
        """Explain `target` (a class number or name, a `Target`, or None for each sample's top class) on input `x`.

        With `at`, the value at an inner site is explained in the place of the input (layer attribution): the map is
        keyed by the site's name and has its value's shape, and options that speak of the input (a baseline, a window,
        an amount of noise) speak of that value.  Raises `BadInput` when there is no such site.
        """
        chosen = checked(self.options, options, self.name)
        network, outer = net if isinstance(net, Network) else Network(net), current().meter
        with ExitStack() as stack:
            model = stack.enter_context(network.lease())
            run = stack.enter_context(running(replace(current(), meter=Meter())))
            stack.callback(outer.add, run.meter)
            stack.enter_context(torch.no_grad())
            return self._explain(network, model, x, target, at, chosen, run)

    def _enough(self, x: Tensors) -> Tensors:
        if self.together and batch_size(x) < 2:
            raise BadInput(f"{self.name} compares samples with each other; one was given.", "Give at least two.")
        return x

    def _find(self, f: Score, x: Tensors, options: dict[str, Any]) -> Finding:
        result = self.recipe(f, x, **options)  # type: ignore[call-arg]  # checked against the recipe's own options
        found = result if isinstance(result, Finding) else Finding(result)
        _refuse_nonsense(found.maps, self.name)
        maps = {k: v.detach().contiguous() for k, v in found.maps.items()}
        return replace(found, maps=maps, facts={**found.facts, **_drawn_over(f, x)})

    def _explain(
        self,
        net: Network,
        model: nn.Module,
        x: Inputs,
        target: Target | int | str | None,
        at: Site | str | None,
        options: dict[str, Any],
        run: Run,
    ) -> Explanation:
        since = time.monotonic()
        given = self._enough(like_the_model(as_tensors(x, net.inputs), model))
        inputs, sites = embedded(net, model, given)
        of = _target(net, model, given, inputs, sites, target)
        f, inner = _at(Score(net, of, embedded=sites, model=model), at, inputs)
        found = self._find(f, inner or inputs, options)
        return Explanation(
            maps=found.maps, x=given, inner=inner,
            method=self.name,
            options=options,
            of=of,
            target=of.describe(net),
            seed=run.seed,
            network=net.name,
            source=net.source,
            labels=net.labels,
            versions=versions_used(),
            cost=Cost(run.meter.forwards, run.meter.backwards, time.monotonic() - since),
            signed=self.signed if found.signed is None else found.signed,
            slopes=self.slopes,
            resolution=found.resolution, gap=found.gap,
            without_rule=tuple(sorted(run.meter.without_rule)),
            stopped=run.meter.stopped,
            facts={**_tokens(net, given), **found.facts},
            notes=(*remarks(net, given, found.maps), *found.notes),
            net=net,
            score=replace(f, model=None, inner=f.inner and f.inner.anew()),
            again=self,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<method {self.name}({', '.join(o.name for o in self.options)})>"


def method(
    *,
    title: str,
    family: str,
    paper: str,
    promises: Promise = Promise.NONE,
    cost: str = "one gradient pass",
    signed: bool = True,
    slopes: bool = False,
    together: bool = False,
) -> Callable[[Callable[Concatenate[Score, Tensors, P], Tensors | Finding]], Method[P]]:
    """Make a method of a recipe.

    `signed` says whether negative values mean evidence against the target; `slopes` that the values are no shares of
    the score but slopes, whose sign says which way to change a value; `together` that samples are compared with each
    other, so that several do not get what each alone would get.
    """
    about: dict[str, Any] = {"title": title, "family": family, "paper": paper, "promises": promises, "cost": cost}
    return lambda recipe: Method(recipe, signed=signed, slopes=slopes, together=together, **about)


def like_the_model(x: Tensors, model: nn.Module) -> Tensors:
    """Inputs on the model's device and in its floating type, apart from any graph that the user may be building."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), None)
    out: Tensors = {}
    for name, v in x.items():
        v = v.clone() if v.is_inference() else v.detach()
        if weight is not None:
            v = v.to(weight.device, weight.dtype if v.is_floating_point() else v.dtype)
        out[name] = v
    return out


def _target(
    net: Network,
    model: nn.Module,
    given: Tensors,
    x: Tensors,
    sites: Mapping[str, Any],
    target: Target | int | str | None,
) -> Target:
    """What is explained, classes by number; the network is asked where only it knows."""
    if net.names and (target is not None or len(net.names) == 2):
        head_of(net, given)
    if isinstance(target, Target):
        return target.named(net)
    if target is not None and not net.continues:
        return logit(target).named(net)
    outputs = Score(net, logit(0), embedded=sites, model=model).outputs(x)
    if net.continues and outputs.ndim == 3:
        return next_token(net, outputs, x, target)
    if target is not None:
        return logit(target).named(net)
    if outputs.ndim != 2:
        raise BadModel(
            f"{net.name} puts out {tuple(outputs.shape)}, so there is no top class to explain.",
            "Say in Python what to explain: pl.token(position, class), pl.region, pl.channel or pl.scalar.",
        )
    net.head = net.head or (head_of(net, given) if outputs.shape[1] == 1 else Head(outputs.shape[1]))
    top = tuple(int(i) for i in outputs.argmax(1))
    return logit(top[0] if len(set(top)) == 1 else top)


def _at(f: Score, at: Site | str | None, x: Tensors) -> tuple[Score, Tensors]:
    """The score and the value at the site that is explained; nothing there when the input is."""
    if not at:
        return f, {}
    return f.at(at if isinstance(at, Site) else Site.parse(at), x)


def _drawn_over(f: Score, inner: Tensors) -> dict[str, Any]:
    """Which picture an inner site's map lies over, and as what grid of places; nothing when it lies over none."""
    if f.inner is None or next(iter(inner.values())).ndim not in (3, 4):
        return {}
    picture = next((k for k, v in f.inner.given.items() if v.ndim == 4 and v.is_floating_point()), None)
    grid = grid_at(f, inner, f.inner.site) if picture is not None else None
    return {} if grid is None else {"drawn over": picture, "grid": grid}


def _tokens(net: Network, x: Tensors) -> dict[str, Any]:
    """The words of each sample, where the network says what its token ids mean."""
    ids = next((v for v in x.values() if v.ndim == 2 and not v.is_floating_point()), None)
    return {} if ids is None or net.words is None else {"tokens": tuple(map(net.words, ids))}


def _refuse_nonsense(maps: Tensors, name: str) -> None:
    for key, v in maps.items():
        if not finite(v):
            raise BadModel(f"{name} found NaN or infinite values for input {key!r}.", "Look for overflow in the model.")


def versions_used() -> dict[str, str]:
    """What a result was made with."""
    return {"pellucid": _version(), "torch": torch.__version__, "python": platform.python_version()}


@cache  # the package's metadata is a file that is read and parsed anew at every question
def _version() -> str:
    return version("pellucid")
