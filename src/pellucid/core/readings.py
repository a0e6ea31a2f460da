"""What targets read off the network's output, or off the values at a site: one number a sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pellucid.core.answer import Answer
from pellucid.core.counts import count, were_given
from pellucid.core.errors import BadTarget
from pellucid.core.head import Head
from pellucid.core.site import Site

LEAST_COSINE = 0.1  # where a value points away from the direction, its share still has a gradient


def gram_of(a: Tensor) -> Tensor:
    """The products of channels `[batch, channels, channels]`, averaged over positions, of `[batch, channels, ...]`.

    >>> gram_of(torch.tensor([[[1.0, 3.0], [2.0, 0.0]]])).tolist()
    [[[5.0, 1.0], [1.0, 2.0]]]
    """
    flat = a.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def _scores(answer: Answer, kind: str) -> Tensor:
    z = answer.main
    if z.ndim == 2:
        return z
    raise BadTarget(
        f"{kind} needs an output of [batch, classes]; this network puts out {tuple(z.shape)}.",
        "Use token(position, class) for sequences, region(class, mask) for pixels, or scalar(function).",
    )


def _logit(answer: Answer, which: int | str | Sequence[int]) -> Tensor:
    z = _scores(answer, "logit")
    return z.gather(1, _index(answer, which, z.shape[1])[:, None])[:, 0]


def _head(answer: Answer) -> Head:
    return answer.net.head or Head(1)


def _index(answer: Answer, which: int | str | Sequence[int], classes: int) -> Tensor:
    if isinstance(which, str):
        raise BadTarget(f"The class {which!r} was not looked up.", "Use target.named(net).")
    chosen = (which,) * (int(answer.rows.max()) + 1) if isinstance(which, int) else tuple(which)
    bad = next((c for c in chosen if not 0 <= c < classes), None)
    if bad is not None:
        there = f"this network has classes 0 to {classes - 1}"
        raise BadTarget(f"Class {bad} was asked for; {there}.", "Give one of these numbers, or none: the top class.")
    if len(chosen) <= int(answer.rows.max()):
        raise BadTarget(f"{were_given(len(chosen), 'class')} for {count(int(answer.rows.max()) + 1, 'sample')}.")
    return torch.tensor(chosen, device=answer.rows.device)[answer.rows]


def _probability(answer: Answer, which: int | str | Sequence[int]) -> Tensor:
    z = _scores(answer, "probability")
    if z.shape[1] == 1:
        return _head(answer).share(z.gather(1, _index(answer, which, 1)[:, None])[:, 0])
    return z.softmax(1).gather(1, _index(answer, which, z.shape[1])[:, None])[:, 0]


def _log_odds(answer: Answer, which: int | str | Sequence[int]) -> Tensor:
    z = _scores(answer, "log_odds")
    if z.shape[1] == 1:  # a single sigmoid unit: its logit is its log-odds
        return _head(answer).log_odds(z[:, 0])
    chosen = _index(answer, which, z.shape[1])[:, None]
    return z.gather(1, chosen)[:, 0] - z.scatter(1, chosen, float("-inf")).logsumexp(1)


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


def _channel(answer: Answer, site: Site, index: int, axis: int = 1) -> Tensor:
    a = answer.at[site]
    if a.ndim < 2 or not -a.ndim < axis < a.ndim or axis % a.ndim == 0 or not 0 <= index < a.shape[axis]:
        raise BadTarget(f"channel({site}, {index}): the site holds {tuple(a.shape)}; channels are axis {axis}.")
    return a.select(axis, index).flatten(1).mean(1) if a.ndim > 2 else a[:, index]


def _neuron(answer: Answer, site: Site, index: tuple[int, ...]) -> Tensor:
    a = answer.at[site]
    if len(index) != a.ndim - 1 or any(not -n <= i < n for i, n in zip(index, a.shape[1:], strict=True)):
        raise BadTarget(
            f"neuron({site}, {index}): the site holds {tuple(a.shape)}; give one index for each later axis."
        )
    return a.flatten(1)[:, int(torch.arange(a[0].numel()).view(a[0].shape)[index])]


def _direction(answer: Answer, site: Site, vector: Tensor, power: float, axis: int) -> Tensor:
    a = answer.at[site]
    v = vector.to(device=a.device, dtype=a.dtype)
    if tuple(v.shape) == tuple(a.shape[1:]):
        a = a.flatten(1)[:, None]
    elif v.ndim == 1 and -a.ndim < axis < a.ndim and axis % a.ndim and len(v) == a.shape[axis]:
        a = a.movedim(axis, -1).flatten(1, -2) if a.ndim > 2 else a[:, None]
    else:
        raise BadTarget(
            f"direction({site}): the vector is {tuple(v.shape)}, the site holds {tuple(a.shape)}.",
            f"Give one number for each entry of axis {axis}, or a value of the site's whole shape.",
        )
    along = a @ v.flatten()
    if power:
        size = a.norm(dim=-1) * v.norm()
        along = along * (along / size.clamp_min(1e-12)).clamp_min(LEAST_COSINE) ** power
    return along.mean(1)


def _energy(answer: Answer, site: Site) -> Tensor:
    return answer.at[site].flatten(1).square().mean(1)


def _likeness(answer: Answer, site: Site, value: Tensor) -> Tensor:
    a = answer.at[site]
    return _near(a, value, f"likeness({site}): the value is {tuple(value.shape)}, the site holds {tuple(a.shape)}.")


def _texture(answer: Answer, site: Site, gram: Tensor) -> Tensor:
    a = answer.at[site]
    if a.ndim < 3:
        raise BadTarget(f"texture({site}): the site holds {tuple(a.shape)}, which has no positions.")
    return _near(gram_of(a), gram, f"texture({site}): gram is {tuple(gram.shape)}, there are {a.shape[1]} channels.")


def _alike(answer: Answer, site: Site, grams: Tensor) -> Tensor:
    g, others = gram_of(answer.at[site]).flatten(1), grams.flatten(1)
    return torch.nn.functional.cosine_similarity(g[:, None], others[None], dim=2).mean(1)


def _away(answer: Answer, site: Site, others: Tensor, weights: Tensor) -> Tensor:
    a = answer.at[site]
    apart = (a[:, None] - others[None]).square().flatten(2).mean(2)
    return (apart * weights).sum(1)


def _near(a: Tensor, wanted: Tensor, misfit: str) -> Tensor:
    if tuple(wanted.shape) != tuple(a.shape[1:]):
        raise BadTarget(misfit, "Take it from the same site for an input of the same size.")
    wanted = wanted.to(device=a.device, dtype=a.dtype)
    size = wanted.square().sum().clamp_min(torch.finfo(a.dtype).tiny)
    return -(a - wanted).square().flatten(1).sum(1) / size


AT_OUTPUT: Mapping[str, Callable[..., Tensor]] = {
    "logit": _logit, "probability": _probability, "log_odds": _log_odds,
    "token": _token, "region": _region, "scalar": _scalar,
}  # fmt: skip
AT_SITES: Mapping[str, Callable[..., Tensor]] = {
    "channel": _channel, "neuron": _neuron, "direction": _direction,
    "energy": _energy, "likeness": _likeness, "texture": _texture, "alike": _alike, "away": _away,
}  # fmt: skip
