"""The trust checks against closed forms and planted truth."""

from __future__ import annotations

import itertools
import math
import statistics
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, fx, nn

from pellucid.checks import all_checks
from pellucid.checks.card import trust_card
from pellucid.checks.completeness import completeness
from pellucid.checks.faithfulness import faithfulness, null_scores, score_map
from pellucid.checks.localization import localization, located
from pellucid.checks.randomization import randomization, unlearned
from pellucid.checks.stability import near_copies, stability
from pellucid.core.check import Verdict
from pellucid.core.errors import BadInput, BadOption
from pellucid.core.method import method
from pellucid.core.network import Network
from pellucid.core.run import Run, current, running
from pellucid.core.score import Score
from pellucid.core.target import log_odds, logit, scalar
from pellucid.probes.infill import blur, constant, mean, pull_push
from pellucid.probes.masks import blobs, landscapes, spans, subsets
from pellucid.trials.agreement import entropy, interval, pearson, ranks, spearman
from pellucid.trials.layout import Layout, layout_of
from pellucid.trials.probed import ProbeSet, masked, probe_set
from pellucid.trials.yardsticks import ceiling, edges

SIDE = 32
CORNER = (slice(4, 14), slice(18, 28))  # where the planted evidence lies


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@method(title="Gradient x input", family="gradient", paper="")
def gradient_x_input(f, x):
    return {k: g * x[k] for k, g in f.grad(x).items()}


@method(title="Gradient", family="gradient", paper="")
def plain_gradient(f, x):
    return f.grad(x)


@method(title="Edges", family="none", paper="")
def edge_detector(f, x):
    ((name, v),) = x.items()
    return {name: torch.stack([edges(layout_of(f.net, x), s[None]).float()[None] for s in v])}


@method(title="Noise", family="none", paper="")
def noise(f, x):
    return {k: current().normal(v)(0) for k, v in x.items()}


class Corner(nn.Module):
    """Two classes; class 1 is the brightness of one corner region, class 0 nothing."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.zeros(2, 3, SIDE, SIDE)
        weight[1, :, CORNER[0], CORNER[1]] = 0.02
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return torch.einsum("bchw,kchw->bk", x, self.weight)


def lit_corner(seed: int = 5) -> Tensor:
    """A smooth background with a bright square in the corner that `Corner` looks at."""
    x = landscapes(3, (SIDE, SIDE), seeded(seed))[None]
    x = 0.3 * x / x.std()
    x[:, :, 5:13, 19:27] += 1
    return x


class Columns(nn.Module):
    """A linear score of a table's columns."""

    def __init__(self, columns: int = 12) -> None:
        super().__init__()
        self.line = nn.Linear(columns, 1)
        self.line.weight.data = torch.randn(1, columns, generator=seeded(1))

    def forward(self, x):
        return self.line(x)


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(12, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


# --- masks -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 24), st.integers(2, 24), st.floats(0.01, 0.99), st.integers(0, 9))
def test_every_mask_removes_exactly_the_same_share(height, width, area, seed):
    masks = blobs(5, height, width, area, seeded(seed))
    expected = min(max(round(area * height * width), 1), height * width - 1)
    assert masks.flatten(1).sum(1).tolist() == [expected] * 5


def test_sequences_and_tables_have_fixed_shares_too():
    assert spans(6, 33, 0.2, seeded(0)).sum(1).tolist() == [7] * 6
    assert subsets(6, 11, 0.2, seeded(0)).sum(1).tolist() == [2] * 6


def test_no_place_is_likelier_to_be_removed_than_another():
    share = blobs(2000, 16, 16, 0.3, seeded(0)).float().mean(0)
    # Under stationarity each share is a mean of 2000 Bernoulli(.3) draws; 5 sigma over 256 places.
    assert float((share - 0.3).abs().max()) < 5 * math.sqrt(0.21 / 2000)


def test_blobs_are_made_of_patches_and_not_of_dust():
    def border(masks):
        return float((masks != masks.roll(1, -1)).float().mean())

    dust = subsets(64, 64 * 64, 0.3, seeded(0)).view(64, 64, 64)
    assert border(blobs(64, 64, 64, 0.3, seeded(0))) < border(dust) / 4


@pytest.mark.parametrize("area", [0.0, 1.0, -0.2, float("nan")])
def test_an_area_outside_0_to_1_is_refused(area):
    with pytest.raises(BadOption, match="area="):
        blobs(2, 8, 8, area, seeded(0))


# --- infill ------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.integers(3, 41), st.integers(3, 41), st.floats(-2, 2))
def test_pull_push_keeps_kept_pixels_and_constant_pictures(height, width, level):
    masks = blobs(3, height, width, 0.3, seeded(height * 50 + width))
    x = torch.randn(3, 2, height, width, generator=seeded(1))
    kept = ~masks[:, None].expand_as(x)
    assert torch.equal(pull_push(x, masks)[kept], x[kept])
    flat = torch.full_like(x, level)
    torch.testing.assert_close(pull_push(flat, masks), flat)


def test_pull_push_fills_within_the_range_of_what_is_kept_and_never_sees_what_is_removed():
    masks = blobs(4, 37, 50, 0.4, seeded(0))
    x = torch.rand(4, 1, 37, 50, generator=seeded(1))
    filled = pull_push(x, masks)
    for one, kept in zip(filled, ~masks, strict=True):
        low, high = one[0][kept].aminmax()
        assert low - 1e-6 <= one.min() and one.max() <= high + 1e-6
    other = torch.where(masks[:, None], torch.randn(x.shape, generator=seeded(2)), x)
    torch.testing.assert_close(pull_push(other, masks), filled)


@pytest.mark.parametrize("size", [(64, 64), (61, 45)])
def test_pull_push_nearly_reproduces_a_slope_inside_the_picture(size):
    down, right = torch.meshgrid(*(torch.linspace(0, 1, n) for n in size), indexing="ij")
    slope = (down + right)[None, None] / 2
    hole = torch.zeros(1, *size, dtype=torch.bool)
    hole[:, 20:34, 17:31] = True
    away = (pull_push(slope, hole) - slope)[0, 0][hole[0]].abs()
    by_mean = (mean(slope, hole[:, None]) - slope)[0, 0][hole[0]].abs()
    assert float(away.mean()) < 0.25 * float(by_mean.mean())
    assert float(away.max()) < 0.06  # of a slope from 0 to 1


def test_mean_and_constant_against_a_hand_computed_case():
    x = torch.tensor([[[1.0, 3.0, 9.0], [0.0, 4.0, -7.0]]])
    mask = torch.tensor([[[False, False, True]]])
    assert mean(x, mask).tolist() == [[[1.0, 3.0, 2.0], [0.0, 4.0, 2.0]]]
    assert constant(x, mask, 5.0).tolist() == [[[1.0, 3.0, 5.0], [0.0, 4.0, 5.0]]]


def test_blur_is_the_identity_on_constants_and_smooths_the_rest():
    x = torch.rand(1, 1, 20, 30, generator=seeded(0))
    mask = torch.ones(1, 20, 30, dtype=torch.bool)
    torch.testing.assert_close(blur(torch.ones_like(x), mask), torch.ones_like(x))
    assert float(blur(x, mask).std()) < 0.5 * float(x.std())


def test_a_mask_that_leaves_nothing_is_refused():
    with pytest.raises(BadInput, match="whole input"):
        pull_push(torch.ones(1, 1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool))


# --- agreement ---------------------------------------------------------------------------------------------------


def test_pearson_on_a_hand_computed_case():
    # Deviations (-1, 0, 1) and (-1, 1, 0): product 1, lengths sqrt(2) each.
    assert float(pearson(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1.0, 3.0, 2.0]))) == pytest.approx(0.5)
    assert math.isnan(float(pearson(torch.full((1, 3), 0.1), torch.tensor([1.0, 3.0, 2.0]))))


def test_pearson_agrees_with_the_standard_library():
    a, b = torch.randn(2, 40, generator=seeded(0), dtype=torch.double)
    assert float(pearson(a, b)) == pytest.approx(statistics.correlation(a.tolist(), b.tolist()), abs=1e-12)


def test_ranks_share_the_average_place_of_ties():
    assert ranks(torch.tensor([5.0, 1.0, 5.0, 0.0, 5.0])).tolist() == [3.0, 1.0, 3.0, 0.0, 3.0]
    # Spearman without ties is 1 - 6 sum d^2 / (n (n^2 - 1)); here the places differ by (0, 1, -1, 0).
    swapped = spearman(torch.tensor([0.1, 0.2, 0.3, 9.0]), torch.tensor([1.0, 3.0, 2.0, 4.0]))
    assert swapped == pytest.approx(1 - 6 * 2 / 60)


def test_entropy_of_equally_filled_bins_and_interval_of_known_quantiles():
    assert entropy(torch.arange(100.0)) == pytest.approx(math.log(100))
    assert interval(torch.linspace(0, 100, 101)) == pytest.approx((2.5, 97.5))


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


# --- completeness, randomization, stability, localization --------------------------------------------------------


def explained() -> object:
    return gradient_x_input(Network(Corner()), lit_corner(), 1)


def test_completeness_words_the_gap():
    assert completeness(explained()).verdict is Verdict.UNKNOWN
    good, bad = (completeness(replace(explained(), gap=gap)) for gap in ((0.01,), (0.01, 0.2)))
    assert (good.verdict, good.value) == (Verdict.HOLDS, 0.01)
    assert (bad.verdict, bad.value) == (Verdict.FAILS, 0.2)
    assert "20%" in bad.why
    assert completeness(replace(explained(), gap=(float("nan"),))).verdict is Verdict.UNKNOWN


def test_randomization_flags_an_edge_detector_and_not_the_gradient():
    net, x = Network(Convolutions()), lit_corner()
    flagged = randomization(edge_detector(net, x, 0))
    assert flagged.verdict is Verdict.FAILS and flagged.value == pytest.approx(1.0)
    free = randomization(plain_gradient(net, x, 0))
    assert free.verdict is Verdict.HOLDS and free.value < 0.8


@pytest.mark.parametrize("wrap", [lambda m: m, fx.symbolic_trace], ids=["module", "borrowed"])
def test_random_weights_never_touch_the_users_network(wrap):
    model = wrap(Convolutions().train())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    net = Network(model)
    twin = unlearned(net, {"x": lit_corner()})
    assert model.training and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    for (name, p), q in zip(model.named_parameters(), twin.model.parameters(), strict=True):
        assert p.data_ptr() != q.data_ptr()
        if p.ndim > 1:
            assert not torch.equal(p, q), name
            assert float(q.detach().std()) == pytest.approx(float(p.detach().std()), rel=0.35)
        else:
            assert torch.equal(p.sort().values, q.sort().values)


def test_random_weights_keep_the_signal_alive():
    net, x = Network(Convolutions()), lit_corner()
    twin = unlearned(net, {"x": x})
    out = plain_gradient(twin, x, 0)
    assert float(out.values.abs().sum()) > 0
    with twin.lease() as model:
        seen = model.body[:2](x)  # after the first batch norm: about zero mean and unit spread
    assert 0.3 < float(seen.std()) < 3 and not twin.model.training


def test_tied_weights_stay_tied_when_drawn_anew():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    twin = unlearned(Network(Tied()), {"x": torch.ones(1, 4)}).model
    assert twin.a.weight is twin.b.weight


def test_stability_of_a_linear_networks_gradient_is_one():
    found = stability(plain_gradient(Network(Corner()), lit_corner(), 1))
    assert found.value == pytest.approx(1.0) and found.low == pytest.approx(1.0)
    assert found.verdict is Verdict.HOLDS and not found.references


def test_stability_of_a_map_made_of_noise_is_zero():
    found = stability(noise(Network(Corner()), lit_corner(), 1))
    # Spearman of 196 independent cells has spread 1 / sqrt(195); the mean of five is well within .2.
    assert abs(found.value) < 0.2 and found.verdict is Verdict.FAILS
    assert dict(found.references)["another seed"] == pytest.approx(0, abs=0.3)


def test_near_copies_with_another_answer_are_left_out():
    x = lit_corner()

    class Knife(nn.Module):
        """Class 1 for everything but one picture; `easy` noise, which makes the picture darker, does not count."""

        def __init__(self, easy):
            super().__init__()
            self.easy = easy

        def forward(self, v):
            other = (v != x).flatten(1).any(1) & ~(self.easy & (v.sum((1, 2, 3)) < x.sum()))
            return torch.stack([v.sum((1, 2, 3)) * 0 + 0.5, other.float()], 1)

    none = stability(plain_gradient(Network(Knife(False)), x, 0))
    assert none.verdict is Verdict.UNKNOWN and math.isnan(none.value)
    score = Score(Network(Knife(True)), logit(0))
    for near, kept in zip(*near_copies(score, {"v": x}), strict=True):
        assert bool(kept[0]) == bool(near["v"].sum() < x.sum())


def test_localization_closed_form():
    places, inside = torch.zeros(10, 10), torch.zeros(10, 10, dtype=torch.bool)
    inside[2:4, 2:7] = True  # 10 of 100
    places[2:4, 2:5] = 1.0  # 6 inside
    places[8, 8:10] = 1.0  # 2 outside
    places[5, 5] = -9.0  # evidence against does not count
    found = located(places, inside)
    assert (found.energy, found.area, found.hit) == pytest.approx((0.75, 0.1, 0.75))
    # Every roll of a map has, on average, the region's area inside; this one has more than nearly all.
    assert found.p <= 0.05 and found.random < 0.75


def test_localization_of_rolled_maps_is_the_brute_force_sum():
    places = landscapes(1, (9, 7), seeded(0))[0].clamp(min=0)
    inside = blobs(1, 9, 7, 0.2, seeded(1))[0]
    every = torch.tensor([float(places.roll((i, j), (0, 1))[inside].sum()) for i in range(9) for j in range(7)])
    share = float((every >= every[0] - 1e-6).float().mean())
    found = located(places, inside)
    assert found.p == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / 499) + 1 / 500)
    assert found.random <= float(every.max() / places.sum()) + 1e-6


def test_localization_on_planted_truth_with_mask_and_boxes():
    why = explained()
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[CORNER] = True
    by_mask, by_box = localization(why, mask=mask), localization(why, mask=[(18, 4, 28, 14)])
    assert by_mask.value == by_box.value == pytest.approx(1.0)
    assert by_mask.verdict is Verdict.HOLDS
    assert dict(by_mask.references)["chance"] == pytest.approx(100 / SIDE**2)
    assert localization(why).verdict is Verdict.UNKNOWN
    with pytest.raises(BadInput, match="mask is"):
        localization(why, mask=torch.ones(3, 3))
    with pytest.raises(BadInput, match="empty"):
        localization(why, mask=torch.zeros(SIDE, SIDE))


# --- the card ----------------------------------------------------------------------------------------------------


def test_the_card_finds_the_checks_in_their_folder_in_reading_order():
    placed = sorted((check.place, name) for name, check in all_checks().items() if check.place)
    assert " ".join(name for _, name in placed) == "faithfulness stability randomization completeness localization"


def test_the_card_runs_what_applies_and_measures_the_time():
    card = trust_card(explained(), probes=16)
    assert [c.name for c in card] == ["faithfulness", "stability", "randomization", "completeness"]
    assert all(c.seconds > 0 and c.why.endswith(".") for c in card)
    with_mask = trust_card(explained(), mask=[(18, 4, 28, 14)], which=["localization"])
    assert [c.name for c in with_mask] == ["localization"]
    with pytest.raises(BadOption, match="no check"):
        trust_card(explained(), which=["beauty"])


def test_a_check_that_cannot_be_made_says_so_and_loses_nothing():
    lost = replace(explained(), net=None, score=None, again=None)
    card = trust_card(lost)
    assert all(c.verdict is Verdict.UNKNOWN for c in card)
    assert "without its network" in card[0].why


def test_a_scalar_target_is_tested_as_it_is():
    net = Network(Corner())
    target = scalar(lambda out: out[:, 1] ** 2)
    why = gradient_x_input(net, lit_corner(), target)
    (probes,) = probe_set(why.score, why.x, 24)
    start = float(net.model(lit_corner())[0, 1].detach()) ** 2
    assert not probes.of_class and probes.start == pytest.approx(start, rel=1e-4)
