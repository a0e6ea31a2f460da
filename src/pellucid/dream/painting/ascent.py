"""The network's part of a step: scores and gradients of drawn pictures, at the lowest price.

The pass ends at the last site that a target reads, weights get no gradients, batch normalization is folded where nobody
looks inside, and as many pictures run together as fit in memory.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from pellucid.core import memory_format
from pellucid.core.errors import BadModel
from pellucid.core.folding import Folding, foldable
from pellucid.core.memory import measuring
from pellucid.core.run import current
from pellucid.core.score import Score
from pellucid.core.target import Target
from pellucid.core.tensors import Tensors, batch_size
from pellucid.core.tensors import rows as some
from pellucid.rules.redirect import redirect

_MOST = 256  # pictures in a pass


@dataclass(slots=True)
class Ascent:
    """A leased score that is climbed; what the first pass showed of memory and of folds serves all later ones.

    `redirected`: how many pictures have had a gradient only through blocked rectifiers.
    """

    score: Score
    share: float
    channels_last: bool = False
    folding: Folding | None = None
    fits: dict[tuple[int, ...], int] = field(default_factory=dict)
    redirected: int = 0

    def __post_init__(self) -> None:
        model = _leased(self.score)
        self.channels_last = memory_format.prepare(self.score.net, model, current(), None)

    def __call__(
        self, x: Tensors, input: str, rows: Tensor, *, redirects: bool, target: Target | None = None
    ) -> tuple[Tensor, Tensor]:
        """Each picture's score `[n]` and gradient; `rows` says which target each belongs to.

        `target`: what is climbed at this step instead of the score's own.
        """
        score = self.score if target is None else replace(self.score, target=target)
        scores, grads = self._passes(score, x, input, rows)
        if redirects and self.share:
            dead = [i for i, g in enumerate(grads) if not bool(g.any())]
            if dead:
                self.redirected += len(dead)
                under = score.under(redirect(self.share))
                again = {k: v[dead] for k, v in x.items()}
                grads[dead] = self._passes(under, again, input, rows[dead])[1]
        return scores, grads

    def _passes(self, score: Score, x: Tensors, input: str, rows: Tensor) -> tuple[Tensor, Tensor]:
        shape = tuple(x[input].shape[1:])
        scores, grads, start = list[Tensor](), list[Tensor](), 0
        if shape not in self.fits:
            self.fits[shape] = self._measured(x, input, rows)
        while start < len(rows):
            stop = min(start + self.fits[shape], len(rows))
            found = self._one(score, some(x, start, stop), input, rows[start:stop])
            scores.append(found[0])
            grads.append(found[1])
            start = stop
        return torch.cat(scores), torch.cat(grads)

    def _measured(self, x: Tensors, input: str, rows: Tensor) -> int:
        """How many pictures fit into a pass; a first one shows it, and what can be folded."""
        run, model = current(), _leased(self.score)
        fits = 1
        if batch_size(x) > 1:
            with measuring(model, backward=True) as footprint:
                self._first(x, input, rows)
            fits = footprint.samples(run.memory, x[input].device)
        elif self.folding is None:
            self._first(x, input, rows)
        return max(1, min(fits, run.max_batch or _MOST))

    def _first(self, x: Tensors, input: str, rows: Tensor) -> None:
        if self.folding is None:
            model = _leased(self.score)
            folds = foldable(model, current(), None) and not self.score.net.borrowed_because
            self.folding = Folding(model if folds and not _looks_inside(self.score, model) else None)
            self.folding.first(partial(self._plain, self.score, some(x, 0, 1), input, rows[:1]))
        else:
            self._plain(self.score, some(x, 0, 1), input, rows[:1])

    def _one(self, score: Score, x: Tensors, input: str, rows: Tensor) -> tuple[Tensor, Tensor]:
        plain = partial(self._plain, score, x, input, rows)
        return plain() if self.folding is None or score.rules else self.folding.later(plain)

    def _plain(self, score: Score, x: Tensors, input: str, rows: Tensor) -> tuple[Tensor, Tensor]:
        def one(laid: Tensors) -> tuple[Tensor, Tensor]:
            leaf = laid[input].detach().requires_grad_()
            with torch.enable_grad():
                found = score.scored({**laid, input: leaf}, rows.to(leaf.device))[1]
            if not found.requires_grad:
                raise score.no_gradient()
            current().meter.backwards += len(rows)
            (grad,) = torch.autograd.grad(found.sum(), [leaf])
            return found.detach(), grad

        if not self.channels_last:
            return one(x)
        return memory_format.laid_out(score.net, _leased(score), x, one)


def _leased(score: Score) -> nn.Module:
    if score.model is None:
        raise RuntimeError("A score is climbed inside `leased`.")
    return score.model


def _looks_inside(score: Score, model: nn.Module) -> bool:
    """Does a target read what a fold would change: an operation, or what a layer with weights puts out?"""
    layers = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    modules = dict(model.named_modules())
    return any(s.operation or s.at == "input" or isinstance(modules.get(s.path), layers) for s in score.target.sites)


def runs_at(score: Score, x: Tensors) -> bool:
    """Does the network take inputs of this size?"""
    try:
        with torch.no_grad():
            score.scored(x, torch.zeros(batch_size(x), dtype=torch.long))
    except (
        RuntimeError,
        ValueError,
        IndexError,
        AssertionError,
        BadModel,
    ):  # the same network took its own size a moment ago
        return False
    return True
