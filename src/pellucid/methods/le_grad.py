r"""LeGrad: how steeply the score rises with the attention that each token gets, over all layers.

$$E_k = \frac{1}{L}\sum_l\frac{1}{H\,n}\sum_{h,q}\Bigl(\frac{\partial s^{(l)}}{\partial A^{(l)}_{hqk}}\Bigr)^{\!+}$$

with $s^{(l)}$ the score read from layer $l$ by itself: what follows the last layer, given the output of layer $l$.
Where the layers of a network cannot be told apart as blocks that all put out the same tokens, and with
`readout="score"`, the score itself takes the place of every $s^{(l)}$; a note says so.  Where a mask lets no attention
go, there is none to gain, and such weights are left out.  The paper scales the map to
0..1; here it keeps its unit, the score's per unit of attention.

Good for: transformers, fine maps at the price of one gradient pass.
Not for:  evidence against the target, which is cut away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from pellucid.core.attention.catch import Attention
from pellucid.core.attention.flow import Layers, on_inputs, refuse_none, refuse_windows
from pellucid.core.attention.passes import Attends, attention, attention_layer_by_layer, attention_of, blocks_of
from pellucid.core.attention.tokens import Stream, streams
from pellucid.core.method import Finding, Promise, method
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.tensors import Tensors

Readout = Literal["layer", "score"]


@method(
    title="LeGrad",
    family="attention",
    paper="Bousselham, Boggust, Chaybouti, Strobelt, Kuehne 2024, arXiv:2404.03214",
    promises=Promise.IMPLEMENTATION_INVARIANT,
    cost="1 gradient pass",
    signed=False,
)
def le_grad(
    f: Score,
    x: Tensors,
    *,
    layers: Layers = None,
    readout: Annotated[Readout, "whose gradient: the score read from each layer by itself, or the score"] = "layer",
) -> Finding:
    """How steeply the score rises with attention to each token of each input, averaged over heads, queries and layers.

    For a picture `[batch, 1, height, width]`, enlarged from the grid of patches (`resolution`); for words and steps
    `[batch, tokens, 1]`; of two inputs each has its map.  Raises `BadModel` when no attention can be seen, it runs
    within windows, or the score does not depend on it.

    >>> import torch, pellucid as pl
    >>> class Pool(torch.nn.Module):
    ...     def forward(self, x):
    ...         return torch.nn.functional.scaled_dot_product_attention(x, x, x)[:, 0]
    >>> x = torch.tensor([[[0.0, 0.0], [0.0, 3.0], [0.0, -3.0]]])
    >>> pl.methods.le_grad(Pool(), x, 1).values.flatten().tolist()
    [0.0, 1.0, 0.0]
    """
    attends = attention_of(f, x)
    refuse_windows(f.net, attends)
    known = streams(f, x, attends)
    refuse_none(f.net, attends, known)
    chosen = range(max(0, len(attends) - (layers or len(attends))), len(attends))

    def read(found: Sequence[Attention]) -> Tensors:
        if all(found[i].grad is None for i in chosen):
            raise f.no_gradient()
        return _sums(attends, found, chosen, known)

    blocks = blocks_of(f, x, attends) if readout == "layer" else ()
    values = attention_layer_by_layer(f, x, blocks, read) if blocks else attention(f, x, read, since=chosen[0])
    used = sum(bool(known[attends[i].keys].input) for i in chosen)
    notes = []
    if readout == "layer" and not blocks:
        notes.append("The layers cannot be read one by one; the gradient is the score's own.")
    if used < len(chosen):
        left_out = len(chosen) - used
        notes.append(f"{left_out} of {len(chosen)} layers look at tokens that stand for no part of the input.")
    found = on_inputs(values, known, x, {"layers": used, "read from": [str(b) for b in blocks]})
    return replace(found, notes=tuple(notes))


def _sums(
    attends: Sequence[Attends], found: Sequence[Attention], chosen: Sequence[int], known: Mapping[int, Stream]
) -> Tensors:
    """The mean over heads, queries and layers, for the tokens of each input."""
    layers = sum(bool(known[attends[i].keys].input) for i in chosen)
    fewest = {
        s.input: min(n for n, other in known.items() if other.input == s.input) for s in known.values() if s.input
    }
    sums: Tensors = {}
    for i in chosen:
        name, grad = known[attends[i].keys].input, found[i].grad
        if name:
            slope = found[i].weights.new_zeros(len(found[i].weights), attends[i].keys)
            if grad is not None:
                slope = torch.where(found[i].weights == 0, 0.0, grad.clamp(min=0)).mean((1, 2))
            slope = slope[:, attends[i].keys - fewest[name] :] / layers  # some layers may see a class token more
            sums[name] = sums[name] + slope if name in sums else slope
    return sums


def reference(f: Score, x: Tensors, *, layers: int | None = None, readout: str = "layer") -> Tensors:
    """The definition for one kind of tokens, a pass and a gradient for each layer."""
    attends = attention_of(f, x)
    (stream,) = (s for s in streams(f, x, attends).values() if s.input)
    blocks = blocks_of(f, x, attends) if readout == "layer" else ()
    used = range(len(attends))[-(layers or len(attends)) :]
    total = x[stream.input].new_zeros(len(x[stream.input]), stream.tokens)
    for i in used:
        g = _read_at(f, blocks[i], blocks[-1]) if blocks else f

        def slopes(found: Sequence[Attention], i: int = i) -> Tensors:
            grad = found[i].grad
            assert grad is not None  # noqa: S101
            slope = torch.zeros_like(grad[:, 0, 0])
            for h in range(grad.shape[1]):
                for q in range(grad.shape[2]):
                    slope += (grad[:, h, q] * (found[i].weights[:, h, q] != 0)).clamp(min=0)
            return {"": slope / grad.shape[1] / grad.shape[2]}

        total += attention(g, x, slopes, since=0)[""] / len(used)
    return {stream.input: stream.laid_on(total, x[stream.input])}


def _read_at(f: Score, block: Site, last: Site) -> Score:
    """The score with what one block puts out in place of what the last one does."""
    kept: list[Tensor] = []

    def note(value: Tensor) -> Tensor:
        kept.append(value)
        return value.clone()

    return f if block == last else f.do({block: note, last: lambda _: kept[-1]})
