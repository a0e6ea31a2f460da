r"""Non-negative matrix factorization: rows of numbers as mixtures, without subtraction, of a few parts.

$$\min_{U \ge 0,\, W \ge 0} \lVert A - U W \rVert_F^2$$

One weight column and one part are solved for at a time, exactly, the others held (HALS: Cichocki, Phan 2009,
doi:10.1587/transfun.E92.A.708; the problem: Lee, Seung 1999, doi:10.1038/44565).  The default start is the positive
half of each singular pair (NNDSVD: Boutsidis, Gallopoulos 2008, doi:10.1016/j.patcog.2007.09.010), so that nothing is
drawn and the same matrix always gives the same parts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import BadInput
from pellucid.core.run import current

_CHUNK = 65536  # rows whose residual is held at a time


@dataclass(frozen=True, slots=True)
class Factors:
    """`weights @ parts` is close to the matrix.  Parts have length 1, and come the one that explains most first.

    `error` is the size of what is left, as a share of the matrix's own (Frobenius norms); `settled` says whether the
    factors had stopped to change when the steps were over.
    """

    weights: Float[Tensor, "rows parts"]
    parts: Float[Tensor, "parts columns"]
    error: float
    steps: int
    settled: bool


def factorized(
    a: Float[Tensor, "rows columns"],
    count: int,
    *,
    steps: int = 400,
    tolerance: float = 1e-4,
    start: int | None = None,
) -> Factors:
    """The matrix as `count` non-negative parts and their weights.

    It ends once a step changes both factors by less than `tolerance`, relative to their size.  With `start`, a number,
    the parts begin at random rows drawn for that number instead of the singular vectors.  A `Stopped` run has the
    factors of the last step.  Raises `BadInput` for negative values, for fewer rows or columns than parts, and for a
    matrix of zeros.

    >>> a = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0], [1.0, 3.0, 2.0]])
    >>> found = factorized(a, 2)
    >>> bool(torch.allclose(found.weights @ found.parts, a, atol=1e-3)), found.settled
    (True, True)
    """
    _refuse(a, count)
    u, w = _singular_start(a, count) if start is None else _drawn_start(a, count, start)
    done, settled = 0, False
    for _ in range(steps):
        before_u, before_w = u.clone(), w.clone()
        _improve(w.T, (u.T @ a).T, u.T @ u)
        u, w = _balanced(u, w)
        _improve(u, a @ w.T, w @ w.T)
        done += 1
        settled = bool((u - before_u).norm() <= tolerance * u.norm()) and bool((w - before_w).norm() <= tolerance)
        if settled or current().stopping():
            break
    u, w = _balanced(u, w)
    order = u.norm(dim=0).argsort(descending=True, stable=True)
    u, w = u[:, order].contiguous(), w[order].contiguous()
    return Factors(u, w, residual(a, u, w), done, settled)


def weights_on(
    a: Float[Tensor, "rows columns"],
    parts: Float[Tensor, "parts columns"],
    *,
    steps: int = 500,
    tolerance: float = 1e-6,
) -> Float[Tensor, "rows parts"]:
    """Non-negative weights of rows on parts that are held fixed: least squares, one coordinate at a time.

    >>> weights_on(torch.tensor([[2.0, 6.0]]), torch.eye(2)).tolist()
    [[2.0, 6.0]]
    """
    gram, along = parts @ parts.T, a @ parts.T
    u = along.clamp(min=0) / gram.sum(1).clamp(min=torch.finfo(a.dtype).tiny)  # never above the answer's size
    for _ in range(steps):
        before = u.clone()
        _improve(u, along, gram)
        if bool((u - before).norm() <= tolerance * u.norm()):
            break
    return u


def residual(a: Tensor, u: Tensor, w: Tensor) -> float:
    """The size of A - UW as a share of A's; the difference is held a few rows at a time."""
    left = sum(float((rows - part @ w).double().square().sum()) for rows, part in _together(a, u))
    whole = sum(float(rows.double().square().sum()) for rows in torch.split(a, _CHUNK))
    return (left / whole) ** 0.5 if whole else 0.0


def _together(a: Tensor, u: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(torch.split(a, _CHUNK), torch.split(u, _CHUNK), strict=True))


def _improve(u: Tensor, along: Tensor, gram: Tensor) -> None:
    """Each column of `u` in turn: the best there is while the others stay as they are.  `u` is written in place."""
    for k in range(u.shape[1]):
        if float(gram[k, k]) > 0:
            u[:, k] = (u[:, k] + (along[:, k] - u @ gram[:, k]) / gram[k, k]).clamp(min=0)


def _balanced(u: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """Parts of length 1, the weights stretched by as much; a part of zeros stays one."""
    size = w.norm(dim=1)
    safe = torch.where(size > 0, size, 1.0)
    return u * size, w / safe[:, None]


def _singular_start(a: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The stronger half (positive or negative) of each singular pair, the smaller side of the matrix decomposed."""
    exact = a.double()
    tall = a.shape[0] >= a.shape[1]
    values, vectors = torch.linalg.eigh(exact.T @ exact if tall else exact @ exact.T)
    mine = vectors.flip(1)[:, :count]
    size = values.flip(0)[:count].clamp(min=0).sqrt()
    other = (exact @ mine if tall else exact.T @ mine) / torch.where(size > 1e-12 * size[0], size, float("inf"))
    left, right = (other, mine) if tall else (mine, other)
    u, w = torch.zeros_like(left), torch.zeros_like(right)
    for k in range(count):
        halves = [(s * left[:, k]).clamp(min=0) for s in (1, -1)], [(s * right[:, k]).clamp(min=0) for s in (1, -1)]
        strengths = [float(p.norm() * q.norm()) for p, q in zip(*halves, strict=True)]
        best = 0 if strengths[0] >= strengths[1] else 1
        p, q = halves[0][best], halves[1][best]
        if strengths[best] > 0:
            u[:, k], w[:, k] = size[k] * strengths[best] * p / p.norm(), q / q.norm()
    return u.to(a.dtype), w.T.contiguous().to(a.dtype)


def _drawn_start(a: Tensor, count: int, start: int) -> tuple[Tensor, Tensor]:
    """Parts that are rows of the matrix, a little disturbed, and their best weights."""
    generator = current().generator("parts", start)
    strong = a[(a.norm(dim=1) > 0).cpu()]
    chosen = torch.randperm(len(strong), generator=generator)[:count].to(a.device)
    rows = strong[chosen.repeat(-(-count // len(chosen)))[:count]]
    noise = torch.rand(rows.shape, generator=generator, dtype=torch.float64).to(a)
    w = rows + 0.1 * noise * rows.mean(1, keepdim=True)
    w = w / w.norm(dim=1, keepdim=True)
    return weights_on(a, w, steps=20), w


def _refuse(a: Tensor, count: int) -> None:
    if a.ndim != 2 or not a.is_floating_point():
        raise BadInput(f"A matrix of numbers is needed; got {tuple(a.shape)} of {a.dtype}.")
    if not 1 <= count <= min(a.shape):
        raise BadInput(
            f"{count} parts were asked of a matrix of {a.shape[0]} rows and {a.shape[1]} columns.",
            f"Ask for 1 to {min(a.shape)}, or give more samples.",
        )
    least = float(a.min())
    if least < 0:
        raise BadInput(f"The matrix goes down to {least:.3g}; parts without subtraction need values from 0 up.")
    if not bool(a.any()):
        raise BadInput("The matrix is zero everywhere: there is nothing to find parts of.")
