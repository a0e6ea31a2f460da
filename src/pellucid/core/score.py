"""The function being explained: network, target and rules composed into one number a sample.

All that a method ever sees: `f(x)`, `f.grad(x)`, `f.watch(x, sites)`, `f.under(rule)`, `f.do(site=change)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Annotated, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pellucid.core import memory_format
from pellucid.core.answer import Answer, Change, ask
from pellucid.core.batching import Result
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.folding import Folding, foldable
from pellucid.core.inner import Inner
from pellucid.core.network import Network
from pellucid.core.operations.uncovered import operations_without_rule
from pellucid.core.passes import measured, precision
from pellucid.core.replaced import at_embeddings, instead
from pellucid.core.rule import Met, Rewire, Rule
from pellucid.core.run import current
from pellucid.core.site import Site
from pellucid.core.slopes import no_gradient, slopes
from pellucid.core.target import Target
from pellucid.core.tensors import Tensors, batch_size

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
    then holds embedding vectors, which replace what the embedding at the site puts out.  `inner`: an inner site is
    explained in the input's place; `x` then holds the value there, under the site's name.  `samples`: when `x` holds
    only some samples of the explained batch, their numbers there (a target may differ from one sample to another).
    `strict` (or the run's) refuses a network with operations that the rules do not cover.
    """

    net: Network
    target: Target
    rules: tuple[Rule, ...] = ()
    changes: Mapping[Site, Change] = field(default_factory=dict)
    embedded: Mapping[str, Site] = field(default_factory=dict)
    inner: Inner | None = None
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

    def at(self, site: Site, x: Tensors) -> tuple[Score, Tensors]:
        """The score as a function of the value at a site, and that value for the inputs `x`, under the site's name.

        Raises `BadInput` when no sample has a value of its own there.
        """
        value = self.values(x, site)[site]
        if value.ndim == 0 or len(value) != batch_size(x) or not value.is_floating_point():
            raise BadInput(
                f"Site {str(site)!r} holds {tuple(value.shape)} of {value.dtype} for {batch_size(x)} samples.",
                "What can be explained there is a floating value of [batch, ...].",
            )
        return replace(self, inner=Inner(site, x, value.ndim)), {str(site): value.detach().clone()}

    @property
    def outside(self) -> Score:
        """The score as a function of the network's own input, where an inner site is explained."""
        return replace(self, inner=None)

    def fed(self, x: Tensors) -> Tensors:
        """The network's own input: `x`, or where an inner site is explained, the one that gave the value there."""
        return x if self.inner is None else self.inner.given

    @property
    def positions(self) -> frozenset[str]:
        """The entries of `x` that are `[batch, positions, width]`: embedded words, and three axes at an inner site.

        Of a network with an nn.Conv1d these are `[batch, channels, time]`.
        """
        inner = self.inner
        if inner is None or inner.axes != 3 or any(isinstance(m, nn.Conv1d) for m in self.net.model.modules()):
            return frozenset(self.embedded)
        return frozenset((*self.embedded, inner.name))

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
        return self.passes(variations, lambda f, x, rows: f.target.of(f._ask(x, rows)), "forward passes", folds=True)

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
            variations, lambda f, x, rows: f.differentiated(x, rows)[1], "gradient passes", backward=True, folds=True
        )

    def differentiated(
        self, x: Tensors, rows: Tensor, around: AbstractContextManager[object] | None = None
    ) -> tuple[Tensor, Tensors]:
        """The score and its gradient in one pass of `passes`, with something `around` the way forward."""
        leaves = {k: v.detach().requires_grad_() for k, v in x.items() if v.is_floating_point()}
        with around or nullcontext():
            score = self.scored({**x, **leaves}, rows)[1]
        return score.detach(), self._differentiate(score, leaves)

    def watch(self, x: Tensors, *sites: Site) -> dict[Site, Seen]:
        """Values and gradients at sites.  No gradient graph is built before the first of them."""
        return next(self.watches([x], *sites))

    def watches(self, variations: Iterable[Tensors], *sites: Site) -> Iterator[dict[Site, Seen]]:
        """Values and gradients at sites for each variation of the input, many variations to a pass."""

        def one(f: Score, part: Tensors, rows: Tensor) -> Tensors:
            answer, score = f.scored(part, rows, sites, leaves=True)
            values = {str(s): answer.at[s] for s in sites}
            grads = f._differentiate(score, values)
            return {f"value {k}": v.detach() for k, v in values.items()} | {f"grad {k}": g for k, g in grads.items()}

        for found in self.passes(variations, one, "gradient passes", backward=True):
            yield {s: Seen(found[f"value {s}"], found[f"grad {s}"]) for s in sites}

    def scored(
        self,
        x: Tensors,
        rows: Tensor,
        sites: tuple[Site, ...] = (),
        *,
        leaves: bool = False,
        under: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> tuple[Answer, Tensor]:
        """One pass and its score, both under the rules; a rule's baseline goes through the network beforehand.

        `under` makes a mode of the caller's that each pass runs under, before the rules see its operations.
        """

        def run(given: Tensors) -> tuple[Answer, Tensor]:
            with under():
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
        with Rewire(self.rules, met, kept=current().meter.kept, inside=self.inner is not None) as rewire:
            result = run(x)
        current().meter.without_rule |= rewire.gates
        return result

    def _differentiate(self, score: Tensor, leaves: Mapping[str, Tensor]) -> Tensors:
        if not score.requires_grad:
            raise self.no_gradient()
        meter = current().meter
        if self.rules:
            meter.without_rule |= operations_without_rule(score, self.rules)
            if meter.without_rule and (self.strict or current().strict):
                raise self._not_covered(meter.without_rule)
        meter.backwards += len(score)
        found = slopes(self.net.name, score, list(leaves.values()))
        if not found:
            raise self.no_gradient()
        return dict(zip(leaves, found, strict=True))

    def _not_covered(self, names: set[str]) -> BadModel:
        rules = " and ".join(rule.name for rule in self.rules)
        return BadModel(
            f"{self.net.name} has operations that {rules} says nothing about: {', '.join(sorted(names))}.",
            "Leave out strict=True to send the plain gradient through them, or use a method without rules.",
        )

    def no_gradient(self) -> BadModel:
        """What is said when the score cannot be differentiated."""
        return no_gradient(self.target)

    def _ask(
        self, x: Tensors, rows: Tensor, *, sites: tuple[Site, ...] = (), leaves: bool = False, whole: bool = True
    ) -> Answer:
        if self.model is None:
            raise RuntimeError("A score runs inside `leased`.")
        current().meter.forwards += len(rows)
        given, changes = at_embeddings(x if self.inner is None else self.inner.fed(rows), self.embedded)
        if self.inner is not None:
            value, samples = x[self.inner.name], self._numbers()
            plain = len(samples) == 1 and not (sites or self.rules or self.changes or self.target.sites)
            answer = self.inner.resumed(self.net, self.model, given, value, rows) if plain else None
            if answer is not None:
                return answer
            changes[self.inner.site] = instead(value)
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

    def _numbers(self) -> list[int]:
        """Which samples of the explained batch `x` holds, where an inner site is explained."""
        everyone = range(batch_size(self.inner.given)) if self.inner is not None else ()
        return list(everyone) if self.samples is None else self.samples.tolist()

    def passes(
        self,
        variations: Iterable[Tensors],
        one: Callable[[Score, Tensors, Tensor], Result],
        what: str,
        *,
        backward: bool = False,
        folds: bool = False,
    ) -> Iterator[Result]:
        """Run `one` over the variations, as many to a pass as fit in memory; each variation's result in order.

        With `folds`, nobody wants to see what lies inside the network.
        """
        if self.model is None:  # nobody holds a lease over the results, so they are all worked out inside one
            with self.leased() as f:
                return iter(list(f.passes(variations, one, what, backward=backward, folds=folds)))
        run, model = current(), self.model
        total = len(variations) if isinstance(variations, Sized) else None
        rows_ahead = batch_size(variations[0]) if isinstance(variations, list) and total == 1 else total
        if self.inner is not None:
            self.inner.expect(self._numbers(), total)
        channels_last = memory_format.prepare(self.net, model, run, rows_ahead)
        seen = self.rules or self.changes or self.inner or self.target.sites or self.net.borrowed_because
        folded = Folding(model if folds and not seen and foldable(model, run, rows_ahead) else None)

        def plain(x: Tensors, rows: Tensor) -> Result:
            run.checkpoint()
            device = next(iter(x.values())).device
            rows = rows if self.samples is None else self.samples[rows]
            with torch.set_grad_enabled(backward), precision(run.precision, device, backward):
                if channels_last:
                    return memory_format.laid_out(self.net, model, x, lambda laid: one(self, laid, rows.to(device)))
                return one(self, x, rows.to(device))

        return measured(model, variations, plain, what, folded, rows_ahead, backward=backward)
