"""Quality against passes and against time: eight classes, by Pellucid's recipes, Lucent and Horama.

Each contestant draws the same classes with the same number of steps; `judge` says what the pictures are worth.  Time is
the steps times what a step of one picture costs when all contestants take turns in one process (`paces`).
"""

from __future__ import annotations

import copy
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import pellucid as pl
from benchmarks.dreams import peers
from benchmarks.dreams.judge import judged, together
from benchmarks.dreams.subjects import CLASSES, classes, keep, kept, lite
from benchmarks.harness import interleaved, seconds

STEPS = (24, 48, 96, 128, 192)
LUCENT_STEPS = {128: (24, 48, 96, 512), 224: (24, 48, 96)}  # 512 and 128 are its defaults
HORAMA_STEPS, HORAMA_CLASSES = (24, 48, 96), 2  # a step takes seconds
LUCENT_CLASSES = 4
RECIPES: dict[str, dict[str, Any]] = {
    "pellucid": {},
    "pellucid, phase": {"parametrization": "phase", "rate": 0.5},
}
PICTURES = "quality "


def own(name: str) -> dict[str, Any]:
    """A recipe of Pellucid's: a new dream for each number of steps, for what a step does depends on how many follow."""
    found = {}
    for steps in STEPS:
        dream = pl.dream.maximize(lite(), classes(), steps=steps, **RECIPES[name])
        keep(f"{PICTURES}{name} {steps}", dream.pictures)
        found[str(steps)] = together(judged(dream.pictures, classes()))
    return found


def nothing() -> None:
    """No clock."""


def prepare(x: Tensor) -> Tensor:
    """The network's preparation, as a transform of a peer's."""
    given = lite().preparation
    if given is None:
        raise RuntimeError("The zoo states every network's preparation.")
    return given.normalize(x)


def lucent(side: int) -> dict[str, Any]:
    """Lucent's pictures of the first classes in one batch."""
    steps = LUCENT_STEPS[side]
    first = CLASSES[:LUCENT_CLASSES]
    drawn = peers.lucent(lite().model, "classifier", first, side, steps, nothing, prepare, frozen=True)
    found = {}
    for count, x in zip(steps, drawn, strict=True):
        keep(f"{PICTURES}lucent {side} {count}", x)
        found[str(count)] = together(judged(x, classes(LUCENT_CLASSES)))
    return found


def same(count: int) -> dict[str, Any]:
    """The default's pictures of the first classes alone, to hold beside a peer's; drawn by `own`."""
    shown = {steps: kept(f"{PICTURES}pellucid {steps}") for steps in STEPS}
    return {str(steps): together(judged(x[:count], classes(count))) for steps, x in shown.items() if x is not None}


def horama() -> dict[str, Any]:
    """Horama's pictures, one at a time."""
    model = copy.deepcopy(lite().model)

    def drawn(which: int) -> list[Tensor]:
        return peers.horama(lambda x: model(x)[:, which], HORAMA_STEPS, nothing)

    found = {}
    for steps, shown in zip(HORAMA_STEPS, zip(*map(drawn, CLASSES[:HORAMA_CLASSES]), strict=True), strict=True):
        x = torch.nn.functional.interpolate(torch.stack(shown), (448, 448), mode="area")
        keep(f"{PICTURES}horama {steps}", x)
        found[str(steps)] = together(judged(x, classes(HORAMA_CLASSES)))
    return found


CONTESTANTS: dict[str, Callable[[], dict[str, Any]]] = {
    **{name: (lambda name=name: own(name)) for name in RECIPES},
    f"pellucid, {LUCENT_CLASSES} classes": lambda: same(LUCENT_CLASSES),
    f"pellucid, {HORAMA_CLASSES} classes": lambda: same(HORAMA_CLASSES),
    "lucent, 128 px": lambda: lucent(128),
    "lucent, 224 px": lambda: lucent(224),
    "horama (MACO)": horama,
}


def paces(rounds: int = 2, steps: int = 10) -> dict[str, float]:
    """CPU seconds of a step of one picture, everyone in turns: whole runs with what comes before and after them."""

    def of(name: str) -> Callable[[], float]:
        return lambda: seconds(lambda: pl.dream.maximize(lite(), classes(), steps=steps, **RECIPES[name])) / 8 / steps

    calls = {name: of(name) for name in RECIPES}
    if peers.installed():
        for side in (128, 224):
            calls[f"lucent, {side} px"] = lambda side=side: _lucent_pace(side)
        calls["horama (MACO)"] = _horama_pace
    found = {name: statistics.median(times) for name, times in interleaved(calls, rounds).items()}
    return found | {name: found["pellucid"] for name in CONTESTANTS if name.startswith("pellucid, ") and "cl" in name}


def _lucent_pace(side: int) -> float:
    ticks: list[float] = []
    tick = lambda: ticks.append(time.process_time())  # noqa: E731
    peers.lucent(lite().model, "classifier", CLASSES, side, [4], tick, prepare)
    return statistics.median(b - a for a, b in itertools.pairwise(ticks)) / len(CLASSES)


def _horama_pace() -> float:
    model = copy.deepcopy(lite().model)
    ticks: list[float] = []
    peers.horama(lambda x: model(x)[:, 340], [4], lambda: ticks.append(time.process_time()))
    return statistics.median(b - a for a, b in itertools.pairwise(ticks))
