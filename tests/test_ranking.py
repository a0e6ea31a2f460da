"""Probe sets that grow, rankings with ties, the race of candidates, the card's budgets: on networks known exactly."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.card import BUDGETS, trust_card
from pellucid.checks.faithfulness import faithfulness
from pellucid.checks.ranking import ranking
from pellucid.core.errors import BadOption
from pellucid.surfaces.choose import most_faithful
from pellucid.trials.layout import score_of
from pellucid.trials.probed import grown, probe_set

SIDE = 24


class Weighted(nn.Module):
    """A score that adds up every place's brightness with a weight of its own; class 1 is its opposite."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(1, 1, SIDE, SIDE, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weight).flatten(1).sum(1) / SIDE
        return torch.stack([score, -score], 1)


def picture(samples: int = 1) -> Tensor:
    return torch.rand(samples, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def linear(samples: int = 1) -> pl.Explanation:
    return pl.methods.input_x_gradient(pl.open(Weighted()), picture(samples), 0)


def table(samples: int = 1) -> pl.Explanation:
    """A linear network on forty columns, where taking columns away loses exactly what the map says."""
    net = nn.Linear(40, 2, bias=False)
    net.weight.data = torch.randn(2, 40, generator=torch.Generator().manual_seed(2))
    x = torch.rand(samples, 40, generator=torch.Generator().manual_seed(4)) + 0.5
    return pl.methods.input_x_gradient(net, x, pl.scalar(lambda out: out[:, 0]))


def test_a_grown_set_is_the_larger_set():
    why = linear(2)
    score = score_of(why)
    small, large = probe_set(score, why.x, 40), probe_set(score, why.x, 100)
    for a, b in zip(small, large, strict=True):
        more = grown(score, why.x, a, 100)
        assert torch.equal(more.masks, b.masks)
        torch.testing.assert_close(more.drops, b.drops, rtol=0, atol=1e-6)
        assert (more.forwards, more.area) == (b.forwards, b.area)
        assert more.ceiling == pytest.approx(b.ceiling, abs=1e-3)
        assert grown(score, why.x, more, 80) is more


def test_a_set_grows_with_the_seed_that_it_began_with():
    why = linear()
    score = score_of(why)
    (small,) = probe_set(score, why.x, 32)
    with pl.running(pl.Run(seed=9)):
        assert torch.equal(grown(score, why.x, small, 64).masks[:32], small.masks)


def ranked(*maps: Tensor) -> list[tuple[int, int]]:
    why = linear()
    probes = probe_set(score_of(why), why.x, 96)
    return [(s.first, s.last) for s in ranking([[m] for m in maps], probes)]


def test_maps_that_are_equally_good_share_their_ranks():
    truth = linear().values[0, 0]
    noise = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(5))
    assert ranked(truth, 3 * truth + 1, -truth) == [(1, 2), (1, 2), (3, 3)]
    assert ranked(noise, truth) == [(2, 2), (1, 1)]
    assert ranked(truth, torch.ones(SIDE, SIDE)) == [(1, 1), (2, 2)]  # a flat map comes last, whatever its number


def test_of_several_samples_the_mean_is_ranked():
    why = table(3)
    probes = probe_set(score_of(why), why.x, 64)
    maps = list(probes[0].layout.map_of(why))
    good, bad = ranking([maps, [maps[0], -maps[1], -maps[2]]], probes)
    assert good.r == pytest.approx(1, abs=1e-5) and bad.r == pytest.approx(-1 / 3, abs=1e-5)
    assert (good.first, bad.last) == (1, 2)


def noisy(why: pl.Explanation, level: float) -> pl.Explanation:
    """The explanation with a map that is partly noise: its correlation with the drops is uncertain."""
    v = why.values
    noise = torch.randn(v.shape, generator=torch.Generator().manual_seed(7)) * v.std() * level
    return pl.Explanation(**{f: getattr(why, f) for f in why.__slots__} | {"maps": {"x": v + noise}})


def test_probes_are_added_until_the_interval_is_narrow_enough():
    sure = faithfulness(table(), count=32, most=512, within=0.05)
    assert len(dict(sure.curves)["drop"]) == 32  # an exact map has no interval to narrow
    unsure = faithfulness(noisy(linear(), 1.0), count=32, most=512, within=0.1)
    spent = len(dict(unsure.curves)["drop"])
    assert 32 < spent <= 512 and (unsure.high - unsure.low) / 2 <= 0.1
    assert unsure.passes == spent + 2


def test_a_budget_too_small_for_the_interval_says_so():
    check = faithfulness(noisy(linear(), 1.0), count=16, most=48, within=0.01)
    assert len(dict(check.curves)["drop"]) == 48
    assert "ended before the interval was within 0.01" in check.why
    assert "interval was within" not in faithfulness(noisy(linear(), 1.0), count=48).why  # nobody asked for one


def test_stopping_keeps_what_is_known():
    asked = iter(range(10**6))
    run = pl.Run(stop=lambda: next(asked) > 20, max_batch=16)
    with pl.running(run):
        check = faithfulness(noisy(linear(), 1.0), count=64, most=4096, within=0.001)
    assert 64 <= len(dict(check.curves)["drop"]) < 4096 and math.isfinite(check.value)


def test_budgets_are_kept_and_named():
    why = linear()
    quick = trust_card(why, trust="quick")
    assert [c.name for c in quick] == ["faithfulness", "completeness"]
    assert sum(c.passes for c in quick) <= BUDGETS["quick"].most + 2
    standard = trust_card(noisy(why, 1.0))
    assert [c.name for c in standard] == ["faithfulness", "stability", "randomization", "completeness"]
    (alone,) = trust_card(noisy(why, 1.0), which=["randomization"])
    assert standard[0].passes <= BUDGETS["standard"].most + 2 + alone.passes  # it made the map of random weights
    assert standard[1].passes >= 6 and alone.passes >= 1 and standard[2].passes == 0  # which is shared
    with pytest.raises(BadOption, match="expected one of quick, standard, thorough"):
        trust_card(why, trust="blind")  # type: ignore[arg-type]
    with pytest.raises(BadOption, match="expected one of"):
        pl.explain(nn.Linear(9, 2), torch.ones(1, 9), trust="blind")  # type: ignore[arg-type]


class Dots(nn.Module):
    """A convolution, a rectifier and a mean: gradients and class activation maps both say something of it."""

    def __init__(self) -> None:
        super().__init__()
        self.filter, self.mix = nn.Conv2d(1, 4, 5, padding=2), nn.Linear(4, 3)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.filter(x).relu().amax((2, 3)))


def test_the_race_names_the_winner_the_runners_up_and_who_cannot_be_told_apart():
    why = pl.explain(Dots(), picture(), trust="quick")
    race = why.facts["race"]
    assert race[0]["method"] == why.method and {row["method"] for row in race} <= {"grad_cam", "layer_cam", "saliency"}
    fallen = [row for row in race if row["fell after"]]
    assert all(row["r"] <= race[0]["r"] for row in race if row["r"] == row["r"])
    tied = [row["method"] for row in race[1:] if not row["fell after"]]
    said = next((note for note in why.notes if note.startswith("Not surely better")), "")
    assert all(name in said for name in tied) and len(fallen) + len(tied) + 1 == len(race)
    best = why.checks[0]
    assert best.name == "faithfulness" and best.facts["seed"] == 0  # other masks than those of the race


def test_it_is_said_when_nothing_beats_a_guess(monkeypatch):
    def of_noise(score, x):
        found = probe_set(score, x, 64)
        noise = torch.randn(64, generator=torch.Generator().manual_seed(0)).double()
        return [replace(p, drops=noise, ceiling=0.9, ratio=0.8) for p in found]

    why = linear()
    monkeypatch.setattr("pellucid.surfaces.choose.probe_set", lambda score, x, count: of_noise(score, x))
    best = most_faithful([why, noisy(why, 3.0)], "quick")
    assert any(note.startswith("None of the methods surely beats a guess") for note in best.notes)
    monkeypatch.undo()
    table_of = [table(), noisy(table(), 3.0)]
    assert not any("beats a guess" in note for note in most_faithful(table_of, "quick").notes)


def test_a_race_that_is_stopped_keeps_the_best_so_far():
    asked, why = iter(range(10**6)), linear()
    with pl.running(pl.Run(stop=lambda: next(asked) > 40, max_batch=1)):  # in the middle of the second block
        best = most_faithful([noisy(why, 3.0), why], "standard")
    assert torch.equal(best.values, why.values)
    (copies,) = (int(n.split(" masked copies")[0].split()[-1]) for n in best.notes if n.startswith("Chosen"))
    assert 32 <= copies < 64  # what was run of the second block counts


def test_a_comparison_shows_ranks_that_overlap():
    found = pl.compare(Weighted(), picture(), 0, methods=["input_x_gradient", "saliency"], trust="quick")
    assert found.best.method == "input_x_gradient"
    assert [(s.first, s.last) for s in found.standings] == [(1, 1), (2, 2)]
    same = pl.compare(
        Weighted(), picture(), 0, trust="quick",
        methods={"input_x_gradient": {}, "integrated_gradients": {"steps": 4}},
    )  # fmt: skip
    assert [(s.first, s.last) for s in same.standings] == [(1, 2), (1, 2)]  # both exact on a linear network
