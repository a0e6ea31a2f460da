"""How games are played in the tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pellucid.core.explanation import Explanation
from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from tests.games import Game

METHODS = all_methods()


def play(name: str, worth: Tensor, **options: Any) -> Explanation:
    game = Game(worth)
    return METHODS[name](game, game.everybody, 0, **options)


def near(a: Tensor, b: Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(a.double(), b.detach().double(), rtol=0, atol=tolerance)


def seeded_run(name: str, worth: Tensor, seed: int, **options: Any) -> Explanation:
    with running(Run(seed=seed)):
        return play(name, worth, **options)
