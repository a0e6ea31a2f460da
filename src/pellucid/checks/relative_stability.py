"""How much does the map change, place by place, relative to the change of the input, of what the network makes of it?

Agarwal et al. 2022: the largest, over near copies of the same class, of ||(e - e') / e|| over ||(x - x') / x|| (RIS),
over the same of an inner representation (RRS), or over ||logits - logits'|| (ROS).  **It divides by the map itself**:
where the map is near zero, a change of nothing becomes a large number, and sparse maps come out as the unstable ones.
Denominators are guarded here: no place counts as weaker than a share of the strongest.  How many needed that is told;
where they are many, use `max_sensitivity`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.check import Check
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.explanation import Explanation
from pellucid.core.measure import measure
from pellucid.core.names import module_paths
from pellucid.core.option import Range
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors, each
from pellucid.trials.again import Copies, Radius, around, flat
from pellucid.trials.layout import score_of
from pellucid.trials.sample import mean_of, summary
from pellucid.trials.unlearned import layers_of

_SMALL = 1e-12


@measure(
    title="Relative stability",
    family="stability",
    paper="Agarwal et al. 2022, arXiv:2203.06877",
    better="lower",
    cost="`copies` explanations and two passes each",
)
def relative_stability(
    explanation: Explanation,
    *,
    against: Annotated[
        Literal["input", "representation", "output"], "what the map's change is divided by (RIS, RRS, ROS)"
    ] = "input",
    site: Annotated[str, "where the representation is; empty: what goes into the last layer that has weights"] = "",
    radius: Radius = 0.02,
    copies: Copies = 10,
    guard: Annotated[float, Range(1e-9, 1.0), "no value counts as weaker than this share of the strongest"] = 0.01,
) -> Check:
    """The largest relative change of the map over that of the input, an inner representation or the output.

    Copies that the network takes for another class are left out, as in the paper.  References: the other two forms,
    "input", "representation" and "output", where there are any, and "guarded": the share of places whose value
    was below the guard.  Raises `BadInput` for words or where there is no such site, `Missing` without the network.

    >>> import torch, pellucid as pl
    >>> why = pl.methods.input_x_gradient(torch.nn.Linear(9, 1), 1 + torch.rand(1, 9), 0)
    >>> round(relative_stability(why, guard=1e-6).value, 3)  # values that follow the input, one by one
    1.0
    """
    score = score_of(explanation).outside
    start, x, found = flat(explanation), explanation.x, around(explanation, radius, copies)
    place = _site(score, x, site)
    here = _seen(score, x, place)
    tops: list[dict[str, Tensor]] = []
    for near, there in found:
        after = _seen(score, near, place)
        change = _relative(start, there, guard)
        other = (here["output"].argmax(1) != after["output"].argmax(1)) & (here["output"].shape[1] > 1)
        divided = {k: change / _divisor(k, here, after, guard).clamp_min(_SMALL) for k in after}
        tops.append({k: v.masked_fill(other, -math.inf) for k, v in divided.items()})
    worst = {k: torch.stack([t[k] for t in tops]).amax(0) for k in tops[0]}
    forms = {k: v.masked_fill(v.isinf(), torch.nan).tolist() for k, v in worst.items()}
    weak = float((start.abs() < guard * start.abs().amax(1, keepdim=True)).double().mean())
    if against not in forms:
        raise BadInput(f"{score.net.name} has no inner representation that was found.", "Name its site: site='...'.")

    def say(v: float) -> str:
        return (
            f"Of {copies} near copies, the worst changes the map, place by place, {v:.3g} times as much as the "
            f"{against}. {weak:.0%} of the places are near zero and were guarded: dividing by them makes sparse maps "
            "look unstable."
        )

    others = tuple((k, mean_of(v)) for k, v in forms.items() if k != against)
    nothing = "No near copy could be compared: each is taken for another class, or the map is zero everywhere."
    return summary("relative_stability", forms[against], say, nothing, references=(*others, ("guarded", weak)))


def _site(score: Score, x: Tensors, site: str) -> Site | None:
    if site:
        return Site.parse(site)
    layers = layers_of(score.net, x)
    last = layers[-1].name if layers else ""
    module = module_paths(score.net.model).get(last) if last else None
    return None if module is None or isinstance(module, torch.jit.ScriptModule) else Site(last, 0, "input")


def _seen(score: Score, x: Tensors, place: Site | None) -> dict[str, Float[Tensor, "batch n"]]:
    """The input, what is at the site, and the output, each flattened."""
    floating = each(lambda v: v.flatten(1).double().cpu(), x)
    seen = {"input": torch.cat(list(floating.values()), 1)}
    if place is not None:
        try:
            seen["representation"] = score.values(x, place)[place].flatten(1).double().cpu()
        except BadModel:  # the last weights are read without their module being called
            if place.at != "input":
                raise
    return {**seen, "output": score.outputs(x).flatten(1).double().cpu()}


def _divisor(kind: str, here: dict[str, Tensor], after: dict[str, Tensor], guard: float) -> Float[Tensor, " batch"]:
    if kind == "output":
        away: Tensor = (here[kind] - after[kind]).norm(dim=1)
        return away
    return _relative(here[kind], after[kind], guard)


def _relative(one: Float[Tensor, "batch n"], other: Float[Tensor, "batch n"], guard: float) -> Float[Tensor, " batch"]:
    """||(one - other) / one||, where nothing in `one` counts as weaker than a share of its strongest."""
    floor = guard * one.abs().amax(1, keepdim=True)
    weights = one.abs().maximum(floor)
    found: Tensor = ((one - other) / weights.masked_fill(weights == 0, torch.nan)).norm(dim=1)
    return found
