"""The trust card against networks whose reasons are known, small enough for every run.

The same at its true size: `python -m benchmarks.trust`, whose figures are in benchmarks/RESULTS.md.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from benchmarks.trust import rig, unfair
from benchmarks.trust.maps import graded, shifted
from benchmarks.trust.networks import CutOff, Patches, Quadrant, tagged
from benchmarks.trust.verdicts import correlations, kendall, wilson
from pellucid.checks.faithfulness import faithfulness, score_map
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.probes.infill import constant
from pellucid.probes.masks import landscapes, subsets
from pellucid.trials.layout import Layout
from pellucid.trials.probed import ProbeSet, ceiling, probe_set

PHOTOS = tuple(sorted((rig.ROOT / "examples").glob("*.jpg")))
STEPS, WIDTHS = 150, (8, 16, 16, 24, 24)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_kept(tmp_path_factory):
    """Networks are trained here and not taken from, or left in, the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rig, "CACHE", tmp_path_factory.mktemp("cache"))
        yield


@cache
def pool() -> rig.Scenes:
    torch.manual_seed(0)
    return rig.scenes(1500, "train", paths=PHOTOS)


@cache
def glyphs() -> tuple[nn.Module, rig.Scenes]:
    """A small glyph network, trained in seconds on crops of the two photographs in examples/."""
    torch.manual_seed(0)
    model = rig.trained(rig.small_network(widths=WIDTHS), rig.batches(pool(), 32), "small", STEPS, 0.02)
    return model, rig.right(model, rig.scenes(60, "test", paths=PHOTOS))


def probes_of(model: nn.Module, x: Tensor, label: int, count: int = 64) -> ProbeSet:
    net = Network(model)
    (found,) = probe_set(Score(net, pl.logit(label)), {net.inputs[0]: x[None]}, count)
    return found


def test_the_plant_is_the_reason() -> None:
    model, found = glyphs()
    assert len(found) > 54  # of 60
    with torch.no_grad():
        shown, hidden = (rig.log_odds(model(v), found.labels).mean() for v in (found.x, found.without))
        moved = torch.where(found.truth[:, None], found.x, found.without.roll(1, 0))
        pasted = rig.log_odds(model(moved), found.labels).mean()
    assert shown > 2 and hidden < 0 and pasted > 1


# 1: a linear network, a constant where something is removed


def test_a_linear_network_gives_its_exact_map_one_and_the_opposite_minus_one() -> None:
    torch.manual_seed(3)
    line = nn.Linear(64, 1, bias=False)
    x = torch.rand(1, 64) * line.weight.sign()
    exact = (x * line.weight)[0].detach().double()
    probes = probes_of(line, x[0], 0)
    found, opposite = score_map(exact, probes), score_map(-exact, probes)
    moved = score_map(3 * exact + 7, probes)
    assert found.r == pytest.approx(1, abs=1e-6) and opposite.r == pytest.approx(-1, abs=1e-6)
    assert moved.r == pytest.approx(found.r, abs=1e-6)
    assert (found.word, opposite.word) == ("Supported", "Not supported")


# 2: maps that know nothing


def test_random_smooth_maps_have_uniform_p_values_on_a_trained_network() -> None:
    model, found = glyphs()
    p, r = [], []
    for i in range(10):
        probes = probes_of(model, found.x[i], int(found.labels[i]))
        told = [score_map(m, probes) for m in landscapes(20, (rig.SIDE, rig.SIDE), rig.generator("null", i))]
        p, r = p + [t.p for t in told], r + [t.r for t in told]
    ranked = torch.tensor(p).sort().values
    # Kolmogorov and Smirnov at level .01: 1.63 / sqrt(n).
    assert float((ranked - (torch.arange(200) + 0.5) / 200).abs().max()) < 1.63 / math.sqrt(200)
    spread = torch.tensor(r)
    assert abs(float(spread.mean())) < 3 * float(spread.std()) / math.sqrt(200)


# 3: only a quarter of the picture reaches the network


def quarters() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    model, found = glyphs()
    picks = torch.arange(40).view(10, 4)
    a, b, c, d = found.x[picks].unbind(1)
    x = torch.cat([torch.cat([a, b], -1), torch.cat([c, d], -1)], -2)
    truth = torch.zeros(10, 2 * rig.SIDE, 2 * rig.SIDE)
    truth[:, : rig.SIDE, : rig.SIDE] = found.truth[picks[:, 0]].float()
    return Quadrant(model).eval(), x, truth, found.labels[picks[:, 0]]


@pytest.mark.parametrize("name", ["saliency", "input_x_gradient", "integrated_gradients", "guided_backprop", "lrp"])
def test_what_cannot_reach_the_network_gets_nothing_at_all(name: str) -> None:
    model, x, _, labels = quarters()
    options = {"steps": 4} if name == "integrated_gradients" else {}
    found = getattr(pl.methods, name)(model, x[:2], tuple(labels[:2].tolist()), **options).values.abs()
    assert float(found[..., : rig.SIDE, : rig.SIDE].sum()) > 0
    found[..., : rig.SIDE, : rig.SIDE] = 0
    assert float(found.max()) == 0


def test_the_quarter_that_counts_is_told_from_the_others() -> None:
    model, x, truth, labels = quarters()
    words = {"truth": [], "elsewhere": []}
    for i in range(len(x)):
        probes = probes_of(model, x[i], int(labels[i]))
        words["truth"].append(score_map(truth[i], probes).p <= 0.05)
        elsewhere = truth[i].roll((rig.SIDE, rig.SIDE), (0, 1))
        words["elsewhere"].append(score_map(elsewhere, probes).word == "Supported")
    assert sum(words["truth"]) >= 9 and sum(words["elsewhere"]) == 0


# 4: patches that add up


def test_patches_that_add_up_give_one_and_a_ceiling_of_one() -> None:
    model = Patches(patch=4).eval()
    x = pool().x[:1]
    with torch.no_grad():
        shares = model.evidence(x)[0, 0]
    some = subsets(192, 64, 0.3, rig.generator("patches")).view(192, 8, 8)
    masks = some.repeat_interleave(4, 1).repeat_interleave(4, 2)
    with torch.no_grad():  # zero kernels' sums: a patch of one color has no evidence
        after = model(constant(x.expand(192, -1, -1, -1), masks[:, None]))[:, 0].double()
        drops = float(model(x)) - after
    layout = Layout("picture", "x", (2, 3), (rig.SIDE, rig.SIDE))
    top = ceiling(layout.cells(masks.double(), 8), drops)
    probes = ProbeSet(layout, 0, "k", masks, drops, float(shares.sum()), 0.7, False, 0.3, top, "gray", (), 0, 0)
    exact = shares.repeat_interleave(4, 0).repeat_interleave(4, 1)
    assert score_map(exact, probes).r == pytest.approx(1, abs=1e-5)
    assert top > 0.999


# 5: nothing can be told


def test_networks_of_which_no_map_can_be_told_are_not_told() -> None:
    found = unfair.told(6)
    assert len(found) == 4
    for name, words in found.items():
        assert not words["Supported"], name
        least = 0.85 if name.startswith("parity") else 1.0  # its answer leaps: a map may happen to fit 128 copies
        assert words["Can't tell"] >= least * words.total(), name


# 6: graded maps and real methods


def test_graded_maps_are_ordered_as_they_were_made() -> None:
    model, found = glyphs()
    taus = {64: [], 128: []}
    for i in range(12):
        probes = probes_of(model, found.x[i], int(found.labels[i]), 128)
        known = list(graded(found.truth[i].double(), rig.generator("graded", i)))
        maps = torch.stack([m for _, m in known])
        for n, into in taus.items():
            some = replace(probes, masks=probes.masks[:n], drops=probes.drops[:n])
            into.append(kendall([s for s, _ in known], correlations(maps, some).tolist()))
    # Fifteen maps in five equal shares: tau-b cannot be more than 90 / sqrt(90 x 105) = .926.
    assert sum(taus[64]) / 12 >= 0.8 and sum(taus[128]) / 12 >= 0.85


def test_true_maps_are_supported_and_moved_ones_are_not() -> None:
    model, found = glyphs()
    words: dict[str, list[str]] = {"truth": [], "moved": [], "opposite": []}
    for i in range(20):
        g, truth = rig.generator("moved", i), found.truth[i].double()
        probes = probes_of(model, found.x[i], int(found.labels[i]))
        for name, m in (("truth", truth), ("moved", shifted(truth, g)), ("opposite", -truth)):
            words[name].append(score_map(m, probes).word)
    assert words["truth"].count("Supported") >= 12 and "Not supported" not in words["truth"]
    assert "Supported" not in words["moved"] + words["opposite"]


def test_two_equal_glyphs_of_which_one_is_cut_off() -> None:
    model, found = glyphs()
    cut = CutOff(model).eval()
    for i in range(4):
        x = torch.cat([found.x[i], found.x[i]], -1)
        nothing = torch.zeros_like(found.truth[i]).double()
        seen, unseen = (
            torch.cat(v, -1) for v in ((found.truth[i].double(), nothing), (nothing, found.truth[i].double()))
        )
        probes = probes_of(cut, x, int(found.labels[i]))
        assert score_map(seen, probes).r > 0.6
        assert score_map(unseen, probes).word != "Supported"


# a class that is absent, and a score with an offset: tested all the same, where parts are known to have effects


def test_a_class_that_is_absent_has_its_evidence_against() -> None:
    model, found = glyphs()
    told, opposite = [], []
    for i in range(10):
        probes = probes_of(model, found.x[i], (int(found.labels[i]) + 1) % 4)
        assert probes.ratio > 1.05  # without the glyph that is there, the absent class gets likelier
        told.append(score_map(-found.truth[i].double(), probes))
        opposite.append(score_map(found.truth[i].double(), probes).word)
    fair = [t for t in told if not t.reason]
    assert len(fair) >= 8 and sum(t.p <= 0.05 for t in fair) >= 0.8 * len(fair)
    assert "Supported" not in opposite and "Weak" not in opposite


def test_an_offset_of_the_score_changes_no_verdict() -> None:
    torch.manual_seed(3)
    line = nn.Linear(12, 1)
    x = torch.rand(1, 12) * line.weight.sign()
    exact = (x * line.weight)[0].detach().double()
    words = []
    for offset in (0.0, 100.0):
        line.bias.data.fill_(offset)
        words.append(score_map(exact, probes_of(line, x[0], 0)).word)
    assert words == ["Supported", "Supported"]


# 7: bad maps and bad targets get a sentence


def test_a_map_without_content_gets_a_sentence() -> None:
    model, found = glyphs()
    e = pl.methods.saliency(model, found.x[:1], int(found.labels[0]))
    flat = faithfulness(replace(e, maps={k: torch.zeros_like(v) for k, v in e.maps.items()}), count=16)
    assert math.isnan(flat.value) and "the same everywhere" in flat.why and flat.why.startswith("Can't tell")
    still = faithfulness(pl.methods.saliency(unfair.Indifferent(), found.x[:1], 0), count=16)
    assert still.why.startswith("Can't tell")


def test_a_class_that_is_certain_in_single_precision_still_has_drops() -> None:
    model, found = glyphs()
    sure = nn.Sequential(model, Times(50.0)).eval()
    probes = probes_of(sure, found.x[0], int(found.labels[0]))
    with torch.no_grad():
        assert float(sure(found.x[:1]).softmax(1).amax()) == 1
    assert bool(probes.drops.isfinite().all()) and float(probes.drops.std()) > 0


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


# 8: a shortcut in the training data


def test_a_backdoor_is_found_by_pasting_the_tag() -> None:
    data, has = tagged(pool(), "train", 0.3)
    data = replace(data, labels=torch.where(has, 0, data.labels))
    torch.manual_seed(1)
    model = rig.trained(rig.small_network(widths=WIDTHS), rig.batches(data, 32), "door", STEPS, 0.02)
    parts = rig.scenes(60, "test", paths=PHOTOS)
    marked, _ = tagged(parts, "test", 1.0)
    others = parts.labels != 0
    with torch.no_grad():
        before, after = ((model(v[others]).argmax(1) == 0).float().mean() for v in (parts.x, marked.x))
        clean = (glyphs()[0](marked.x[others]).argmax(1) == 0).float().mean()
    assert after > 0.9 and before < 0.3 and clean < 0.3
    sure = [int(i) for i in others.nonzero()[:8, 0]]
    told = [score_map(marked.truth[i].double(), probes_of(model, marked.x[i], 0)).r for i in sure]
    assert sum(told) / len(told) > 0.6


def test_the_statistics_of_the_proof_on_cases_by_hand() -> None:
    assert kendall([1, 2, 3], [1, 2, 3]) == pytest.approx(1) and kendall([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # Pairs (1,2) tied in a; of the other two, both in order: 2 / sqrt(2 x 3).
    assert kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(6))
    # Wilson 1927: no hits in ten is [0, z^2 / (n + z^2)].
    assert wilson(0, 10) == pytest.approx((0, 1.96**2 / (10 + 1.96**2)))
