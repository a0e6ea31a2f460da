"""Faithfulness by shared probes against closed forms and planted truth."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pellucid.checks.faithfulness import faithfulness, score_map
from pellucid.core.check import Verdict
from pellucid.core.errors import BadInput
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.score import Score
from pellucid.core.target import log_odds, logit
from pellucid.core.tensors import digest
from pellucid.probes.masks import blobs, landscapes
from pellucid.trials.agreement import pearson
from pellucid.trials.layout import Layout, layout_of
from pellucid.trials.nulls import null_scores
from pellucid.trials.probed import ProbeSet, masked, probe_masks, probe_set
from pellucid.trials.yardsticks import ceiling
from tests.planted import SIDE, Columns, Corner, gradient_x_input, lit_corner, noise, seeded

# --- faithfulness ------------------------------------------------------------------------------------------------


def probes_by_hand(masks: Tensor, drops: Tensor) -> ProbeSet:
    layout = Layout("picture", "x", (2, 3), tuple(masks.shape[1:]))
    return ProbeSet(layout, 0, "key", masks, drops.double(), 1.0, 0.8, True, 0.3, 0.9, "nothing", (), 0, 0)


def test_score_map_is_pearson_between_sums_and_drops():
    masks = blobs(20, 6, 8, 0.3, seeded(0))
    places, drops = torch.randn(6, 8, generator=seeded(1)), torch.randn(20, generator=seeded(2))
    sums = [sum(places[i, j].item() for i, j in m.nonzero().tolist()) for m in masks]
    found = score_map(places, probes_by_hand(masks, drops))
    assert found.r == pytest.approx(statistics.correlation(sums, drops.tolist()), abs=1e-6)
    assert found.low <= found.r <= found.high


@settings(deadline=None, max_examples=25)
@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_scaling_and_shifting_a_map_changes_nothing(scale, shift):
    probes = probes_by_hand(blobs(24, 8, 8, 0.3, seeded(0)), torch.randn(24, generator=seeded(2)))
    places = torch.randn(8, 8, generator=seeded(1), dtype=torch.double)
    one, other = score_map(places, probes), score_map(scale * places + shift, probes)
    assert other.r == pytest.approx(one.r, abs=1e-6)
    assert (other.low, other.high, other.p) == pytest.approx((one.low, one.high, one.p), abs=1e-4)


def test_linear_table_the_exact_map_scores_one_and_its_negative_minus_one():
    net = Network(Columns())
    x = torch.rand(1, 12, generator=seeded(3)) * net.model.line.weight.sign()  # a positive score, so .30 is gentle
    why = gradient_x_input(net, x, 0)
    (probes,) = probe_set(why.score, why.x)
    places = why.values[0].double()
    assert score_map(places, probes).r == pytest.approx(1.0, abs=1e-6)
    assert score_map(-places, probes).r == pytest.approx(-1.0, abs=1e-6)
    assert probes.ceiling > 0.999


def test_series_and_text_with_contributions_that_add_up_score_one():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Conv1d(2, 1, 1, bias=False)

        def forward(self, x):
            return self.weight(x).sum(2)

    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = nn.Embedding(50, 8), nn.Linear(8, 1)

        def forward(self, ids):
            return self.out(self.words(ids).sum(1))

    torch.manual_seed(0)
    series = gradient_x_input(Network(Sum()), torch.randn(1, 2, 60, generator=seeded(1)), 0)
    text = gradient_x_input(Network(Bag()), torch.randint(50, (1, 40), generator=seeded(4)), 0)
    for why, kind in ((series, "series"), (text, "text")):
        (probes,) = probe_set(why.score, why.x)
        # The mean of what is kept is fixed by the sum of what is removed: drops are affine in the map's sums.
        assert probes.layout.kind == kind
        assert score_map(probes.layout.map_of(why)[0], probes).r == pytest.approx(1.0, abs=1e-5)


def test_planted_corner_the_true_map_is_supported_and_guesses_are_not():
    why = gradient_x_input(Network(Corner()), lit_corner(), 1)
    (probes,) = probe_set(why.score, why.x)
    found = faithfulness(why, probes=[probes])
    assert found.verdict is Verdict.HOLDS and found.why.startswith("Supported.")
    assert "says nothing about whether the model is right" in found.why
    assert all(score_map(guess, probes).word != "Supported" for _, guess in probes.guesses)
    assert score_map(-why.values[0].sum(0).double(), probes).word == "Not supported"
    assert score_map(torch.ones(SIDE, SIDE), probes).word == "Can't tell"


def test_scoring_a_map_runs_no_pass_and_faithfulness_runs_what_it_says():
    why = gradient_x_input(Network(Corner()), lit_corner(), 1)
    with running(Run()) as run:
        (probes,) = probe_set(why.score, why.x, 32)
        assert run.meter.forwards == probes.forwards
        spent = run.meter.forwards
        score_map(why.values[0].sum(0), probes)
        null_scores(why.values[0].sum(0), probes, 1000)
        assert run.meter.forwards == spent


def test_maps_that_know_nothing_are_rejected_at_the_nominal_rate():
    why = gradient_x_input(Network(Corner()), lit_corner(), 1)
    (probes,) = probe_set(why.score, why.x)
    found = [score_map(m, probes) for m in landscapes(240, (SIDE, SIDE), seeded(11))]
    p = torch.tensor([f.p for f in found]).sort().values
    rejected = int((p <= 0.05).sum())
    # Binomial(240, .05): 12 expected; outside 3..25 with probability below 1e-3.
    assert 3 <= rejected <= 25
    # Kolmogorov and Smirnov: uniform p values stay within 1.95 / sqrt(n) with probability .999.
    assert float((p - (torch.arange(240) + 0.5) / 240).abs().max()) < 1.95 / math.sqrt(240)
    assert abs(statistics.mean(f.r for f in found)) < 4 * statistics.stdev(f.r for f in found) / math.sqrt(240)


def test_a_network_without_an_additive_map_cannot_be_told():
    class Parity(nn.Module):
        def forward(self, x):
            return x.sign().prod(1, keepdim=True)

    x = torch.randn(1, 12, generator=seeded(0))
    x[0, 0] *= x.sign().prod()
    net = Network(Parity())
    why = replace(noise(net, x, 0), score=Score(net, logit(0)))
    found = faithfulness(why)
    assert found.verdict is Verdict.UNKNOWN and found.why.startswith("Can't tell.")


def test_the_ceiling_is_one_for_sums_and_low_for_noise():
    cells = torch.rand(96, 49, generator=seeded(0), dtype=torch.double)
    weights = torch.randn(49, generator=seeded(1), dtype=torch.double)
    assert ceiling(cells, cells @ weights) > 0.999
    assert ceiling(cells, torch.randn(96, generator=seeded(2), dtype=torch.double)) < 0.3


def test_the_share_removed_shrinks_until_the_answer_survives():
    x = torch.rand(1, 1, 16, 16, generator=seeded(0))

    class Fragile(nn.Module):
        """Loses its class as soon as more than 15 % of the picture is changed."""

        def forward(self, v):
            changed = (v != x).flatten(1).float().mean(1)
            return torch.stack([torch.zeros(len(v)), torch.where(changed > 0.15, -10.0, 10.0)], 1)

    score = Score(Network(Fragile()), logit(1))
    with running(Run()) as run:
        (probes,) = probe_set(score, {"v": x})
    assert (probes.area, probes.ratio) == (0.12, pytest.approx(1.0))  # .30 and .20 leave nothing of the class
    assert run.meter.forwards == probes.forwards == 2 + 64 + 2 * 8
    assert "about equally" in score_map(x[0, 0], probes).reason


def test_a_share_that_is_surely_too_harsh_is_given_up_before_all_its_copies_were_run():
    x = torch.rand(1, 1, 16, 16, generator=seeded(0))
    masks = probe_masks(Layout("picture", "v", (2, 3), (16, 16)), 128, 0.3, digest(x)).flatten(1)
    sets = (torch.randperm(256, generator=seeded(i))[:3] for i in itertools.count())
    kept = next(s for s in sets if (~masks[:8, s].any(1)).sum() >= 5 and (~masks[:32, s].any(1)).sum() <= 10)

    class Spots(nn.Module):
        """Loses its class when more than a quarter is changed and any of three places with it."""

        def forward(self, v):
            changed = (v != x).flatten(1)
            lost = changed[:, kept].any(1) & (changed.float().mean(1) > 0.25)
            return torch.stack([torch.zeros(len(v)), torch.where(lost, -10.0, 10.0)], 1)

    score = Score(Network(Spots()), logit(1))
    (probes,) = probe_set(score, {"v": x}, 128)
    # The pilot of 8 is gentle, 32 leave 10 of 32 or fewer (.31, standard error .08): no 33rd copy of that share.
    assert (probes.area, probes.forwards) == (0.2, 2 + 32 + 128)
    assert torch.equal(probes.masks, probe_masks(probes.layout, 128, 0.2, digest(x)))  # as if nobody had looked
    (fewer,) = probe_set(score, {"v": x}, 32)
    assert torch.equal(fewer.masks, probes.masks[:32]) and torch.equal(fewer.drops, probes.drops[:32])


def test_log_odds_are_measured_whatever_was_explained_and_a_class_each_is_kept():
    net = Network(Corner())
    x = torch.cat([lit_corner(1), lit_corner(2)])
    both = probe_set(Score(net, logit((1, 0))), {"x": x}, 24)
    alone = [probe_set(Score(net, log_odds(c)), {"x": x[i : i + 1]}, 24)[0] for i, c in enumerate((1, 0))]
    for one, other in zip(both, alone, strict=True):
        assert torch.equal(one.masks, other.masks)
        torch.testing.assert_close(one.drops, other.drops)
    # Two classes: the log-odds of one are minus those of the other.
    flipped = probe_set(Score(net, logit(0)), {"x": x[:1]}, 24)[0]
    if flipped.area == both[0].area:
        torch.testing.assert_close(flipped.drops, -both[0].drops)


def test_evidence_against_a_class_is_not_taken_for_evidence_for_it():
    net, x = Network(Corner()), lit_corner()
    why = gradient_x_input(net, x, -1.0 * logit(1))
    (probes,) = probe_set(why.score, why.x)
    assert score_map(why.values[0].sum(0), probes).r > 0.5


def test_a_saturated_class_still_has_finite_drops():
    class Sure(Corner):
        def forward(self, x):
            return 1000 * super().forward(x)

    net = Network(Sure())
    (probes,) = probe_set(Score(net, logit(1)), {"x": lit_corner()})
    assert bool(probes.drops.isfinite().all()) and float(probes.drops.std()) > 0


def test_probes_depend_on_the_seed_and_the_content_alone():
    net, x = Network(Corner()), lit_corner()
    one, again = (probe_set(Score(net, logit(1)), {"x": x}, 16)[0].masks for _ in range(2))
    with running(Run(seed=1)):
        other = probe_set(Score(net, logit(1)), {"x": x}, 16)[0].masks
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_what_the_network_is_shown_is_the_input_but_for_the_hole():
    layout, x = Layout("picture", "x", (2, 3), (SIDE, SIDE)), lit_corner()
    masks = blobs(20, SIDE, SIDE, 0.3, seeded(0))
    for mask, copy in zip(masks, masked(layout, x, masks), strict=True):
        assert copy.shape == x.shape
        assert torch.equal(copy[0, :, ~mask], x[0, :, ~mask])


def test_volumes_and_series_have_places():
    net = Network(nn.Identity())
    assert layout_of(net, {"x": torch.ones(2, 1, 3, 4, 5)}).shape == (3, 4, 5)
    assert layout_of(net, {"x": torch.ones(2, 9, 4)}).shape == (9,)
    assert layout_of(Network(nn.Conv1d(9, 1, 1)), {"x": torch.ones(2, 9, 4)}).shape == (4,)
    with pytest.raises(BadInput, match="parts to compare"):
        layout_of(net, {"x": torch.ones(2)})


def test_the_null_of_a_square_uses_all_eight_turns():
    places = torch.zeros(5, 5)
    places[0, 1] = places[0, 2] = places[1, 1] = 1.0
    places[0, 0] = 2.0
    masks = torch.stack([torch.arange(25).view(5, 5) == i for i in range(25)])
    probes = probes_by_hand(masks, torch.randn(25, generator=seeded(0)))
    turned = [torch.rot90(v, k) for v in (places, places.flip(0)) for k in range(4)]
    every = [v.roll((i, j), (0, 1)) for v in turned for i, j in itertools.product(range(5), repeat=2)]
    wanted = torch.stack([pearson(v.flatten().double(), probes.drops) for v in every])
    distance = (wanted[:, None] - null_scores(places, probes, 3000)).abs()
    assert float(distance.amin(0).max()) < 1e-6  # each null is one of the 200 turned and rolled maps
    assert float(distance.amin(1).max()) < 1e-6  # and each of them occurs
