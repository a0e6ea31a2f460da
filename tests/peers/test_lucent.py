"""Targets and charges of dreams against Lucent's objectives, where these are right; and two of its faults."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import Target, each
from pellucid.dream.painting.together import charged_together
from pellucid.dream.recipe import Recipe

pytestmark = pytest.mark.peers
lucent = pytest.importorskip("lucent.optvis.objectives")
render = pytest.importorskip("lucent.optvis.render")

NET = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Conv2d(6, 5, 3), nn.ReLU()).double().eval()
X = torch.rand(6, 3, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def ours(target: Target) -> Tensor:
    return Score(Network(NET), target)({"input": X})


def theirs(objective: object, layer: str) -> float:
    """What Lucent climbs: minus its loss."""
    with torch.no_grad():
        values = {"1": NET[:2](X), "3": NET(X)}
        return -float(objective(lambda name: values[name]))  # type: ignore[operator]


def test_channels_and_mixtures_are_lucents() -> None:
    assert float(ours(pl.channel("3", 2)).mean()) == pytest.approx(theirs(lucent.channel("3", 2), "3"))
    weight = torch.randn(5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mixed = float(ours(pl.direction("3", weight)).mean()) / 5  # Lucent averages over channels, too
    assert mixed == pytest.approx(theirs(lucent.channel_weight("3", weight), "3"))


def test_the_way_between_two_channels_is_lucents() -> None:
    way = pl.dream.between(pl.channel("3", 1), pl.channel("1", 4), len(X))
    assert float(ours(each(way)).sum()) == pytest.approx(theirs(lucent.channel_interpolate("3", 1, "1", 4), "3"))


def test_alignment_is_lucents() -> None:
    score = Score(Network(NET), pl.channel("3", 0))
    charged = charged_together(score, [pl.channel("3", 0)] * len(X), {"input": X}, Recipe(alignment=1.0))
    charge = float((ours(pl.channel("3", 0)) - ours(charged)).sum())
    assert charge / 2 == pytest.approx(-theirs(lucent.alignment("3"), "3"))  # ours counts each pair from both sides


def test_diversity_is_lucents_but_for_the_sign() -> None:
    """Lucent's loss falls as pictures become more alike: added to an objective, it makes them the same."""
    score = Score(Network(NET), pl.channel("3", 0))
    charged = charged_together(score, [pl.channel("3", 0)] * len(X), {"input": X}, Recipe(diversity=1.0))
    alike = float((ours(pl.channel("3", 0)) - ours(charged)).sum())
    assert alike / len(X) * (len(X) - 1) == pytest.approx(theirs(lucent.diversity("3"), "3"))


def test_hooks_and_gradients_that_lucent_leaves_behind_are_not_left_here() -> None:
    theirs_net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    ours_net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    render.render_vis(
        theirs_net, lucent.channel("2", 0), transforms=[], preprocess=False, thresholds=(1,), progress=False,
        show_image=False, fixed_image_size=16,
    )  # fmt: skip
    pl.dream.maximize(ours_net, pl.channel("2", 0), like=torch.rand(1, 3, 16, 16), steps=1)
    for net, clean in ((theirs_net, False), (ours_net, True)):
        hooks = sum(len(m._forward_hooks) for m in net.modules())
        assert (hooks == 0 and all(p.grad is None for p in net.parameters())) == clean
