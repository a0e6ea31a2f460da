"""Which recipe is the default: one knob at a time, then the combinations of what helped, on classes and channels.

Screening: four classes, 96 steps, one seed, each knob by itself against the base.  Finals: eight classes and sixteen
channels at four depths, two seeds.  What counts is in `judge`; a recipe with garish colors loses a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

import pellucid as pl
from benchmarks.dreams.judge import judged, together
from benchmarks.dreams.subjects import CHANNELS, channels, classes, keep, lite
from pellucid.core.run import current, running
from pellucid.dream.recipe import Recipe

# What the default was before it was chosen here.
BASE = {"decay": 1.5, "contrast": 1.0, "rate": 0.2, "spread": 1.0, "noise": 0.1, "early": 0.57, "part": 0.6,
        "jitter": 0.25, "shrink": 0.8, "zoom": 2.5, "rotate": 15.0, "schedule": "constant", "crops": 1}  # fmt: skip
SCREENED: dict[str, dict[str, Any]] = {
    "base": {},
    "rate 0.1": {"rate": 0.1},
    "contrast 0.7": {"contrast": 0.7},
    "noise 0": {"noise": 0.0},
    "decay 1.75": {"decay": 1.75},
    "decay 1.25": {"decay": 1.25},
    "rate 0.4": {"rate": 0.4},
    "cosine": {"schedule": "cosine"},
    "phase": {"parametrization": "phase", "rate": 0.5},
    "spread 0.3": {"spread": 0.3},
    "zoom 0.9 to 1.8": {"shrink": 0.9, "zoom": 1.8},
    "one size": {"early": 1.0},
    "pyramid": {"parametrization": "laplacian", "rate": 0.05},
    "tail": {"schedule": "tail"},
    "noise 0.2": {"noise": 0.2},
    "contrast 0.5": {"contrast": 0.5},
    "part 0.8": {"part": 0.8},
    "zoom 0.8 to 1.2": {"shrink": 0.8, "zoom": 1.2, "jitter": 0.1},
    "two crops": {"crops": 2, "steps": 48},
    "rate 0.05": {"rate": 0.05},
}
NEAR = {"shrink": 0.9, "zoom": 1.8}
FINALS: dict[str, dict[str, Any]] = {
    "base": {},
    "noise 0": {"noise": 0.0},
    "noise 0, contrast 0.7": {"noise": 0.0, "contrast": 0.7},
    "noise 0, near": {"noise": 0.0, **NEAR},
    "noise 0, near, contrast 0.7": {"noise": 0.0, "contrast": 0.7, **NEAR},
    "noise 0, spread 0.3": {"noise": 0.0, "spread": 0.3},
}
SEEDS = (0, 1)
PICTURES = "recipe "


def recipe(changes: dict[str, Any]) -> Recipe:
    """The base with some knobs turned."""
    return Recipe().but(**{**BASE, **changes})


def screened(name: str) -> dict[str, Any]:
    """One recipe on four classes."""
    return on_classes(name, SCREENED[name], 4, (0,))


def on_classes(name: str, changes: dict[str, Any], count: int, seeds: Sequence[int]) -> dict[str, Any]:
    """The means over classes and seeds."""
    rows = []
    for seed in seeds:
        with running(replace(current(), seed=seed)):
            dream = pl.dream.maximize(lite(), classes(count), recipe=recipe(changes))
        keep(f"{PICTURES}{name} {seed} {count}", dream.pictures)
        rows += judged(dream.pictures, classes(count))
    return together(rows)


def on_channels(name: str, changes: dict[str, Any], seeds: Sequence[int] = (0,)) -> dict[str, Any]:
    """The means over channels and seeds, by depth."""
    found: dict[str, list[dict[str, float]]] = {site: [] for site in CHANNELS}
    for seed in seeds:
        shown = []
        for site, numbers in CHANNELS.items():
            targets = [t for t in channels() if str(t.sites[0]) == site]
            with running(replace(current(), seed=seed)):
                dream = pl.dream.maximize(lite(), targets, recipe=recipe(changes))
            shown.append(dream.pictures)
            found[site] += judged(dream.pictures, targets)
            if len(numbers) != len(targets):
                raise RuntimeError(f"{site} is not told from the others.")
        keep(f"{PICTURES}{name} {seed} channels", torch.cat(shown))
    return {site: together(rows) for site, rows in found.items()}


def final(name: str) -> dict[str, Any]:
    """A finalist on eight classes and two seeds."""
    return on_classes(name, FINALS[name], 8, SEEDS)


def inside(name: str) -> dict[str, Any]:
    """A finalist on channels at four depths."""
    return on_channels(name, FINALS[name])
