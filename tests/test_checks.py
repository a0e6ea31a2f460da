"""The trust checks against closed forms and planted truth, and the card."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import fx, nn

from pellucid.checks import all_checks
from pellucid.checks.card import trust_card
from pellucid.checks.completeness import completeness
from pellucid.checks.localization import localization, located
from pellucid.checks.randomization import randomization
from pellucid.checks.stability import near_copies, stability
from pellucid.core.check import Verdict
from pellucid.core.errors import BadInput, BadOption
from pellucid.core.method import method
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import logit, scalar
from pellucid.probes.masks import blobs, landscapes
from pellucid.trials.layout import layout_of
from pellucid.trials.probed import probe_set
from pellucid.trials.unlearned import unlearned
from pellucid.trials.yardsticks import edges
from tests.planted import CORNER, SIDE, Corner, gradient_x_input, lit_corner, noise, seeded


@method(title="Gradient", family="gradient", paper="")
def plain_gradient(f, x):
    return f.grad(x)


@method(title="Edges", family="none", paper="")
def edge_detector(f, x):
    ((name, v),) = x.items()
    return {name: torch.stack([edges(layout_of(f.net, x), s[None]).float()[None] for s in v])}


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


class Tie(nn.Module):
    """Two classes that are nearly as likely: every picture but one is a step nearer to class 0 than to class 1."""

    def __init__(self, x, step):
        super().__init__()
        self.x, self.step, self.sum = x, step, Corner()

    def forward(self, v):
        z, other = self.sum(v)[:, 1], (v != self.x).flatten(1).any(1)
        return torch.stack([z + torch.where(other, self.step, -self.step), z], 1)


def test_near_copies_that_hardly_change_what_is_explained_are_kept_though_the_first_class_changes():
    x = lit_corner()
    for step, kept in ((0.01, True), (0.34, True), (0.36, False), (3.0, False)):  # log 2 = .693: twice the step
        score = Score(Network(Tie(x, step)), logit(1))
        assert int(score.outputs({"v": x}).argmax()) == 1 != int(score.outputs({"v": x + 1e-3}).argmax())
        assert all(bool(same[0]) == kept for same in near_copies(score, {"v": x})[1])
        found = stability(plain_gradient(Network(Tie(x, step)), x, 1))
        if kept:  # the gradient of a linear sum is the same everywhere
            assert found.value == pytest.approx(1.0) and found.verdict is Verdict.HOLDS and "left out" not in found.why
        else:
            assert found.verdict is Verdict.UNKNOWN
        unstable = stability(noise(Network(Tie(x, step)), x, 1))
        assert unstable.verdict is (Verdict.FAILS if kept else Verdict.UNKNOWN)


def test_the_first_class_alone_counts_where_no_single_class_is_explained():
    x = lit_corner()
    score = Score(Network(Tie(x, 0.01)), logit(1) - logit(0))
    assert not any(bool(same[0]) for same in near_copies(score, {"v": x})[1])


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
