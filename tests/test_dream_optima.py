"""Dreams whose best picture is known: a linear network under a penalty, a planted template, a mixture of targets."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.run import Run, running
from pellucid.dream.painting.parametrizations.color import unbounded
from tests.dreamed import PLAIN, Linear, convolutions, like
from tests.networks import seeded


def weights(classes: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(classes, *shape, generator=seeded(seed))


def correlation(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])


def test_pixels_under_a_squared_price_reach_the_closed_form_optimum() -> None:
    w = weights(2, 1, 4, 5)
    price = 20.0  # f(x) - price mean (x - 1/2)^2 is best at 1/2 + N w / (2 price), as long as that lies within 0..1
    w = 0.3 * w / w.abs().max() * 2 * price / 20
    found = pl.dream.maximize(
        Linear(w), [pl.logit(0), -pl.logit(1)], like=like(1, 4, 5), recipe=PLAIN, l2=price, steps=120, rate=0.15,
        schedule="cosine",
    )  # fmt: skip
    assert torch.allclose(found.pictures[0], 0.5 + 20 * w[0] / (2 * price), atol=2e-3)
    assert torch.allclose(found.pictures[1], 0.5 - 20 * w[1] / (2 * price), atol=2e-3)  # what is liked least
    assert found.scores[0] == pytest.approx(float((found.pictures[0] * w[0]).sum()), abs=1e-5)
    assert found.scores[1] == pytest.approx(-float((found.pictures[1] * w[1]).sum()), abs=1e-5)


class Unbounded(nn.Module):
    """A weighted sum of the numbers before the sigmoid."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        return (x.logit().flatten(1) @ self.w.flatten())[:, None]


def test_frequencies_of_fixed_contrast_find_the_direction_of_a_linear_score() -> None:
    w = weights(1, 1, 9, 8)[0]
    w = w - w.mean()
    found = pl.dream.maximize(
        Unbounded(w), pl.logit(0), like=like(1, 9, 8), recipe=PLAIN, parametrization="fourier", steps=150, rate=0.1,
        decay=0.5, schedule="cosine", contrast=0.7,
    )  # fmt: skip
    u = unbounded(found.pictures, found.canvas, decorrelated=False)
    assert correlation(u, w) > 0.99
    # of all pictures of that spread, none scores more than the one along the weights
    best = 0.7 * math.sqrt(w.numel()) * float(w.norm())
    assert 0.98 * best < found.scores[0] <= 1.001 * best


@pytest.mark.parametrize("parametrization", ["fourier", "phase", "laplacian", "pixels"])
def test_every_way_of_painting_climbs(parametrization: str) -> None:
    w = weights(1, 3, 16, 16, seed=3)
    knobs = {"jitter": 0.0, "noise": 0.0, "zoom": 1.0, "shrink": 1.0, "rotate": 0.0, "early": 1.0, "steps": 20}
    found = pl.dream.maximize(Linear(w), pl.logit(0), like=like(3, 16, 16), parametrization=parametrization, **knobs)
    first, last = found.state.scores[0, 0], found.state.scores[-1, 0]
    assert float(last) > float(first) + 0.1 * float(w.norm())


class Planted(nn.Module):
    """Random filters, one of which is a template; then a rectifier."""

    def __init__(self, template: Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, template.shape[-1])
        with torch.no_grad():
            self.conv.weight.copy_(weights(6, *template.shape, seed=5) * 0.1)
            self.conv.weight[2] = template
            self.conv.bias.zero_()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x))


@pytest.fixture
def template() -> Tensor:
    t = F.interpolate(weights(1, 3, 3, 3, seed=8), 7, mode="bilinear")[0]
    return (t - t.mean()) / t.norm()


def test_a_planted_template_is_drawn_where_the_neuron_looks(template: Tensor) -> None:
    found = pl.dream.maximize(
        Planted(template), pl.neuron("act", 2, 4, 4), like=like(3, 15, 15), recipe=PLAIN, l2=250.0, steps=60, rate=0.1
    )
    assert correlation(found.pictures[0, :, 4:11, 4:11], template) > 0.95
    around = found.pictures[0].clone()
    around[:, 4:11, 4:11] = 0.5
    assert float((around - 0.5).abs().max()) < 0.05  # and nowhere else


def test_a_planted_template_is_drawn_at_random_places_too(template: Tensor) -> None:
    found = pl.dream.maximize(
        Planted(template), pl.neuron("act", 2, 4, 4), like=like(3, 15, 15), early=1, steps=60, jitter=0.05, zoom=1,
        shrink=1, rotate=0, decorrelated=False, contrast=0.5, decay=0.5,
    )  # fmt: skip
    patches = F.unfold(found.pictures, 7)[0].T.reshape(-1, *template.shape)
    assert max(correlation(patch, template) for patch in patches) > 0.8


def test_a_mixture_lies_between_its_ends() -> None:
    w = weights(2, 1, 4, 4, seed=2) * 0.1
    way = pl.dream.between(pl.logit(0), pl.logit(1), 3)
    found = pl.dream.maximize(Linear(w), way, like=like(1, 4, 4), recipe=PLAIN, l2=16.0, steps=60, rate=0.1)
    expected = torch.stack([0.5 + m / 2 for m in (w[0], (w[0] + w[1]) / 2, w[1])])  # 16 w / (2 * 16)
    assert torch.allclose(found.pictures, expected, atol=3e-3)
    one = pl.dream.between(pl.logit(0), pl.logit(1), 1)
    assert [str(t) for t in one] == ["logit(0)"]


def test_diverse_pictures_are_less_alike_and_still_liked() -> None:
    net, x = convolutions(), like(3, 16, 16)
    same = [pl.channel("2", 1)] * 3
    alone = pl.dream.maximize(net, same, like=x, early=1, steps=30)
    apart = pl.dream.maximize(net, same, like=x, early=1, steps=30, diversity=30.0)

    def likeness(pictures: Tensor) -> float:
        a = net[:3](pictures).detach().flatten(2)
        g = F.normalize((a @ a.mT).flatten(1))
        return float(((g @ g.T).sum() - 3) / 6)

    assert likeness(apart.pictures) < likeness(alone.pictures) - 0.02


def test_pictures_with_a_part_in_common_are_nearer_to_each_other() -> None:
    net, x = convolutions(), like(3, 16, 16)
    targets = [pl.logit(i) for i in range(3)]
    with running(Run(seed=4)):
        far = pl.dream.maximize(net, targets, like=x, early=1, steps=8, rate=0.05)
        near = pl.dream.maximize(net, targets, like=x, early=1, steps=8, rate=0.05, shared=2.0)
    assert torch.pdist(near.pictures.flatten(1)).mean() < 0.8 * torch.pdist(far.pictures.flatten(1)).mean()


def test_opacity_has_a_price_so_that_what_is_not_needed_is_see_through() -> None:
    w = torch.zeros(1, 3, 16, 16)
    w[:, :, :8, :8] = weights(1, 3, 8, 8, seed=6)
    knobs = {"jitter": 0.0, "noise": 0.0, "zoom": 1.0, "shrink": 1.0, "rotate": 0.0, "early": 1.0}
    found = pl.dream.maximize(Linear(w), pl.logit(0), like=like(3, 16, 16), opacity=True, steps=60, **knobs)
    assert found.opacity is not None and found.opacity.shape == (1, 1, 16, 16)
    assert found.pictures.shape == (1, 3, 16, 16)
    inside, outside = found.opacity[0, 0, :8, :8].mean(), found.opacity[0, 0, 8:, 8:].mean()
    assert inside > outside + 0.3
