"""A measure is one function in one file; the decorator says what it is and counts what it spends.

As with methods nothing is registered: a file `checks/foo.py` that defines `foo` *is* the registration.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeAlias, TypeVar, get_type_hints

import torch

from pellucid.core.check import Check
from pellucid.core.errors import BadOption
from pellucid.core.explanation import Explanation
from pellucid.core.option import Option, checked, options_of
from pellucid.core.run import Meter, current, running

S = TypeVar("S")  # what is measured
R = TypeVar("R", bound=Check | tuple[Check, ...])  # one check, or one for each picture
P = ParamSpec("P")

_BY_SIZE = "The map holds slopes, whose sign only says which way to change a value; their size was tested."

Family: TypeAlias = Literal["faithfulness", "sanity", "stability", "localization", "complexity", "axiom", "dream"]
Better: TypeAlias = Literal["higher", "lower", "neither"]


class MeasureOf(Generic[S, R, P]):
    """A measure with its provenance: call it on its subject to get a `Check`, or one for each picture of it.

    `better`: which way the number is good, "neither" where it only describes.  `place` orders the trust card; 0 keeps a
    measure off it, to be called by name.  `again`: it makes the subject again, which a small budget leaves out.
    """

    def __init__(
        self,
        recipe: Callable[Concatenate[S, P], R],
        *,
        title: str,
        family: Family,
        paper: str,
        better: Better,
        cost: str,
        place: int,
        again: bool,
    ) -> None:
        self.recipe, self.title, self.family, self.paper = recipe, title, family, paper
        self.better: Better = better
        self.cost, self.place, self.again = cost, place, again
        self.name = recipe.__name__
        self.__name__, self.__doc__, self.__module__ = recipe.__name__, recipe.__doc__, recipe.__module__
        self.__wrapped__ = recipe
        declared = get_type_hints(recipe, include_extras=True)
        self.options: tuple[Option, ...] = options_of(recipe, [k for k, v in declared.items() if _said(v)])
        self.takes = frozenset(declared) - {next(iter(inspect.signature(recipe).parameters)), "return"}

    @property
    def summary(self) -> str:
        """The first line of the measure's description."""
        return (self.__doc__ or "").strip().split("\n")[0]

    def __call__(self, subject: S, *unnamed: P.args, **options: P.kwargs) -> R:
        """Measure the subject; the check says what was spent on it, each of several its share.

        Raises `BadOption` for options that there are not, or that were given without their names.
        """
        if unnamed:
            raise BadOption(f"{self.name} was given an option without a name.", f"It takes: {', '.join(self.takes)}.")
        numbers = {o.name for o in self.options}
        others: dict[str, Any] = {k: v for k, v in options.items() if k not in numbers and k in self.takes}
        chosen = checked(self.options, {k: v for k, v in options.items() if k not in others}, self.name)
        since, outer = time.perf_counter(), current().meter
        with running(replace(current(), meter=Meter())) as run, torch.no_grad():
            found = self.recipe(subject, **chosen, **others)  # type: ignore[call-arg]  # checked above
        outer.add(run.meter)
        spent, took = run.meter.forwards + run.meter.backwards, time.perf_counter() - since
        paid: R = _paid(found, self.name, spent, took)
        return paid

    def __repr__(self) -> str:
        return f"<measure {self.name}({', '.join(sorted(self.takes))})>"


class Measure(MeasureOf[Explanation, Check, P]):
    """A measure of explanations.

    `slopes`: it knows what to make of a slope's sign; other tests of where the evidence is take a slope's size, and the
    check says so.
    """

    def __init__(self, recipe: Callable[Concatenate[Explanation, P], Check], *, slopes: bool, **about: Any) -> None:
        super().__init__(recipe, **about)
        self.slopes = slopes

    def __call__(self, subject: Explanation, *unnamed: P.args, **options: P.kwargs) -> Check:
        """Measure the explanation; the check says what was spent on it."""
        found = super().__call__(subject, *unnamed, **options)
        sized = subject.by_size and self.family in ("faithfulness", "localization") and not self.slopes
        return replace(found, why=f"{found.why} {_BY_SIZE}") if sized and not math.isnan(found.value) else found


def measure(
    *,
    title: str,
    family: Family,
    paper: str = "",
    better: Better = "higher",
    cost: str = "no pass",
    place: int = 0,
    again: bool = False,
    slopes: bool = False,
) -> Callable[[Callable[Concatenate[Explanation, P], Check]], Measure[P]]:
    """Make a measure of a function from an explanation to a `Check`; options are declared as methods declare theirs."""
    about: dict[str, Any] = {"title": title, "family": family, "paper": paper, "better": better, "cost": cost}
    return lambda recipe: Measure(recipe, place=place, again=again, slopes=slopes, **about)


def _paid(found: Check | tuple[Check, ...], name: str, passes: int, seconds: float) -> Any:
    """What was found, with what it took; several checks share it."""
    if isinstance(found, Check):
        return replace(found, name=name, passes=passes, seconds=seconds)
    share, rest = divmod(passes, max(1, len(found)))
    each = seconds / max(1, len(found))
    return tuple(replace(c, name=name, passes=share + (i < rest), seconds=each) for i, c in enumerate(found))


def _said(hint: Any) -> bool:
    """Is the option's meaning declared beside its type, so that its values are checked?"""
    return hasattr(hint, "__metadata__")
