"""Relevance of channels, reference samples, groups and attribution between sites: sums, definitions, planted truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.concepts.matching import likeness


def network(bias: bool = False) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=bias), nn.ReLU(), nn.Conv2d(6, 5, 3, bias=bias), nn.ReLU(), nn.Flatten(),
        nn.Linear(5 * 6 * 6, 2, bias=bias),
    ).double().eval()  # fmt: skip


def picture(count: int = 1) -> Tensor:
    return torch.rand(count, 3, 10, 10, dtype=torch.float64)


@pytest.mark.parametrize("preset", ["epsilon", "epsilon_plus_flat", "epsilon_gamma_box", "alpha2_beta1"])
@pytest.mark.parametrize("site", ["1", "3"])
def test_the_maps_of_all_channels_add_up_to_lrp(preset: str, site: str) -> None:
    net, x = network(bias=True), picture()
    found = pl.concepts.relevance(net, x, 1, site, range(6 if site == "1" else 5), preset=preset)
    whole = pl.methods.lrp(net, x, 1, preset=preset).values
    assert torch.allclose(found.whole, whole[0].sum(0), atol=1e-12)
    assert torch.allclose(found.maps.sum(0), found.whole, atol=1e-10)
    assert found.shown == pytest.approx(1.0)


@pytest.mark.parametrize("preset", ["epsilon", "epsilon_plus_flat"])
def test_without_biases_nothing_is_lost_on_the_way(preset: str) -> None:
    net, x = network(), picture()
    found = pl.concepts.relevance(net, x, 1, "1", range(6), preset=preset)
    assert found.arrived == pytest.approx(1.0, abs=1e-3)
    assert torch.allclose(found.maps.sum((1, 2)), found.channels, rtol=1e-3, atol=1e-4)


def test_a_channel_that_nobody_reads_has_no_relevance() -> None:
    net = network()
    with torch.no_grad():
        net[2].weight[:, 4] = 0.0
    found = pl.concepts.relevance(net, picture(), 0, "1", [4, 0])
    assert float(found.channels[4]) == 0.0 and not found.maps[0].any() and found.maps[1].any()


def test_the_model_and_the_answer_stay_as_they_are() -> None:
    net, x = network(bias=True), picture()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    a, b = (pl.concepts.relevance(net, x, 1, "1") for _ in range(2))
    assert torch.equal(a.maps, b.maps) and a.score == pytest.approx(float(net.eval()(x).detach()[0, 1]))
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("share", [True, False])
def test_reference_samples_are_the_largest_of_all_and_one_pass_finds_them(share: bool) -> None:
    net, data = network(bias=True), picture(37)
    found = pl.concepts.references(net, data, 1, "1", [0, 3], best=4, share=share)
    every = torch.stack([pl.concepts.relevance(net, data[i : i + 1], 1, "1", [0]).channels for i in range(37)])
    every = every / every.abs().sum(1, keepdim=True) if share else every
    active = net[1](net[0](data)).mean((2, 3))
    for row, channel in enumerate((0, 3)):
        best = every[:, channel].argsort(descending=True)[:4]
        kept = [i for i in best.tolist() if float(every[i, channel]) > 0]
        assert found.samples[row].tolist() == kept + [-1] * (4 - len(kept))
        assert torch.allclose(found.relevance[row, : len(kept)], every[kept, channel])
        assert found.excited[row].tolist() == active[:, channel].argsort(descending=True)[:4].tolist()
        for n, i in enumerate(kept):
            alone = pl.concepts.relevance(net, data[i : i + 1], 1, "1", [channel])
            assert torch.allclose(found.maps[row, n], alone.maps[0])
    assert found.seen == 37


def test_without_a_target_each_sample_is_asked_about_its_likeliest_class() -> None:
    net, data = network(bias=True), picture(6)
    tops = net(data).argmax(1).tolist()
    found = pl.concepts.references(net, data, None, "1", [2], best=6, share=False)
    alone = [float(pl.concepts.relevance(net, data[i : i + 1], tops[i], "1", [2]).channels[2]) for i in range(6)]
    kept = sorted((v for v in alone if v > 0), reverse=True)
    assert found.relevance[0, : len(kept)].tolist() == pytest.approx(kept)
    assert found.origin.target == "each sample's likeliest class"


def test_relevance_prefers_what_the_answer_needs_to_what_excites() -> None:
    """The channel sees red everywhere; the answer reads the left half alone, and the brightest red is on the right."""
    net = nn.Sequential(nn.Conv2d(3, 1, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2, bias=False)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
        left = (torch.arange(16) % 4 < 2).double()
        net[3].weight.copy_(torch.stack((torch.zeros(16).double(), left)))
    data = torch.zeros(2, 3, 4, 4, dtype=torch.float64)
    data[0, 0, :, 2:] = 1.0
    data[1, 0, :, :2] = 0.5
    found = pl.concepts.references(net, data, 1, "1", [0], best=1)
    assert found.samples.tolist() == [[1]] and found.excited.tolist() == [[0]] and found.shared == (0.0,)


def test_groups_are_the_planted_ones_and_their_sums_are_the_score() -> None:
    colors = torch.eye(3).repeat_interleave(2, 0) * torch.tensor([1.0, 0.5] * 3)[:, None]
    net = nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 2, bias=False))
    with torch.no_grad():
        net[0].weight.copy_(colors[..., None, None])
    x = torch.eye(3)[torch.randint(3, (2, 8, 8))].movedim(-1, 1) * (0.5 + 0.5 * torch.rand(2, 1, 8, 8))
    found = pl.concepts.groups(net.eval(), x, 1, "1", count=3)
    truth = colors.T / colors.T.norm(dim=1, keepdim=True)
    assert float(likeness(truth, found.vectors).min()) > 0.999
    score = net(x)[:, 1].detach()
    for parts in (found.contributions.sum((1, 2, 3)), found.by_channel.sum(1), found.by_place.sum((1, 2))):
        assert torch.allclose(parts, score, atol=1e-4)
    assert float(found.gap.max()) < 1e-4 and float(found.ungrouped.abs().max()) < 1e-4
    means = found.contributions.sum((2, 3)).mean(0)
    assert bool((means.diff() <= 0).all())


def test_the_gap_says_that_a_bend_is_missed() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 1), nn.Softplus(), nn.Linear(1, 2))
    found = pl.concepts.groups(net.double().eval(), torch.rand(1, 3, 4, 4).double(), 1, "1", count=1)
    nothing = net[3:](torch.zeros(1, 32).double()).detach()
    assert float(found.scores[0, 1]) == pytest.approx(float(nothing[0, 1]))
    assert float(found.gap[0]) > 1e-3


def test_what_lies_between_two_sites_is_the_weights_times_the_values() -> None:
    net, x = network(), picture()
    found = pl.concepts.between(net, x, 1, "1", "2", [0, 3])
    a, b = net[:2](x)[0].detach(), net[:3](x)[0].detach()
    for row, j in enumerate((0, 3)):
        for i in range(6):
            by_hand = (
                torch.nn.functional.conv2d(a[None, i : i + 1], net[2].weight[j : j + 1, i : i + 1]).mean().detach()
            )
            assert float(found.matrix[row, i]) == pytest.approx(float(by_hand), abs=1e-9)
        assert float(found.values[row]) == pytest.approx(float(b[j].mean()))
    assert torch.allclose(found.matrix.sum(1), found.maps.sum((1, 2))) and float(found.gap.max()) < 1e-8
    assert torch.allclose(found.matrix.sum(1), found.values)


def test_without_names_the_channels_are_those_that_add_most_to_the_target() -> None:
    net, x = network(bias=True), picture()
    found = pl.concepts.between(net, x, 1, "1", "3", most=3)
    value = net[:4](x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(net[4:](value)[0, 1], value)
    worth = (value * slope).sum((2, 3))[0]
    assert found.channels == tuple(worth.argsort(descending=True)[:3].tolist())
    assert torch.allclose(found.worth, worth[list(found.channels)])


def test_what_cannot_be_taken_apart_is_refused() -> None:
    net, x = network(), picture(2)
    with pytest.raises(pl.BadInput, match="2 pictures"):
        pl.concepts.relevance(net, x, 1, "1")
    with pytest.raises(pl.BadInput, match="Channel 9"):
        pl.concepts.relevance(net, x[:1], 1, "1", [9])
    with pytest.raises(pl.BadInput, match="Channel 6"):
        pl.concepts.references(net, x, 1, "1", [6])
    with pytest.raises(pl.BadInput, match="Channel -1"):
        pl.concepts.between(net, x[:1], 1, "1", "2", [-1])
    with pytest.raises(pl.BadInput, match="channels, height, width"):
        pl.concepts.between(net, x[:1], 1, "4", "5")
    with pytest.raises(pl.BadInput, match="goes down to"):
        pl.concepts.groups(net, x, 1, "2")
    with pytest.raises(pl.BadModel, match="does not depend"):
        pl.concepts.between(net, x[:1], 1, "3", "1")


@pytest.mark.parametrize(
    ("words", "make"),
    [
        ("Through which channels", lambda net, x: pl.concepts.relevance(net, x[:1], 1, "1", most=2)),
        ("stand for", lambda net, x: pl.concepts.references(net, x, 1, "1", [0, 1], best=2)),
        ("Groups of channels", lambda net, x: pl.concepts.groups(net, x, 1, "1", count=2)),
        ("is made of", lambda net, x: pl.concepts.between(net, x[:1], 1, "1", "2", most=2)),
    ],
)
def test_each_is_shown_and_kept_in_a_file(words: str, make: Callable, tmp_path: Path) -> None:
    found = make(network(bias=True), picture(3))
    again = pl.load(found.save(tmp_path / "found.pellucid"))
    assert type(again) is type(found) and repr(again) == repr(found)
    html = found.save(tmp_path / "found.html").read_text()
    assert words in html and again.save(tmp_path / "again.html").read_text() == html
