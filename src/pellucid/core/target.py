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
from pellucid.core.errors import BadTarget
from pellucid.core.network import Network
from pellucid.core.site import Site

Which: TypeAlias = int | str | Sequence[int]


@dataclass(frozen=True, slots=True)
class Term:
    """One summand: `weight * kind(*args)`."""

    weight: float
    kind: str
    args: tuple[Any, ...]

    def __str__(self) -> str:
        shown = ", ".join(getattr(a, "__name__", str(a)) for a in self.args)
        return f"{self.kind}({shown})" if abs(self.weight) == 1 else f"{abs(self.weight):g}*{self.kind}({shown})"


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
        return tuple(a for t in self.terms for a in t.args if isinstance(a, Site))

    @property
    def whole(self) -> bool:
        """Does the target read the network's output, so that a pass must run to its end?"""
        return any(not any(isinstance(a, Site) for a in t.args) for t in self.terms)

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
        if (
            len(self.terms) == 1
            and self.terms[0].weight == 1
            and isinstance(self.terms[0].args[0], int)
            and self.classes
        ):
            return f"{self.terms[0].kind.replace('_', '-')} of {net.label(self.terms[0].args[0])}"
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


def channel(site: str | Site, index: int) -> Target:
    """The mean of one channel (axis 1) at a site, over space."""
    return _single("channel", _site(site), index)


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


def _scores(answer: Answer, kind: str) -> Tensor:
    z = answer.main
    if z.ndim == 2:
        return z
    raise BadTarget(
        f"{kind} needs an output of [batch, classes]; this network puts out {tuple(z.shape)}.",
        "Use token(position, class) for sequences, region(class, mask) for pixels, or scalar(function).",
    )


def _logit(answer: Answer, which: Which) -> Tensor:
    z = _scores(answer, "logit")
    return z.gather(1, _index(answer, which, z.shape[1])[:, None])[:, 0]


def _index(answer: Answer, which: Which, classes: int) -> Tensor:
    if isinstance(which, str):
        raise BadTarget(f"The class {which!r} was not looked up.", "Use target.named(net).")
    chosen = (which,) * (int(answer.rows.max()) + 1) if isinstance(which, int) else tuple(which)
    bad = next((c for c in chosen if not 0 <= c < classes), None)
    if bad is not None:
        raise BadTarget(f"Class {bad} was asked for; this network has classes 0 to {classes - 1}.")
    if len(chosen) <= int(answer.rows.max()):
        raise BadTarget(f"{len(chosen)} classes were given for {int(answer.rows.max()) + 1} samples.")
    return torch.tensor(chosen, device=answer.rows.device)[answer.rows]


def _probability(answer: Answer, which: Which) -> Tensor:
    z = _scores(answer, "probability")
    return z.softmax(1).gather(1, _index(answer, which, z.shape[1])[:, None])[:, 0]


def _log_odds(answer: Answer, which: Which) -> Tensor:
    z = _scores(answer, "log_odds")
    if z.shape[1] == 1:  # a single sigmoid unit: its logit is its log-odds
        return z[:, 0]
    chosen = _index(answer, which, z.shape[1])[:, None]
    return z.gather(1, chosen)[:, 0] - z.scatter(1, chosen, float("-inf")).logsumexp(1)


def _channel(answer: Answer, site: Site, index: int) -> Tensor:
    a = answer.at[site]
    if a.ndim < 2 or not 0 <= index < a.shape[1]:
        raise BadTarget(f"channel({site}, {index}): the site holds {tuple(a.shape)}; channels are axis 1.")
    return a[:, index].flatten(1).mean(1) if a.ndim > 2 else a[:, index]


def _neuron(answer: Answer, site: Site, index: tuple[int, ...]) -> Tensor:
    a = answer.at[site]
    if len(index) != a.ndim - 1 or any(not -n <= i < n for i, n in zip(index, a.shape[1:], strict=True)):
        raise BadTarget(
            f"neuron({site}, {index}): the site holds {tuple(a.shape)}; give one index for each later axis."
        )
    return a.flatten(1)[:, int(torch.arange(a[0].numel()).view(a[0].shape)[index])]


def _token(answer: Answer, position: int, which: int) -> Tensor:
    z = answer.main
    if z.ndim != 3 or not -z.shape[1] <= position < z.shape[1] or not 0 <= which < z.shape[2]:
        raise BadTarget(
            f"token({position}, {which}): the output is {tuple(z.shape)}, expected [batch, position, class]."
        )
    return z[:, position, which]


def _region(answer: Answer, which: int, mask: Tensor) -> Tensor:
    z = answer.main
    if z.ndim != 4 or tuple(z.shape[2:]) != tuple(mask.shape):
        raise BadTarget(
            f"region: the output is {tuple(z.shape)} and the mask {tuple(mask.shape)}; their sizes must agree."
        )
    if mask.dtype != torch.bool or not bool(mask.any()):
        raise BadTarget(f"region: the mask is {mask.dtype}; expected bool with at least one pixel true.", "mask > 0.5")
    if not 0 <= which < z.shape[1]:
        raise BadTarget(f"region: class {which} was asked for; this network has classes 0 to {z.shape[1] - 1}.")
    return z[:, which][:, mask.to(z.device)].mean(1)


def _scalar(answer: Answer, fn: Callable[[Any], Tensor]) -> Tensor:
    value: object = fn(answer.output)
    if not isinstance(value, Tensor) or tuple(value.shape) != (len(answer.rows),):
        given = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise BadTarget(f"The scalar target gave {given}; expected one number for each of {len(answer.rows)} samples.")
    return value


KINDS: Mapping[str, Callable[..., Tensor]] = {
    "logit": _logit, "probability": _probability, "log_odds": _log_odds, "channel": _channel,
    "neuron": _neuron, "token": _token, "region": _region, "scalar": _scalar,
}  # fmt: skip


def _named(term: Term, net: Network) -> Term:
    if term.kind not in ("logit", "probability", "log_odds") or not isinstance(term.args[0], str):
        return term
    return replace(term, args=(find_class(net.labels, term.args[0]),))


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
