"""The function being explained: network, target and rules composed into one number a sample.

All that a method ever sees.  `f(x)`, `f.grad(x)`, `f.watch(x, sites)`, `f.under(rule)`, `f.do(site=change)`: how
passes are batched to fit in memory, reported and stopped is decided here, once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core import memory_format
from pellucid.core.answer import Answer, Change, ask
from pellucid.core.batching import Result, in_passes
from pellucid.core.errors import BadModel, Stopped
from pellucid.core.memory import measuring
from pellucid.core.network import Network
from pellucid.core.rule import Met, Rewire, Rule
from pellucid.core.run import Run, current
from pellucid.core.site import Site
from pellucid.core.target import Target
from pellucid.core.tensors import Tensors, batch_size
from pellucid.core.uncovered import operations_without_rule

Strict: TypeAlias = Annotated[bool, "refuse a network with operations that the rules do not cover, which are named"]


@dataclass(frozen=True, slots=True)
class Seen:
    """A value at a site and the score's gradient there, both shaped like the value."""

    value: Tensor
    grad: Tensor


@dataclass(frozen=True, slots=True)
class Score:
    """Network and target, under rules and with changes at sites.

    `embedded` are inputs of whole numbers (token ids) that are explained at their embedding: the named entry of `x`
    then holds embedding vectors, which replace what the embedding at the site puts out.  `samples`: when `x` holds only
    some samples of the explained batch, their numbers there (a target may differ from one sample to another).
    `strict` (or the run's) refuses a network with operations that the rules do not cover.
    """

    net: Network
    target: Target
    rules: tuple[Rule, ...] = ()
    changes: Mapping[Site, Change] = field(default_factory=dict)
    embedded: Mapping[str, Site] = field(default_factory=dict)
    samples: Tensor | None = field(default=None, repr=False)
    model: nn.Module | None = field(default=None, repr=False)
    strict: bool = False

    def under(self, *rules: Rule, strict: bool = False) -> Score:
        """The same score with another way back; `strict` wants every operation on it to be covered."""
        return replace(self, rules=self.rules + rules, strict=self.strict or strict)

    def do(self, changes: Mapping[Site, Change]) -> Score:
        """The same score with values at sites replaced: `f.do({site: torch.zeros_like})`."""
        return replace(self, changes={**self.changes, **changes})

    def among(self, samples: Sequence[int]) -> Score:
        """The same score of some of the samples only: what it is given then holds those, in that order."""
        return replace(self, samples=torch.tensor(samples, dtype=torch.long))

    @contextmanager
    def leased(self) -> Iterator[Score]:
        """The score bound to one leased module for the block, so that many calls share it."""
        if self.model is not None:
            yield self
            return
        with self.net.lease() as model:
            yield replace(self, model=model)

    def __call__(self, x: Tensors) -> Float[Tensor, " batch"]:
        """The score of each sample."""
        return next(self.scores([x]))

    def scores(self, variations: Iterable[Tensors]) -> Iterator[Tensor]:
        """The scores of each variation of the input, `[batch]` each, many variations to a pass."""
        return self.passes(variations, lambda f, x, rows: f.target.of(f._ask(x, rows)), "forward passes")

    def outputs(self, x: Tensors) -> Tensor:
        """The part of the network's output that targets speak of, `[batch, ...]`."""
        return next(self.passes([x], lambda f, part, rows: f._ask(part, rows).main, "forward passes"))

    def values(self, x: Tensors, *sites: Site) -> dict[Site, Tensor]:
        """The values at sites; the pass ends at the last of them."""

        def one(f: Score, part: Tensors, rows: Tensor) -> Tensors:
            answer = f._ask(part, rows, sites=sites, whole=False)
            return {str(s): answer.at[s] for s in sites}

        found = next(self.passes([x], one, "forward passes"))
        return {s: found[str(s)] for s in sites}

    def grad(self, x: Tensors) -> Tensors:
        """The score's gradient with respect to each floating input, in its shape; samples never mix."""
        return next(self.grads([x]))

    def grads(self, variations: Iterable[Tensors]) -> Iterator[Tensors]:
        """The gradient at each variation of the input, many variations to a pass."""
        return self.passes(
            variations, lambda f, x, rows: f.differentiated(x, rows)[1], "gradient passes", backward=True
        )

    def differentiated(
        self, x: Tensors, rows: Tensor, around: AbstractContextManager[object] | None = None
    ) -> tuple[Tensor, Tensors]:
        """The score and its gradient in one pass of `passes`, with something `around` the way forward."""
        leaves = {k: v.detach().requires_grad_() for k, v in x.items() if v.is_floating_point()}
        with around or nullcontext():
            score = self._scored({**x, **leaves}, rows)[1]
        return score.detach(), self._differentiate(score, leaves)

    def watch(self, x: Tensors, *sites: Site) -> dict[Site, Seen]:
        """Values and gradients at sites.  No gradient graph is built before the first of them."""

        def one(f: Score, part: Tensors, rows: Tensor) -> Tensors:
            answer, score = f._scored(part, rows, sites, leaves=True)
            values = {str(s): answer.at[s] for s in sites}
            grads = f._differentiate(score, values)
            return {f"value {k}": v.detach() for k, v in values.items()} | {f"grad {k}": g for k, g in grads.items()}

        found = next(self.passes([x], one, "gradient passes", backward=True))
        return {s: Seen(found[f"value {s}"], found[f"grad {s}"]) for s in sites}

    def _scored(
        self, x: Tensors, rows: Tensor, sites: tuple[Site, ...] = (), *, leaves: bool = False
    ) -> tuple[Answer, Tensor]:
        """One pass and its score, both under the rules; a rule's baseline goes through the network beforehand."""

        def run(given: Tensors) -> tuple[Answer, Tensor]:
            answer = self._ask(given, rows, sites=sites, leaves=leaves)
            return answer, self.target.of(answer)

        if not self.rules:
            return run(x)
        baseline = next((rule.baseline for rule in self.rules if rule.baseline is not None), None)
        met: list[Met] | None = None
        if baseline is not None:
            met, start = [], baseline({k: v.detach() for k, v in x.items()})
            with Rewire(self.rules, met, rewires=False):  # a gradient is asked for where the input's will be
                run({k: v.requires_grad_(x[k].requires_grad) for k, v in start.items()})
        with Rewire(self.rules, met, kept=current().meter.kept) as rewire:
            result = run(x)
        current().meter.without_rule |= rewire.gates
        return result

    def _differentiate(self, score: Tensor, leaves: Mapping[str, Tensor]) -> Tensors:
        if not score.requires_grad:
            raise self._no_gradient()
        meter = current().meter
        if self.rules:
            meter.without_rule |= operations_without_rule(score, self.rules)
            if meter.without_rule and (self.strict or current().strict):
                raise self._not_covered(meter.without_rule)
        meter.backwards += len(score)
        found: tuple[Tensor | None, ...] = torch.autograd.grad(score.sum(), list(leaves.values()), allow_unused=True)
        if all(g is None for g in found):  # quantized operations look differentiable and are not
            raise self._no_gradient()
        return {k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(leaves.items(), found, strict=True)}

    def _not_covered(self, names: set[str]) -> BadModel:
        rules = " and ".join(rule.name for rule in self.rules)
        return BadModel(
            f"{self.net.name} has operations that {rules} says nothing about: {', '.join(sorted(names))}.",
            "Leave out strict=True to send the plain gradient through them, or use a method without rules.",
        )

    def _no_gradient(self) -> BadModel:
        return BadModel(
            f"The score {self.target} does not depend differentiably on what is to be explained.",
            "The model detaches, rounds or ignores it; use a perturbation method such as occlusion.",
        )

    def _ask(
        self, x: Tensors, rows: Tensor, *, sites: tuple[Site, ...] = (), leaves: bool = False, whole: bool = True
    ) -> Answer:
        if self.model is None:
            raise RuntimeError("A score runs inside `leased`.")
        current().meter.forwards += len(rows)
        given, changes = _embedded(x, self.embedded)
        return ask(
            self.net,
            self.model,
            given,
            sites=(*self.target.sites, *sites),
            changes={**changes, **self.changes},
            rows=rows,
            leaves=leaves,
            whole=whole and (self.target.whole or not self.target.sites),
        )

    def passes(
        self,
        variations: Iterable[Tensors],
        one: Callable[[Score, Tensors, Tensor], Result],
        what: str,
        *,
        backward: bool = False,
    ) -> Iterator[Result]:
        """Run `one` over the variations, as many to a pass as fit in memory; each variation's result in order."""
        if self.model is None:  # nobody holds a lease over the results, so they are all worked out inside one
            with self.leased() as f:
                return iter(list(f.passes(variations, one, what, backward=backward)))
        run, since, model = current(), time.monotonic(), self.model
        total = len(variations) if isinstance(variations, Sized) else None
        rows_ahead = batch_size(variations[0]) if isinstance(variations, list) and total == 1 else total
        channels_last = memory_format.prepare(self.net, model, run, rows_ahead)

        def through(x: Tensors, rows: Tensor) -> Result:
            run.checkpoint()
            device = next(iter(x.values())).device
            rows = rows if self.samples is None else self.samples[rows]
            with torch.set_grad_enabled(backward), _precision(run.precision, device, backward):
                if channels_last:
                    return memory_format.laid_out(self.net, model, x, lambda laid: one(self, laid, rows.to(device)))
                return one(self, x, rows.to(device))

        def first(x: Tensors, rows: Tensor) -> tuple[Result, int]:
            if rows_ahead == 1:  # nothing follows that its size could be chosen for
                return through(x, rows), 1
            with measuring(model, backward=backward) as footprint:
                result = through(x, rows)
            return result, footprint.samples(run.memory, next(iter(x.values())).device)

        return _counted(in_passes(variations, first, through, run), run, what, total, since)


def _counted(results: Iterator[Result], run: Run, what: str, total: int | None, since: float) -> Iterator[Result]:
    """Report progress; when stopped after something is known, end early and say so."""
    done = 0
    try:
        for result in results:
            done += 1
            run.report(what, done, total, since)
            yield result
    except Stopped:
        if not done:
            raise
        run.meter.stopped = f"after {done} of {total or '?'} {what}"


def _precision(precision: str, device: torch.device, backward: bool) -> AbstractContextManager[object]:
    """Low precision serves scoring alone: it was measured to change gradient maps by half."""
    if precision == "bfloat16" and not backward:
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def _embedded(x: Tensors, sites: Mapping[str, Site]) -> tuple[Tensors, dict[Site, Change]]:
    """What the model is given, and the changes that put embedding vectors where the embedding's output was."""
    if not sites:
        return x, {}
    changes: dict[Site, Change] = {site: partial(_replaced_by, x[name]) for name, site in sites.items()}
    return {k.removesuffix(IDS): v for k, v in x.items() if k not in sites}, changes


def _replaced_by(new: Tensor, _old: Tensor) -> Tensor:
    return new


# An embedded input's token ids travel in `x` beside its vectors, under this suffix.
IDS = " (ids)"
