"""The method once more, under other conditions: on inputs nearby, for other targets; and how far the maps are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.network import Network
from pellucid.core.option import Range
from pellucid.core.replaced import IDS
from pellucid.core.run import current
from pellucid.core.target import Target, Term
from pellucid.core.tensors import Tensors, digest, each, joined, per_sample, rows
from pellucid.trials.layout import score_of
from pellucid.trials.unlearned import unlearned

Radius: TypeAlias = Annotated[
    float, Range(1e-9, 10.0), "how far each value is moved at most, as a share of the sample's range"
]
_SAMPLES = 32  # explained in one run
Copies: TypeAlias = Annotated[int, Range(1, 10_000), "near copies, each explained"]


def flat(explanation: Explanation) -> Float[Tensor, "batch n"]:
    """Each sample's values, over all inputs, in float64."""
    maps = [m.detach().flatten(1).double().cpu() for m in explanation.maps.values()]
    return torch.cat(maps, 1)


def of_target(explanation: Explanation, target: Target) -> Explanation:
    """The same method and seed for another target."""
    score_of(explanation)
    return replace(explanation, of=target).rerun()


def on_random_weights(explanation: Explanation) -> Explanation:
    """The same method and seed on the network with every weight drawn anew; raises `BadModel` when it has none."""
    net = unlearned(score_of(explanation).net, explanation.x, current().seed)
    return explanation.rerun(net=net, seed=explanation.seed)


def distances(one: Float[Tensor, "batch n"], other: Float[Tensor, "batch n"]) -> list[float]:
    """||other - one|| / ||one|| of each sample; NaN where `one` is zero everywhere.

    >>> distances(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 9.0]]))
    [1.0]
    """
    size = one.norm(dim=1)
    found: list[float] = ((other - one).norm(dim=1) / size.masked_fill(size == 0, torch.nan)).tolist()
    return found


def classes_of(net: Network, x: Tensors) -> int:
    """How many classes the network puts out; raises `BadInput` when its output is not `[batch, classes]`."""
    current().meter.forwards += 1
    with net.lease() as model, torch.no_grad():
        out = net.pick(net.call(model, rows(x, 0, 1)))
    if out.ndim != 2:
        raise BadInput(f"{net.name} puts out {tuple(out.shape)}; expected one score a class.", "Explain a class.")
    return out.shape[1]


def refuse_words(explanation: Explanation) -> None:
    """Raise `BadInput` when the input is of words, which have no neighbors; `Missing` without the network."""
    if score_of(explanation).embedded or any(name + IDS in explanation.explained for name in explanation.maps):
        raise BadInput("Words have no near copies to compare with.", "Pictures, series and tables have.")


def nearby(x: Tensors, radius: float, draw: int) -> Tensors:
    """The inputs moved at random by up to `radius` of each sample's range, uniformly: a draw from the box around them.

    A sample's move depends on the seed, the number of the draw and its own content.
    """

    def moved(v: Tensor) -> Tensor:
        draws = [torch.rand(s.shape, generator=current().generator("nearby", digest(s.float()), draw)) for s in v]
        low, high = v.flatten(1).aminmax(dim=1)
        return v + radius * per_sample(high - low, v) * (2 * torch.stack(draws) - 1).to(device=v.device, dtype=v.dtype)

    return {**x, **each(moved, x)}


def around(explanation: Explanation, radius: float, copies: int) -> list[tuple[Tensors, Float[Tensor, "batch n"]]]:
    """Near copies of the input, with their maps.  Raises `BadInput` for words, `Missing` without the network."""
    refuse_words(explanation)
    near = [nearby(explanation.x, radius, draw) for draw in range(copies)]
    return list(zip(near, on_copies(explanation, near), strict=True))


def on_copies(
    explanation: Explanation, copies: Sequence[Tensors], net: Network | None = None
) -> list[Float[Tensor, "batch n"]]:
    """The maps of other inputs in the place of the explained ones, several to a run where samples are kept apart.

    They are run one by one where a method compares samples, or an option is a tensor that may know how many there are.
    """
    samples, of = len(next(iter(explanation.x.values()))), explanation.of
    apart = not getattr(explanation.again, "together", True)
    size = max(1, _SAMPLES // samples) if apart and not any(map(torch.is_tensor, explanation.options.values())) else 1
    found: list[Tensor] = []
    for start in range(0, len(copies), size):
        some = copies[start : start + size]
        many = replace(explanation, of=Target(tuple(_repeated(t, len(some)) for t in of.terms)))
        maps = flat(many.rerun(net, x=joined(some), seed=explanation.seed))
        found += [maps[i * samples : (i + 1) * samples] for i in range(len(some))]
    return found


def _repeated(term: Term, times: int) -> Term:
    """The term for several copies of the batch: where each sample has its own class, so has its copy."""
    head, *rest = term.args
    each_its_own = term.kind in ("logit", "probability", "log_odds") and isinstance(head, list | tuple)
    return replace(term, args=(tuple(head) * times, *rest)) if each_its_own else term


def gaps(x: Tensors, near: Tensors) -> Float[Tensor, " batch"]:
    """Each sample's Euclidean distance between two inputs, over all of them."""
    away = torch.cat(list(each(lambda a, b: (b - a).flatten(1).double().cpu(), x, near).values()), 1)
    found: Tensor = away.norm(dim=1)
    return found
