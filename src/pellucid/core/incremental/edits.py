"""Scores under many local changes of one picture, computing only what each can change where that is exact and cheaper.

Every run is held against whole passes: two changes drawn at random take both ways, and if these disagree by more than
rounding, all changes take the whole way.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.incremental.local_edits import Edits, Wholes
from pellucid.core.incremental.reuse import Reuse
from pellucid.core.incremental.scaled import Unfit
from pellucid.core.passes import counted
from pellucid.core.run import current, running
from pellucid.core.score import Score
from pellucid.core.tensors import Tensors

_FEW = 20  # changes for which learning a network's operations does not pay
_SPREAD = 1e-5  # of the range of the scores: by how much the two ways may differ
_ROUNDING = 16  # units in the last place of the network's largest output: whole passes differ by as much themselves


@dataclass(frozen=True, slots=True)
class Edited:
    """The score of every sample, `[batch]`, with the number of its change; in any order.  `facts` say how."""

    scores: Iterator[tuple[int, Tensor]]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Some:
    wholes: Wholes
    which: Sequence[int]

    def __len__(self) -> int:
        return len(self.which)

    def __iter__(self) -> Iterator[Tensors]:
        return map(self.wholes.at, self.which)


def under_edits(f: Score, x: Tensors, edits: Edits, base: Tensor) -> Edited:
    """Scores under local changes; `base` are the scores without any.

    Falls back on whole passes, and says why, where only these are exact (see `Edited.facts`).
    """
    facts: dict[str, Any] = {}
    with f.leased() as g:
        found = _edited(g, x, edits, base, facts)
        return Edited(found if f.model is not None else iter(list(found)), facts)


def _edited(f: Score, x: Tensors, edits: Edits, base: Tensor, facts: dict[str, Any]) -> Iterator[tuple[int, Tensor]]:
    why, reuse, known = _unfit(f, x, edits), None, dict[int, Tensor]()
    if not why:
        try:
            reuse = Reuse(f, x, edits)
            known, why = _probed(f, edits, reuse, base, facts)
        except Unfit as error:
            why = str(error)
    if why or reuse is None:
        facts["computed"] = f"whole passes: {why}"
        return enumerate(f.scores(edits.wholes))
    return _streamed(f, edits, reuse, known, facts)


def _unfit(f: Score, x: Tensors, edits: Edits) -> str:
    """Why only whole passes will do, or ''."""
    run, v = current(), x.get(edits.name, torch.zeros(()))
    reasons = {
        edits.why_not: bool(edits.why_not),
        "there are too few changes for anything else to pay": len(edits.wholes) < _FEW,
        f"the input is no picture but {tuple(v.shape)}": v.ndim != 4,
        f"{v.dtype} is too coarse to compare two ways".replace("torch.", ""): v.dtype
        not in (torch.float32, torch.float64),
        "the run asks for bfloat16": run.precision != "model",
        "the run allows one sample a pass": run.max_batch == 1,
        "the input is explained at its embedding": bool(f.embedded),
        "an inner site is explained": f.inner is not None,
        "values are changed inside the network": bool(f.changes),
        "the target speaks of values inside the network": bool(f.target.sites),
        f"the network is borrowed, because {f.net.borrowed_because}": bool(f.net.borrowed_because),
    }
    return next((why for why, holds in reasons.items() if holds), "")


def _probed(f: Score, edits: Edits, reuse: Reuse, base: Tensor, facts: dict[str, Any]) -> tuple[dict[int, Tensor], str]:
    """Scores of some changes, two of which were held against whole passes; and why these disagreed, or ''."""
    run, count = current(), len(edits.wholes)
    chosen = torch.randperm(count, generator=run.generator("changes to check", count))[:2].tolist()
    known = dict(reuse.scores([i for change in chosen for i in reuse.beside(change)]))
    with running(replace(run, progress=None, stop=None)):
        wholes = torch.stack(list(f.scores(_Some(edits.wholes, chosen))))
    differences = (torch.stack([known[i] for i in chosen]) - wholes).abs().amax(0)
    every = torch.stack([*known.values(), base])
    spread = every.amax(0) - every.amin(0)
    rounding = _ROUNDING * torch.finfo(base.dtype).eps * reuse.largest
    worst = float((differences / spread.clamp(min=rounding or 1.0)).max())
    if not bool((differences <= (_SPREAD * spread).clamp(min=rounding)).all()):
        reuse.forget()
        return {}, f"computing only what changes gave other scores, by {worst:.1g} of their range"
    facts["computed"] = (
        f"only what each change can change: {reuse.share:.0%} of whole passes; two changes were computed both ways "
        f"and differ by {worst:.1g} of the scores' range"
    )
    return known, ""


def _streamed(
    f: Score, edits: Edits, reuse: Reuse, known: dict[int, Tensor], facts: dict[str, Any]
) -> Iterator[tuple[int, Tensor]]:
    """What is known, then the others."""
    done = set(known)

    def results() -> Iterator[tuple[int, Tensor]]:
        yield from known.items()
        try:
            for i, score in reuse.scores([i for i in range(len(edits.wholes)) if i not in known]):
                done.add(i)
                yield i, score
        except Unfit as error:
            left = [i for i in range(len(edits.wholes)) if i not in done]
            facts["computed"] = f"whole passes, for {len(left)} of {len(edits.wholes)} changes: {error}"
            yield from zip(left, f.scores(_Some(edits.wholes, left)), strict=False)

    return counted(results(), current(), "changes", len(edits.wholes), time.monotonic())
