r"""Which words does a target like best?  Real words only, found by looking where the gradient points.

A picture can be moved by any small amount, a word cannot.  So at each step the gradient at the embedding says, for
every word of the vocabulary at every place, how the score would change to first order; the most promising replacements
are run for real, and the best is kept if it is better (HotFlip; Ebrahimi et al. 2018; Wallace et al. 2019).

Good for: what a unit, a class or a token's score responds to in a text model.
Not for:  sentences that a person would write: what comes out is a heap of exciting words.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pellucid.core.embedding import embedded
from pellucid.core.ending import named
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.explanation import Cost
from pellucid.core.method import versions_used
from pellucid.core.names import module_paths
from pellucid.core.network import Network
from pellucid.core.option import Range, checked, options_of
from pellucid.core.run import Meter, current, running
from pellucid.core.score import Score
from pellucid.core.shown import Shown
from pellucid.core.site import Site
from pellucid.core.target import Target
from pellucid.core.tensors import Inputs, Tensors, as_tensors


@dataclass(frozen=True, slots=True)
class Words(Shown):
    """Texts that targets like: `ids [n, tokens]`, what they are `spelled`, their real scores, and the best score so far
    at each step, `curve [n, steps]`.
    """

    ids: Int[Tensor, "n tokens"]
    spelled: tuple[tuple[str, ...], ...]
    words: tuple[str, ...]
    scores: tuple[float, ...]
    curve: Float[Tensor, "n steps"]
    before: tuple[float, ...]
    seed: int
    network: str
    versions: dict[str, str] = field(repr=False)
    cost: Cost
    stopped: str = ""


def words(
    net: Network | nn.Module,
    targets: Target | Sequence[Target],
    like: Inputs,
    *,
    places: Sequence[int] | None = None,
    spell: Callable[[int], str] = str,
    steps: Annotated[int, Range(1, 100_000), "replacements that are looked for"] = 64,
    tried: Annotated[int, Range(1, 4096), "replacements that are run at each step"] = 32,
    avoid: Sequence[int] = (),
) -> Words:
    """The text that each target likes best, from `like` (ids `[1, tokens]`, and whatever else the model takes).

    `places` are the positions that may change (all by default), `avoid` ids that may not be used (padding, special
    tokens), `spell` makes a word of an id.  A text whose words cannot be made better, as far as the tried replacements
    tell, ends early.  Raises `BadModel` when no input is looked up in an embedding table, `BadInput` for places that
    there are not.

    >>> import pellucid as pl
    >>> bag = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2))
    >>> pl.dream.words(bag, pl.logit(1), torch.tensor([[0, 1]]), steps=8).ids.shape
    torch.Size([1, 2])
    """
    checked(options_of(words, ("steps", "tried")), {"steps": steps, "tried": tried}, "words")
    network, since = net if isinstance(net, Network) else Network(net), time.monotonic()
    given = as_tensors(like, network.inputs)
    asked = [named(t, network, given) for t in ((targets,) if isinstance(targets, Target) else targets)]
    if any(len(v) != 1 for v in given.values()):
        raise BadInput("One text is begun with; several were given.", "Give ids of [1, tokens].")
    found = list[_Search]()
    with network.lease() as model, running(replace(current(), meter=Meter())) as run:
        name, site, table = _table(network, model, given)
        free = _free(places, given[name].shape[1])
        for target in asked:
            search = _Search(
                Score(network, target, embedded={name: site}, model=model), given, name, table, free, avoid
            )
            search.run(steps, tried)
            found.append(search)
    return Words(
        ids=torch.cat([s.ids for s in found]),
        spelled=tuple(tuple(spell(int(i)) for i in s.ids[0]) for s in found),
        words=tuple(t.describe(network) for t in asked), scores=tuple(s.best for s in found),
        curve=torch.tensor([(s.curve + [s.curve[-1]] * steps)[: steps + 1] for s in found]),
        before=tuple(s.curve[0] for s in found), seed=run.seed, network=network.name, versions=versions_used(),
        cost=Cost(run.meter.forwards, run.meter.backwards, time.monotonic() - since),
        stopped=next((s.stopped for s in found if s.stopped), ""),
    )  # fmt: skip


def _table(net: Network, model: nn.Module, given: Tensors) -> tuple[str, Site, Tensor]:
    """The input of ids, where it is looked up, and the vectors of all words."""
    sites = embedded(net, model, given)[1]
    if not sites:
        raise BadModel(f"{net.name} looks no input up in an embedding table.", "Pictures: pl.dream.maximize.")
    name, site = next(iter(sites.items()))
    weight: Any = getattr(module_paths(model).get(site.path), "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2:
        raise BadModel(f"The table at {site} holds no matrix of vectors.", "Only nn.Embedding is known.")
    return name, site, weight.detach()


def _free(places: Sequence[int] | None, tokens: int) -> list[int]:
    wanted = list(range(tokens)) if places is None else [p % tokens for p in places if -tokens <= p < tokens]
    if not wanted or (places is not None and len(wanted) != len(places)):
        raise BadInput(f"places={list(places or ())}: the text has tokens 0 to {tokens - 1}.")
    return wanted


@dataclass(slots=True)
class _Search:
    """One target's search for better words."""

    score: Score
    given: Tensors
    name: str
    table: Tensor
    free: list[int]
    avoid: Sequence[int]
    ids: Tensor = field(init=False)
    best: float = field(init=False)
    curve: list[float] = field(init=False)
    stopped: str = ""

    def __post_init__(self) -> None:
        self.ids = self.given[self.name].clone()
        self.best = float(self.scores(self.ids)[0])
        self.curve = [self.best]

    def scores(self, ids: Int[Tensor, "n tokens"]) -> Tensor:
        """The real scores of texts."""
        plain = replace(self.score, embedded={})
        rest = {k: v.expand(len(ids), *v.shape[1:]) for k, v in self.given.items()}
        return plain({**rest, self.name: ids})

    def run(self, steps: int, tried: int) -> None:
        """Replace one word at a time, the best of those tried, until none is better."""
        outer, since = current(), time.monotonic()
        for step in range(steps):
            if outer.stopping():
                self.stopped = f"after {step} of {steps} steps"
                return
            with running(replace(outer, progress=None, stop=None)):  # a step is gone to its end
                candidates = self.promising(tried)
                found = self.scores(candidates)
            best = int(found.argmax())
            if not float(found[best]) > self.best:
                return
            self.ids, self.best = candidates[best : best + 1], float(found[best])
            self.curve.append(self.best)
            outer.report("words", step + 1, steps, since)

    def promising(self, count: int) -> Int[Tensor, "n tokens"]:
        """The texts that differ in one word and promise the most, to first order."""
        x, _ = embedded(self.score.net, self.score.model or self.score.net.model, {**self.given, self.name: self.ids})
        slope = self.score.grad(x)[self.name][0]
        gain = slope @ self.table.T
        now = self.ids[0]
        gain = gain - gain.gather(1, now[:, None])
        closed = [i for i in range(len(now)) if i not in self.free]
        gain[closed] = -torch.inf
        gain[:, list(self.avoid)] = -torch.inf
        gain.scatter_(1, now[:, None], -torch.inf)
        top = gain.flatten().topk(min(count, int(gain.isfinite().sum()))).indices
        place, word = top // gain.shape[1], top % gain.shape[1]
        candidates = self.ids.repeat(len(top), 1)
        candidates[torch.arange(len(top)), place] = word.to(candidates.dtype)
        return candidates
