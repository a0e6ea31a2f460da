"""What a language model says next, as a target."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadTarget
from pellucid.core.network import Network
from pellucid.core.target import Target, each, token
from pellucid.core.tensors import Tensors

_NEAR = 6


def next_token(
    net: Network, outputs: Float[Tensor, "batch tokens words"], x: Tensors, which: int | str | None = None
) -> Target:
    """The score of a token at the end of each sample: of the likeliest one, of a number, or of what a word means.

    The end is the last token that the mask of `x` keeps.  Raises `BadTarget` for a word that is no single token.
    """
    ends = _ends(outputs, x)
    if which is None:
        ids = [int(outputs[i, end].argmax()) for i, end in enumerate(ends)]
    else:
        ids = [_number(net, which, outputs.shape[-1])] * len(ends)
    targets = [token(end, number) for end, number in zip(ends, ids, strict=True)]
    return targets[0] if len(set(targets)) == 1 else each(targets)


def _ends(outputs: Tensor, x: Tensors) -> list[int]:
    """Each sample's last token, counted from the end, so that -1 is the last of all."""
    mask = None if "decoder_input_ids" in x else x.get("attention_mask")
    if mask is None or mask.shape != outputs.shape[:2]:
        return [-1] * len(outputs)
    return [int(row.nonzero()[-1]) - len(row) if bool(row.any()) else -1 for row in mask]


def _number(net: Network, which: int | str, count: int) -> int:
    if isinstance(which, int) or which.isdecimal():
        if not 0 <= int(which) < count:
            raise BadTarget(f"There is no token {which}: they are numbered from 0 to {count - 1}.")
        return int(which)
    if net.words is None:
        raise BadTarget(f"{which!r} was asked for, but {net.name} does not know words.", "Give the token's number.")
    words = net.words(torch.arange(count))
    hits = [i for i, word in enumerate(words) if word == which] or [
        i for i, word in enumerate(words) if word.strip() == which.strip()
    ]
    if len(hits) == 1:
        return hits[0]
    if not hits:
        raise BadTarget(f"{which!r} is no single token of {net.name}.", "Give one of its tokens, or a token's number.")
    shown = ", ".join(f"{words[i]!r} ({i})" for i in hits[:_NEAR])
    raise BadTarget(f"{which!r} fits {len(hits)} tokens: {shown}.", "Give the token with its space, or its number.")
