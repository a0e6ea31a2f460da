"""How a computation runs: seed, memory, progress, stop.  Ambient, so that no method has to carry it around.

>>> with running(Run(seed=3)) as run:
...     current() is run
True
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.tensors import digest


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a computation is: `done` of `total` passes (None when open-ended), and seconds since it began."""

    what: str
    done: int
    total: int | None
    seconds: float

    @property
    def seconds_left(self) -> float | None:
        """Time left at the speed so far, in seconds."""
        return self.seconds * (self.total - self.done) / self.done if self.total and self.done else None


@dataclass(slots=True)
class Meter:
    """What was spent so far; passes are counted in samples.  `kept`: what each operation kept back of shares."""

    forwards: int = 0
    backwards: int = 0
    stopped: str = ""
    without_rule: set[str] = field(default_factory=set)
    kept: dict[str, float] = field(default_factory=dict)

    def add(self, other: Meter) -> None:
        """Count the passes that were spent on a part of the work."""
        self.forwards += other.forwards
        self.backwards += other.backwards


@dataclass(frozen=True, slots=True)
class Run:
    """Seed, limits, and who is told about progress.

    `memory` is what the activations of one pass may take, in bytes: batches are sized to fit it.
    `max_batch` caps the samples of one pass.  `stop` is asked before every pass; when it says yes, a method that
    averages returns what it knows so far, and any other raises `Stopped`.  `channels_last`, and `folding` (of batch
    normalization into convolutions), make passes faster and change results by rounding alone.  `precision` is for
    passes that only score: bfloat16 is faster and changes scores in the third digit.  `strict` makes every method with
    rules refuse a network that has operations without one, as the option of that name does for one call.
    """

    seed: int = 0
    memory: int = 160 * 2**20
    max_batch: int | None = None
    channels_last: bool = True
    folding: bool = True
    precision: Literal["model", "bfloat16"] = "model"
    strict: bool = False
    progress: Callable[[Progress], None] | None = None
    stop: Callable[[], bool] | None = None
    meter: Meter = field(default_factory=Meter, compare=False)

    def __post_init__(self) -> None:
        if self.memory < 1 or (self.max_batch is not None and self.max_batch < 1):
            raise BadOption(f"memory={self.memory}, max_batch={self.max_batch}: expected at least 1.")

    def stopping(self) -> bool:
        """Has somebody pressed stop?"""
        return self.stop is not None and self.stop()

    def checkpoint(self) -> None:
        """Raise `Stopped` when somebody pressed stop."""
        if self.stopping():
            raise Stopped("Stopped before any result was known.", "Run it again to get one.")

    def report(self, what: str, done: int, total: int | None, since: float) -> None:
        """Tell whoever listens; `since` is the `time.monotonic()` at the start."""
        if self.progress is not None:
            self.progress(Progress(what, done, total, time.monotonic() - since))

    def generator(self, *key: object) -> torch.Generator:
        """A random stream of its own for every (seed, key); equal keys give equal streams."""
        name = repr((self.seed, *key)).encode()
        seed = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1
        return torch.Generator().manual_seed(seed)

    def normal(self, x: Tensor) -> Callable[[int], Tensor]:
        """Standard normal noise shaped like `x`, by the number of the draw.

        Sample i of a draw depends on (seed, number, content of x[i]) and nothing else; the same in every precision.
        """
        return self._drawn("normal", x, lambda v, generator: torch.randn(v.shape, generator=generator))

    def uniform(self, x: Tensor) -> Callable[[int], Tensor]:
        """One number in 0..1 a sample, by the number of the draw; keyed like `normal`."""
        return self._drawn("uniform", x, lambda _, generator: torch.rand((), generator=generator))

    def _drawn(self, kind: str, x: Tensor, one: Callable[[Tensor, torch.Generator], Tensor]) -> Callable[[int], Tensor]:
        keys = [digest(v.float()) for v in x]  # once for all draws: a digest costs as much as the noise

        def draw(number: int) -> Tensor:
            drawn = [one(v, self.generator(kind, key, number)) for v, key in zip(x, keys, strict=True)]
            return torch.stack(drawn).to(device=x.device, dtype=x.dtype)

        return draw


_current: ContextVar[Run | None] = ContextVar("pellucid_run", default=None)


def current() -> Run:
    """The run in force: the innermost `running` block's, or a fresh default."""
    run = _current.get()
    return run if run is not None else Run()


@contextmanager
def running(run: Run) -> Iterator[Run]:
    """Everything inside the block runs under `run`."""
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)
