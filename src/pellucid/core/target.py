"""What is being explained: one number a sample.  Targets add, subtract and scale, and say their names.

>>> str(logit(3) - 0.5 * logit(7))
'logit(3) - 0.5*logit(7)'
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pellucid.core.answer import Answer
from pellucid.core.counts import count, were_given
from pellucid.core.errors import BadTarget
from pellucid.core.network import Network
from pellucid.core.readings import AT_OUTPUT, AT_SITES
from pellucid.core.site import Site

Which: TypeAlias = int | str | Sequence[int]


@dataclass(frozen=True, slots=True)
class Term:
    """One summand: `weight * kind(*args)`."""

    weight: float
    kind: str
    args: tuple[Any, ...]

    def __str__(self) -> str:
        shown = ", ".join(map(_shown, self.args))
        return f"{self.kind}({shown})" if abs(self.weight) == 1 else f"{abs(self.weight):g}*{self.kind}({shown})"


def _shown(argument: Any) -> str:
    if isinstance(argument, Tensor):
        return " x ".join(map(str, argument.shape)) + " values"
    return str(getattr(argument, "__name__", argument))


@dataclass(frozen=True, slots=True)
class Target:
    """A weighted sum of terms, each a number a sample read off the network's answer."""

    terms: tuple[Term, ...]

    def __add__(self, other: Target) -> Target:
        return Target(self.terms + other.terms)

    def __sub__(self, other: Target) -> Target:
        return self + (-1.0) * other

    def __rmul__(self, factor: float) -> Target:
        return Target(tuple(replace(t, weight=factor * t.weight) for t in self.terms))

    def __neg__(self) -> Target:
        return -1.0 * self

    def __str__(self) -> str:
        head, *rest = self.terms
        text = ("-" if head.weight < 0 else "") + str(head)
        return text + "".join((" - " if t.weight < 0 else " + ") + str(t) for t in rest)

    @property
    def sites(self) -> tuple[Site, ...]:
        """The inner values that the target reads."""
        inner = (s for t in self.terms for a in t.args if isinstance(a, Target) for s in a.sites)
        return (*(a for t in self.terms for a in t.args if isinstance(a, Site)), *inner)

    @property
    def whole(self) -> bool:
        """Does the target read the network's output, so that a pass must run to its end?"""
        inner = [a for t in self.terms for a in t.args if isinstance(a, Target)]
        plain = (t for t in self.terms if t.kind != "each")
        return any(not any(isinstance(a, Site) for a in t.args) for t in plain) or any(t.whole for t in inner)

    @property
    def classes(self) -> tuple[Which, ...]:
        """The classes that a logit, probability or log-odds target speaks of."""
        return tuple(t.args[0] for t in self.terms if t.kind in ("logit", "probability", "log_odds"))

    def of(self, answer: Answer) -> Tensor:
        """One number a sample, `[batch]`."""
        parts = [t.weight * KINDS[t.kind](answer, *t.args) for t in self.terms]
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]

    def named(self, net: Network) -> Target:
        """The same target with class names replaced by their numbers; raises `BadTarget` for unknown ones."""
        return Target(tuple(_named(t, net) for t in self.terms))

    def describe(self, net: Network) -> str:
        """The target in words, classes by name: `logit of tiger cat (282)`."""
        if len(self.terms) == 1 and self.classes and isinstance(self.terms[0].args[0], int):
            (term,) = self.terms
            puts_out = term.kind == "logit" and net.head is not None and net.head.unit == "probability"
            kind = "probability" if puts_out else term.kind.replace("_", "-")
            if term.weight == 1:
                return f"{kind} of {net.label(term.args[0])}"
            if term.weight == -1 and net.negative and not puts_out:
                return f"{kind} of {net.negative}"
        if len(self.terms) == 1 and self.terms[0].kind == "token" and net.words is not None:
            (word,) = net.words(torch.tensor([self.terms[0].args[1]]))
            return f"{self}, which is {word!r}"
        return str(self)

    def as_log_odds(self) -> Target:
        """A single class's target as log-odds (the fair scale for measuring); any other target as it is."""
        if len(self.terms) == 1 and self.classes:
            return Target((replace(self.terms[0], kind="log_odds", weight=math.copysign(1.0, self.terms[0].weight)),))
        return self


def logit(which: Which) -> Target:
    """The network's raw score of a class: its index, its name, or one index for each sample of the batch."""
    return _single("logit", _class(which))


def probability(which: Which) -> Target:
    """The softmax probability of a class, in 0..1."""
    return _single("probability", _class(which))


def log_odds(which: Which) -> Target:
    """A class's score against all the others: `z_c - logsumexp(z_j, j != c)`, in nats."""
    return _single("log_odds", _class(which))


def channel(site: str | Site, index: int, axis: int = 1) -> Target:
    """The mean of one channel at a site, over space; `axis` is where channels are: -1 for `[batch, tokens, width]`."""
    return _single("channel", _site(site), index, *((axis,) if axis != 1 else ()))


def neuron(site: str | Site, *index: int) -> Target:
    """One unit at a site, by its position after the batch axis: `neuron("layer4", 12, 3, 3)`."""
    return _single("neuron", _site(site), tuple(index))


def token(position: int, which: int) -> Target:
    """One score at one position of a sequence: output `[batch, position, class]`; -1 is the last position."""
    return _single("token", position, which)


def region(which: int, mask: Tensor) -> Target:
    """A segmentation class's mean score where `mask` (`[height, width]`, bool) is true."""
    return _single("region", which, mask)


def scalar(fn: Callable[[Any], Tensor]) -> Target:
    """Any function of the model's raw output that gives one number a sample, `[batch]`."""
    return _single("scalar", fn)


def direction(site: str | Site, vector: Tensor, power: float = 0.0, axis: int = 1) -> Target:
    """How far the values at a site lie along a vector `[channels]`, at the mean position.

    At each position `a.v * max(cos(a, v), 0.1)**power`.
    A `power` above zero asks for that direction and little else (Olah et al. 2018; Carter et al. 2019).  A vector
    of the site's whole shape without the batch is a pattern in space.
    """
    if not (vector.is_floating_point() and bool(vector.any())):
        raise BadTarget(
            "A direction is a tensor of numbers that are not all zero.", "Give one number for each channel."
        )
    return _single("direction", _site(site), vector.detach(), float(power), axis)


def energy(site: str | Site) -> Target:
    """The mean square of everything at a site: more of what is there already (Mordvintsev et al. 2015)."""
    return _single("energy", _site(site))


def likeness(site: str | Site, value: Tensor) -> Target:
    """How near the values at a site come to `value` (one sample's, without the batch axis): 0 when equal, else below.

    Minus the squared distance, as a share of the value's own square (Mahendran, Vedaldi 2015).
    """
    return _single("likeness", _site(site), value.detach())


def texture(site: str | Site, gram: Tensor) -> Target:
    """How near the channels' products `[channels, channels]` at a site, averaged over space, come to `gram`: at most 0.

    Minus the squared distance, as a share of the square of `gram` (Gatys et al. 2015).
    """
    return _single("texture", _site(site), gram.detach())


def each(targets: Sequence[Target]) -> Target:
    """A target for each sample of the batch: the first one's for the first sample, and so on."""
    return _single("each", *targets)


def reads_places(target: Target) -> bool:
    """Does the target speak of certain places, which lie elsewhere when the input is larger or smaller?"""
    return any(
        t.kind in ("token", "region")
        or (t.kind == "neuron" and len(t.args[1]) > 1)
        or (t.kind in ("likeness", "direction") and t.args[1].ndim > 1)
        for t in target.terms
    )


def _single(kind: str, *args: Any) -> Target:
    return Target((Term(1.0, kind, args),))


def _class(which: Any) -> Which:
    """A class's name, its number, or one number a sample: whole numbers of any library become Python's."""
    if isinstance(which, str):
        return which
    if getattr(which, "ndim", 0):  # an array or tensor of numbers
        which = which.tolist()
    return tuple(map(_number, which)) if isinstance(which, list | tuple) else _number(which)


def _number(which: Any) -> int:
    try:
        if not isinstance(which, bool):
            return operator.index(which)
    except TypeError:
        pass
    shown = repr(which) if isinstance(which, bool | float | bytes | None) else f"A {type(which).__name__}"
    raise BadTarget(f"{shown} was given for a class; a class is a number or a name.", "Or one number for each sample.")


def _site(site: str | Site) -> Site:
    return site if isinstance(site, Site) else Site.parse(site)


def _each(answer: Answer, *targets: Target) -> Tensor:
    if int(answer.rows.max()) >= len(targets):
        raise BadTarget(f"{were_given(len(targets), 'target')} for {count(int(answer.rows.max()) + 1, 'sample')}.")
    whole = any(t.whole for t in targets)
    mine = [targets[i] for i in answer.rows.tolist()]
    return torch.cat([t.of(one) for t, one in zip(mine, answer.one_by_one(whole), strict=True)])


KINDS: Mapping[str, Callable[..., Tensor]] = {**AT_OUTPUT, **AT_SITES, "each": _each}


def _named(term: Term, net: Network) -> Term:
    if term.kind not in ("logit", "probability", "log_odds") or not isinstance(term.args[0], str):
        return term
    text = term.args[0]
    if not net.negative or text.isdecimal():
        return replace(term, args=(find_class(net.labels, text),))
    if find_class(net.names, text) == 1:
        return replace(term, args=(0,))
    if term.kind == "probability":
        what = f"{net.name} puts out one score, and the probability of {net.negative!r} is what is left of 1."
        raise BadTarget(what, f"Explain that of {net.labels[0]!r}: its map is the same with its signs turned.")
    return replace(term, weight=-term.weight, args=(0,))


def find_class(labels: Sequence[str], text: str) -> int:
    """The class that a name or a number means; raises `BadTarget` with the near misses."""
    if text.isdecimal():
        return int(text)
    wanted = text.strip().lower()
    names = [name.lower() for name in labels]
    exactly = [i for i, n in enumerate(names) if n == wanted]
    plainly = [i for i, n in enumerate(names) if n.partition(" (")[0] == wanted]  # "kite" means "kite (bird)"
    for hits in (exactly, plainly, [i for i, n in enumerate(names) if wanted in n]):
        if len(hits) == 1:
            return hits[0]
        if hits:
            shown = ", ".join(f"{labels[i]} ({i})" for i in hits[:6])
            raise BadTarget(f"{text!r} fits {len(hits)} classes: {shown}.", "Give the full name or the number.")
    if not labels:
        raise BadTarget(f"{text!r} was asked for, but this network has no class names.", "Give the class's number.")
    raise BadTarget(f"No class is called {text!r}; there are {len(labels)}.", "Give part of a name, or the number.")
