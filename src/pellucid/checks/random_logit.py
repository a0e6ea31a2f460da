"""Is it the map of this class?  The method explains another class, and the two maps are compared.

Sixt et al. 2020 found methods that send back nearly the same picture whatever class they are asked for.  Where classes
rest on the same things, maps are rightly alike; so this is a flag, and best read against the same figure of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch

from pellucid.checks.randomization import SAME
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.option import Range
from pellucid.core.run import current
from pellucid.core.target import Target, Term
from pellucid.core.tensors import batch_size, digest
from pellucid.trials.again import classes_of, flat, of_target
from pellucid.trials.agreement import spearman
from pellucid.trials.layout import score_of
from pellucid.trials.sample import mean_of, summary

_NOTHING = "One of the two maps is the same everywhere, so there is nothing to compare."


@measure(
    title="Another class",
    family="sanity",
    paper="Sixt, Granz, Landgraf 2020, arXiv:1912.09818",
    better="lower",
    cost="`others` explanations and a pass",
)
def random_logit(
    explanation: Explanation,
    *,
    others: Annotated[int, Range(1, 1000), "how many other classes are explained (as many as there are, at most)"] = 1,
    other: Annotated[int | None, Range(0, 10**9), "this class, instead of classes drawn at random"] = None,
) -> Check:
    """Rank correlation, -1..1, of the map with the same method's map of another class, averaged over the others.

    FAILS from .95 where there are three classes or more: the map hardly depends on what was asked.  With two, the other
    class's evidence is this one's reversed, so signed maps give -1 and unsigned ones 1.  Each sample draws its own
    other classes.  Raises `BadInput` when no single class was explained, or there is no other one.

    >>> import torch, pellucid as pl
    >>> net = torch.nn.Linear(50, 3)
    >>> random_logit(pl.methods.input_x_gradient(net, torch.rand(1, 50), 0)).value < 0.9
    True
    """
    net, x = score_of(explanation).net, explanation.x
    term, classes = _asked(explanation), classes_of(net, x)
    asked = list(term.args[0]) if isinstance(term.args[0], Sequence) else [term.args[0]] * batch_size(x)
    drawn = _drawn(explanation, asked, classes, other)[:others]
    if not drawn:
        raise BadInput(f"{net.name} has {classes} class: there is no other one to explain.")
    found: list[list[float]] = []
    for which in drawn:
        there = of_target(explanation, Target((replace(term, args=(tuple(which),)),)))
        found.append([spearman(a, b) for a, b in zip(flat(explanation), flat(there), strict=True)])
    each = [mean_of(alike) for alike in zip(*found, strict=True)]
    value, worst = mean_of(each), classes > 2

    def say(v: float) -> str:
        same = "Red flag: whatever class is asked for, the picture is nearly the same" if v >= SAME and worst else ""
        few = " Of two classes, one's evidence is the other's reversed." if not worst else ""
        return f"{same or 'The map of another class'} (rank correlation {v:.2f}; the alarm is at {SAME}).{few}"

    verdict = Verdict.FAILS if value >= SAME and worst else Verdict.MEASURED
    return summary("random_logit", each, say, _NOTHING, verdict=verdict)


def _asked(explanation: Explanation) -> Term:
    """The class that was explained; raises `BadInput` when it was something else."""
    terms = explanation.of.terms
    if len(terms) != 1 or not explanation.of.classes:
        raise BadInput(f"{explanation.target} is not a single class, so there is no other one.", "Explain a class.")
    return terms[0]


def _drawn(explanation: Explanation, asked: Sequence[Any], classes: int, other: int | None) -> list[list[int]]:
    """Other classes, a list for each draw with one for each sample; a sample's draws depend on its content alone."""
    if other is not None:
        if other >= classes or other in asked:
            raise BadInput(f"other={other}: expected a class from 0 to {classes - 1} that was not explained.")
        return [[other] * len(asked)]
    columns = []
    for i, own in enumerate(asked):
        key = "".join(digest(v[i].float()) for v in explanation.x.values())
        order = torch.randperm(classes, generator=current().generator("other class", key)).tolist()
        columns.append([k for k in order if k != int(own)])
    return [list(row) for row in zip(*columns, strict=True)]
