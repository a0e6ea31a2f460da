r"""How alike two representations are: linear centered kernel alignment (CKA).

Kornblith, Norouzi, Lee and Hinton (2019): Similarity of neural network representations revisited.  With Gram matrices
$K = XX^T$, $L = YY^T$ of the same samples,

$$\mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}{\sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}}$$

It does not change when either representation is rotated or scaled.  HSIC is estimated without bias (Song et al., 2012)
and averaged over minibatches before the ratio is taken (Nguyen, Raghu and Kornblith, 2021), so that neither the number
of samples nor the size of the batches pushes it up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.counts import were_given
from pellucid.core.errors import BadInput

FEWEST = 4  # samples, from which on the unbiased estimate exists


def gram(x: Float[Tensor, "count *shape"]) -> Float[Tensor, "count count"]:
    """The Gram matrix of a representation, in double precision, of features shifted to mean zero.

    The shift changes nothing in CKA, but keeps large common offsets from drowning small differences in rounding.
    """
    v = x.detach().flatten(1).double()
    v = v - v.mean(0)
    return v @ v.T


def hsic(k: Float[Tensor, "n n"], m: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    r"""The unbiased estimate of the Hilbert-Schmidt independence criterion of two Gram matrices, at least 4 by 4.

    $\frac{1}{n(n-3)}\left[\mathrm{tr}(\tilde K\tilde L) + \frac{1^T\tilde K 1\, 1^T\tilde L 1}{(n-1)(n-2)} -
    \frac{2}{n-2} 1^T\tilde K\tilde L 1\right]$, with diagonals set to zero.
    """
    n = len(k)
    if n < FEWEST:
        raise BadInput(f"{were_given(n, 'sample')} to compare representations.", f"Give at least {FEWEST}, better 100.")
    a, b = (g - torch.diag(torch.diagonal(g)) for g in (k, m))
    both = (a * b).sum() + a.sum() * b.sum() / ((n - 1) * (n - 2)) - 2 * (a.sum(0) @ b.sum(0)) / (n - 2)
    return both / (n * (n - 3))


def cka(x: Float[Tensor, "count *shape"], y: Float[Tensor, "count *shape"]) -> float:
    """Linear CKA of two representations of the same samples: 1 for the same up to rotation and scale, about 0 for
    unrelated ones.  Being unbiased it may fall a little below zero.  NaN where one of them is constant.

    >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 5.0], [4.0, 4.0], [3.0, 1.0]])
    >>> round(cka(x, -3 * x.flip(1)), 6)
    1.0
    """
    return minibatch_cka([(x, y)])


def minibatch_cka(batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """CKA over minibatches of the same samples, each of at least 4: the estimates are summed before the ratio."""
    sums = [0.0, 0.0, 0.0]
    for x, y in batches:
        k, m = gram(x), gram(y)
        for i, (a, b) in enumerate(((k, m), (k, k), (m, m))):
            sums[i] += float(hsic(a, b))
    return ratio(*sums)


def ratio(both: float, left: float, right: float) -> float:
    """CKA of the three estimates; NaN where a representation tells no samples apart."""
    return both / math.sqrt(left * right) if left > 0 and right > 0 else float("nan")


def table(
    batches: Iterable[tuple[list[Tensor], list[Tensor]]],
) -> Float[Tensor, "left right"]:
    """CKA of every representation on the left with every one on the right, over minibatches."""
    both: Tensor | None = None
    left = right = torch.zeros(0)
    for xs, ys in batches:
        ks, ms = [gram(x) for x in xs], [gram(y) for y in ys]
        pairs = torch.stack([torch.stack([hsic(k, m) for m in ms]) for k in ks])
        own_left, own_right = (torch.stack([hsic(g, g) for g in side]) for side in (ks, ms))
        both = pairs if both is None else both + pairs
        left, right = (own_left, own_right) if not len(left) else (left + own_left, right + own_right)
    if both is None:
        raise BadInput("No samples were given to compare representations.", f"Give at least {FEWEST}.")
    size = (left.clamp(min=0)[:, None] * right.clamp(min=0)[None]).sqrt()
    return torch.where(size > 0, both / size, torch.full_like(both, float("nan")))
