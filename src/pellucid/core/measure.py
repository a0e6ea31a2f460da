"""A measure of explanations is one function in one file; the decorator says what it is and counts what it spends.

As with methods nothing is registered: a file `checks/foo.py` that defines `foo` *is* the registration.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeAlias, get_type_hints

import torch

from pellucid.core.check import Check
from pellucid.core.explanation import Explanation
from pellucid.core.option import Option, checked, options_of
from pellucid.core.run import Meter, current, running

P = ParamSpec("P")

_BY_SIZE = "The map holds slopes, whose sign only says which way to change a value; their size was tested."

Family: TypeAlias = Literal["faithfulness", "sanity", "stability", "localization", "complexity", "axiom"]
Better: TypeAlias = Literal["higher", "lower", "neither"]


class Measure(Generic[P]):
    """A measure with its provenance: call it on an explanation to get a `Check`.

    `better`: which way the number is good, "neither" where it only describes.  `place` orders the trust card; 0 keeps a
    measure off it, to be called by name.  `again`: it runs the method again, which a small budget leaves out.
    `slopes`: it knows what to make of a slope's sign; other tests of where the evidence is take a slope's size, and the
    check says so.
    """

    def __init__(
        self,
        recipe: Callable[Concatenate[Explanation, P], Check],
        *,
        title: str,
        family: Family,
        paper: str,
        better: Better,
        cost: str,
        place: int,
        again: bool,
        slopes: bool,
    ) -> None:
        self.recipe, self.title, self.family, self.paper = recipe, title, family, paper
        self.better: Better = better
        self.cost, self.place, self.again, self.slopes = cost, place, again, slopes
        self.name = recipe.__name__
        self.__name__, self.__doc__, self.__module__ = recipe.__name__, recipe.__doc__, recipe.__module__
        self.__wrapped__ = recipe
        declared = get_type_hints(recipe, include_extras=True)
        self.options: tuple[Option, ...] = options_of(recipe, [k for k, v in declared.items() if _said(v)])
        self.takes = frozenset(declared) - {"explanation", "return"}

    @property
    def summary(self) -> str:
        """The first line of the measure's description."""
        return (self.__doc__ or "").strip().split("\n")[0]

    def __call__(self, explanation: Explanation, *_: P.args, **options: P.kwargs) -> Check:
        """Measure the explanation; the check says what was spent on it."""
        numbers = {o.name for o in self.options}
        others: dict[str, Any] = {k: v for k, v in options.items() if k not in numbers and k in self.takes}
        chosen = checked(self.options, {k: v for k, v in options.items() if k not in others}, self.name)
        since, outer = time.perf_counter(), current().meter
        with running(replace(current(), meter=Meter())) as run, torch.no_grad():
            found = self.recipe(explanation, **chosen, **others)  # type: ignore[call-arg]  # checked above
        outer.add(run.meter)
        spent = run.meter.forwards + run.meter.backwards
        sized = explanation.by_size and self.family in ("faithfulness", "localization") and not self.slopes
        why = f"{found.why} {_BY_SIZE}" if sized and not math.isnan(found.value) else found.why
        return replace(found, name=self.name, why=why, passes=spent, seconds=time.perf_counter() - since)

    def __repr__(self) -> str:
        return f"<measure {self.name}({', '.join(sorted(self.takes))})>"


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


def _said(hint: Any) -> bool:
    """Is the option's meaning declared beside its type, so that its values are checked?"""
    return hasattr(hint, "__metadata__")
