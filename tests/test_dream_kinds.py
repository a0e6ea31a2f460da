"""Inversion, caricature, style, nudges, DeepDream, fooling pictures, diversity: each by what it promises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadInput, BadOption, Stopped
from pellucid.core.network import Network
from pellucid.core.readings import gram_of
from pellucid.core.run import Progress, Run, running
from pellucid.core.score import Score
from pellucid.core.target import energy
from pellucid.dream.painting.together import charged_together
from pellucid.dream.recipe import Recipe
from tests.dreamed import PLAIN, convolutions, like
from tests.networks import seeded


def at(net: nn.Module, x: Tensor, layers: int) -> Tensor:
    with torch.no_grad():
        return net[:layers](x)


class Whole(nn.Module):
    """An invertible linear layer."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.mix = nn.Linear(count, count)
        nn.init.orthogonal_(self.mix.weight, generator=seeded(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x.flatten(1))


def test_what_kept_everything_is_inverted_to_the_picture_itself() -> None:
    x = 0.1 + 0.8 * like(1, 5, 6)
    x.view(-1)[0], x.view(-1)[-1] = 0, 1
    found = pl.dream.invert(Whole(30), x, "mix", recipe=PLAIN, steps=100, rate=0.3, schedule="cosine")
    shown = (x - x.min()) / (x.max() - x.min())
    assert torch.allclose(found.pictures, shown.clamp(0.02, 0.98), atol=0.06)
    assert max(found.scores) <= 0 and min(found.scores) > -1e-3
    assert found.seen_with is not None and torch.equal(found.seen_with, shown)


def test_an_inversion_comes_near_what_the_layer_holds() -> None:
    net, x = convolutions(), like(3, 14, 14)
    found = pl.dream.invert(net, x, "2", steps=40, rate=0.1)
    wanted, got = at(net, x, 3), at(net, found.pictures, 3)
    distance = (wanted - got).square().flatten(1).sum(1) / wanted.square().flatten(1).sum(1)
    assert found.scores == pytest.approx((-distance).tolist(), abs=1e-3)
    assert bool((distance < -0.5 * found.state.scores[0]).all())


def test_a_caricature_goes_further_in_the_direction_of_the_picture() -> None:
    net, x = convolutions(), like(3, 14, 14)
    found = pl.dream.caricature(net, x, "2", power=2.0, steps=40, rate=0.1, decorrelated=False)
    a, b = at(net, x, 3).flatten(1), at(net, found.pictures, 3).flatten(1)
    along = (a * b).sum(1) * F.cosine_similarity(a, b).clamp_min(0.1) ** 2
    assert found.scores == pytest.approx(along.tolist(), rel=1e-3)
    assert bool((along > found.state.scores[0]).all())


def test_a_style_has_the_products_of_channels_of_its_picture() -> None:
    net, x = convolutions(), like(3, 14, 14)
    found = pl.dream.style(net, x, ["0", "2"], steps=60, rate=0.1)
    assert min(found.scores) > float(found.state.scores[0].min()) / 4
    for i in range(2):
        parts = []
        for layers in (1, 3):
            wanted, got = gram_of(at(net, x[i : i + 1], layers)), gram_of(at(net, found.pictures[i : i + 1], layers))
            parts.append(-(wanted - got).square().sum() / wanted.square().sum())
        assert found.scores[i] == pytest.approx(float(sum(parts)) / 2, abs=1e-4)
    one = pl.dream.style(net, x, "2", steps=2)
    assert "texture(2, 6 x 6 values)" in str(one.targets[0])


def test_a_style_on_a_content_of_another_size() -> None:
    net, x, content = convolutions(), like(3, 14, 14), like(3, 12, 18, batch=1, seed=4)
    found = pl.dream.style(net, x, "2", content=content, content_at="0", weight=100.0, steps=3, rate=0.01)
    assert found.pictures.shape == (2, 3, 12, 18)
    assert float((found.pictures - content).abs().max()) < 0.1  # begun there, and held
    with pytest.raises(BadInput, match="content_at=SITE"):
        pl.dream.style(net, x, "2", content=content)
    with pytest.raises(BadInput, match="3 contents were given for 2 styles"):
        pl.dream.style(net, x, "2", content=content.expand(3, -1, -1, -1), content_at="0")
    with pytest.raises(BadInput, match="No site"):
        pl.dream.style(net, x, [])


def test_a_nudge_stays_near_and_raises_its_target() -> None:
    net, x = convolutions(), like(3, 16, 16)
    near = pl.dream.nudge(net, x, 2, steps=12, stay=200.0, decorrelated=False)
    far = pl.dream.nudge(net, x, 2, steps=12, stay=0.0, decorrelated=False)
    with torch.no_grad():
        before, after = net(x)[:, 2], net(near.pictures)[:, 2]
    assert near.scores == pytest.approx(after.tolist(), abs=1e-4) and bool((after > before).all())
    moved = [(d.pictures - x).square().mean().item() for d in (near, far)]
    assert moved[0] < moved[1] and moved[0] < 0.01
    assert near.begun_at is not None and torch.equal(near.begun_at, x)


def test_a_deepdream_raises_the_energy_and_keeps_the_size() -> None:
    net, x = convolutions(), like(3, 26, 30)
    found = pl.dream.deepdream(net, x, "2", octaves=3, ratio=1.4, steps=4)
    energies = at(net, found.pictures, 3).square().flatten(1).mean(1)
    assert found.pictures.shape == x.shape and found.scores == pytest.approx(energies.tolist(), rel=1e-3)
    assert bool((energies > at(net, x, 3).square().flatten(1).mean(1)).all())
    assert found.facts == {"octaves": 3, "ratio": 1.4} and found.canvas.size == (26, 30)
    assert 3 * 4 * 2 <= found.cost.backwards <= 3 * (4 * 2 + 1)  # all octaves, one look at memory in each
    further = pl.dream.resume(found, steps=3)
    assert further.facts == found.facts and min(further.scores) > 0.9 * min(found.scores)


def test_a_deepdream_of_a_target_and_of_one_size() -> None:
    net, x = convolutions(), like(3, 20, 20)
    one = pl.dream.deepdream(net, x, pl.channel("2", 1), octaves=1, steps=4)
    assert one.scores == pytest.approx(at(net, one.pictures, 3)[:, 1].mean((1, 2)).tolist(), abs=1e-4)
    with pytest.raises(BadInput, match="spatial axes"):
        pl.dream.deepdream(nn.Conv1d(2, 3, 3), like(2, 20), "")
    for wrong in ({"octaves": 0}, {"ratio": 1.0}, {"octaves": -2}):
        with pytest.raises(BadOption, match=next(iter(wrong))):
            pl.dream.deepdream(net, x, "2", **wrong)


def stops_after(count: int) -> Run:
    told: list[Progress] = []
    return Run(progress=told.append, stop=lambda: len(told) >= count)


@pytest.mark.parametrize(("count", "said"), [(2, "after 2 of 4 steps in octave 1 of 3"), (4, "after octave 1 of 3")])
def test_a_deepdream_that_was_stopped_gives_the_size_it_had_reached(count: int, said: str) -> None:
    with running(stops_after(count)):
        found = pl.dream.deepdream(convolutions(), like(3, 24, 24), "2", octaves=3, ratio=1.5, steps=4)
    assert found.stopped == said and found.pictures.shape[2:] == (11, 11)
    with running(Run(stop=lambda: True)), pytest.raises(Stopped):
        pl.dream.deepdream(convolutions(), like(3, 24, 24), "2")


def test_fooling_raises_the_log_odds_within_its_radius() -> None:
    net, x = convolutions(), like(3, 16, 16)
    run = Run()
    with running(run):
        found = pl.dream.fool(net, x, 2, radius=0.03, steps=6)
    with torch.no_grad():
        before, after = net(x), net(found.pictures)

    def odds(z: Tensor) -> Tensor:
        p = z.softmax(1)[:, 2]
        return (p / (1 - p)).log()

    assert float((found.pictures - x).abs().max()) <= 0.03 + 1e-6
    assert float(found.pictures.min()) >= 0 and float(found.pictures.max()) <= 1
    assert found.scores == pytest.approx(odds(after).tolist(), abs=1e-3) and bool((odds(after) > odds(before)).all())
    assert run.meter.backwards == found.cost.backwards == 12 and found.facts == {"radius": 0.03}
    best = torch.maximum(found.state.scores.amax(0), odds(before))
    assert found.scores == pytest.approx(best.tolist(), abs=1e-4)  # the best that was met


def test_a_linear_score_is_fooled_as_far_as_the_radius_allows() -> None:
    w = torch.randn(1, 12, generator=seeded(2))
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 1, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(w)
    x = 0.3 + 0.4 * like(1, 3, 4)
    x.view(-1)[0], x.view(-1)[-1] = 0, 1
    found = pl.dream.fool(net, x, pl.logit(0), radius=0.05, steps=10)
    expected = (x + 0.05 * w.view(1, 1, 3, 4).sign()).clamp(0, 1)
    assert torch.allclose(found.pictures, expected, atol=1e-5)


def test_fooling_that_was_stopped_keeps_what_it_found() -> None:
    with running(stops_after(2)):
        found = pl.dream.fool(convolutions(), like(), 1, steps=9)
    assert found.stopped == "after 2 of 9 steps" and len(found.state.scores) == 2
    for wrong in ({"radius": 0.0}, {"steps": 0}):
        with pytest.raises(BadOption, match=next(iter(wrong))):
            pl.dream.fool(convolutions(), like(), 1, **wrong)


KINDS: dict[str, Callable[..., Any]] = {
    "invert": lambda net, x, **k: pl.dream.invert(net, x, "2", **k),
    "caricature": lambda net, x, **k: pl.dream.caricature(net, x, "2", **k),
    "style": lambda net, x, **k: pl.dream.style(net, x, ["2"], **k),
    "nudge": lambda net, x, **k: pl.dream.nudge(net, x, 1, **k),
    "deepdream": lambda net, x, **k: pl.dream.deepdream(net, x, "2", octaves=1, **k),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_refuses_what_cannot_be_and_takes_knobs(kind: str) -> None:
    net, x = convolutions(), like(3, 14, 14)
    found = KINDS[kind](net, x, steps=2, rate=0.01)
    assert found.what == kind and found.recipe.steps == 2 and found.recipe.rate == 0.01
    with pytest.raises(BadOption, match="hue"):
        KINDS[kind](net, x, hue=3)
    with pytest.raises(BadInput):
        KINDS[kind](net, like(4, 14, 14))


def mean_cosine(net: nn.Module, v: Tensor) -> Tensor:
    """Twice the mean likeness to the others, over all pictures: as many times is each pair counted."""
    g = gram_of(net(v)).flatten(1)
    return F.cosine_similarity(g[:, None], g[None], dim=2).sum() / (len(v) - 1)


def leaps(net: nn.Module, v: Tensor) -> Tensor:
    a = net(v)
    pairs = [(i, j) for i in range(len(v)) for j in range(len(v)) if 0 < abs(i - j) <= 4]
    return torch.stack([(a[i] - a[j]).square().mean() / 2 ** abs(i - j) for i, j in pairs]).sum()


@pytest.mark.parametrize(("knob", "sum_of_pairs"), [("diversity", mean_cosine), ("alignment", leaps)])
def test_a_charge_between_pictures_has_the_gradient_of_the_sum_over_pairs(
    knob: str, sum_of_pairs: Callable[[nn.Module, Tensor], Tensor]
) -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh()).double()
    x = torch.rand(6, 2, 6, 6, generator=seeded(5), dtype=torch.float64)
    targets = [pl.channel("1", 0)] * 6
    score = Score(Network(net), targets[0])
    charged = charged_together(score, targets, {"input": x}, Recipe(**{knob: 4.0}))
    found = Score(Network(net), charged).grad({"input": x})["input"]
    plain = score.grad({"input": x})["input"]
    way = torch.randn(x.shape, generator=seeded(6), dtype=torch.float64)
    with torch.no_grad():
        rise = float(sum_of_pairs(net, x + 1e-5 * way) - sum_of_pairs(net, x - 1e-5 * way)) / 2e-5
    # each pair stands twice in the sum, and once in what each of its two pictures is charged
    assert float(((found - plain) * way).sum()) == pytest.approx(-4 * rise / 2, rel=1e-5)


def test_targets_of_the_kinds_speak_of_the_pictures_own_values() -> None:
    net, x = convolutions(), like(3, 14, 14)
    found = pl.dream.caricature(net, x, "2", power=3.0, steps=1)
    for target, held in zip(found.targets, at(net, x, 3), strict=True):
        site, vector, power, _ = target.terms[0].args
        assert str(site) == "2" and torch.allclose(vector, held, atol=1e-6) and power == 3.0
    dreamed = pl.dream.deepdream(net, x, "2", octaves=1, steps=1)
    assert dreamed.targets == (energy("2"), energy("2"))
