"""A dream: the pictures, what they were dreamed for and how, with all that is needed to keep it and to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pellucid.core.archive import Archive, packed
from pellucid.core.check import Check
from pellucid.core.explanation import Cost
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.core.saved import check_of, checked
from pellucid.core.shown import Shown
from pellucid.core.spelled import spelled, tensors_in, unspelled
from pellucid.core.target import Target
from pellucid.core.tensors import Tensors
from pellucid.dream.painting.canvas import Canvas
from pellucid.dream.painting.painting import State
from pellucid.dream.recipe import Recipe

KIND = "dream"


@dataclass(frozen=True, slots=True)
class Dream(Shown):
    """Pictures that a network was asked for.

    `pictures`: `[n, channels, *size]`, 0..1, in the input's colors (`canvas.fed` makes what the network sees of them);
    `opacity`: `[n, 1, height, width]`, where it was dreamed too.  `targets` and their `words`: one a picture.
    `scores`: each picture's target as it is, untransformed; `state.scores` is the curve on the way, under transforms.
    `what`: the kind of dream ("maximize", "invert", ...).  `seen_with`: a real picture that it belongs to.  `checks`:
    its trust card, one tuple a picture.  `stopped`: how far a stopped run came.
    """

    what: str
    pictures: Tensor
    opacity: Tensor | None
    targets: tuple[Target, ...]
    words: tuple[str, ...]
    scores: tuple[float, ...]
    recipe: Recipe
    canvas: Canvas
    state: State = field(repr=False)
    keys: tuple[str, ...] = field(repr=False)
    begun_at: Tensor | None = field(repr=False)
    seed: int
    network: str
    source: str
    versions: Mapping[str, str] = field(repr=False)
    cost: Cost
    stopped: str = ""
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    seen_with: Tensor | None = field(default=None, repr=False)
    checks: tuple[tuple[Check, ...], ...] = ()
    net: Network | None = field(default=None, repr=False, compare=False)
    saved_fingerprint: str = field(default="", repr=False)

    @property
    def x(self) -> Tensors:
        """The pictures as the network takes them."""
        return self.canvas.fed(self.pictures)

    @property
    def fingerprint(self) -> str:
        """The digest of the network's structure and weights."""
        return self.net.fingerprint if self.net is not None else self.saved_fingerprint

    def with_checks(self, checks: tuple[tuple[Check, ...], ...]) -> Dream:
        """The same dream with its trust card."""
        return replace(self, checks=checks)


def to_bytes(d: Dream) -> bytes:
    """The content of a file that holds the dream, with the state from which it can be gone on with."""
    tensors: Tensors = {"pictures": d.pictures, "scores": d.state.scores}
    optional = {"opacity": d.opacity, "begun at": d.begun_at, "seen with": d.seen_with}
    tensors |= {k: v for k, v in optional.items() if v is not None}
    tensors |= {f"leaf {k}": v for k, v in d.state.leaves.items()}
    tensors |= {f"moment {k}": v for k, v in d.state.moments.items()}
    tensors |= {f"other {k}": v for k, v in d.canvas.others.items()}
    masks = [a for t in d.targets for a in tensors_in(t)]
    tensors |= {f"mask {i}": a for i, a in enumerate(masks)}
    c = d.canvas
    canvas = {"input": c.input, "channels": c.channels, "size": c.size, "native": c.native, "low": c.low,
              "high": c.high, "source": c.source, "last": c.last, "dtype": str(c.takes).removeprefix("torch."),
              "preparation": None if c.preparation is None else asdict(c.preparation)}  # fmt: skip
    facts = {
        "what": d.what, "terms": [spelled(t) for t in d.targets], "words": d.words, "final": d.scores,
        "recipe": asdict(d.recipe), "canvas": canvas, "step": d.state.step, "best_at": d.state.best_at,
        "redirected": d.state.redirected, "state_notes": d.state.notes, "keys": d.keys, "seed": d.seed,
        "network": d.network, "source": d.source, "versions": dict(d.versions), "cost": asdict(d.cost),
        "stopped": d.stopped, "notes": d.notes, "facts": dict(d.facts),
        "checks": [[checked(c) for c in one] for one in d.checks], "fingerprint": d.fingerprint,
    }  # fmt: skip
    return packed(KIND, facts, tensors)


def dream_of(archive: Archive) -> Dream:
    """The dream that an archive holds, without its network."""
    facts, tensors = archive.facts, archive.tensors
    masks = archive.under("mask ")
    ordered = iter([masks[str(i)] for i in range(len(masks))])
    state = State(
        facts["step"], archive.under("leaf "), archive.under("moment "), tensors["scores"], facts["best_at"],
        facts["redirected"], tuple(facts["state_notes"]),
    )  # fmt: skip
    found = Dream(
        what=facts["what"], pictures=tensors["pictures"], opacity=tensors.get("opacity"),
        targets=tuple(unspelled(terms, ordered) for terms in facts["terms"]), words=tuple(facts["words"]),
        scores=tuple(facts["final"]), recipe=Recipe(**facts["recipe"]), canvas=_canvas(facts["canvas"], archive),
        state=state, keys=tuple(facts["keys"]), begun_at=tensors.get("begun at"), seed=facts["seed"],
        network=facts["network"], source=facts["source"], versions=facts["versions"], cost=Cost(**facts["cost"]),
        stopped=facts["stopped"], notes=tuple(facts["notes"]), facts=facts["facts"],
        seen_with=tensors.get("seen with"), checks=tuple(tuple(map(check_of, one)) for one in facts["checks"]),
        saved_fingerprint=facts["fingerprint"],
    )  # fmt: skip
    _refuse_unequal(found)
    return found


def _refuse_unequal(d: Dream) -> None:
    """Raise `ValueError` unless there is one of everything for each picture, and a score for each step."""
    n = len(d.targets)
    counts = {len(d.words), len(d.scores), len(d.keys), len(d.pictures), d.state.scores.shape[-1]}
    beside = [v for v in (d.opacity, d.begun_at, d.seen_with) if v is not None and len(v) != n]
    if counts != {n} or beside or (d.checks and len(d.checks) != n) or len(d.state.scores) != d.state.step:
        raise ValueError(f"{n} targets, and not as many pictures, words and scores")
    if tuple(d.pictures.shape[1:]) != (d.canvas.channels, *d.canvas.size):
        raise ValueError(f"pictures of {tuple(d.pictures.shape)} on a canvas of {d.canvas.size}")


def _canvas(facts: dict[str, Any], archive: Archive) -> Canvas:
    said = facts["preparation"]
    preparation = None
    if said is not None:
        preparation = Preparation(**{**said, "mean": tuple(said["mean"]), "std": tuple(said["std"])})
    dtype = getattr(torch, facts["dtype"])
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"{facts['dtype']} is no type of numbers")
    return Canvas(
        facts["input"], facts["channels"], tuple(facts["size"]), tuple(facts["native"]), preparation, facts["low"],
        facts["high"], dtype, torch.device("cpu"), archive.under("other "), facts["source"],
        facts["last"],
    )  # fmt: skip
