"""The strongest patches of a data set: against brute force, planted templates, and what a crop claims."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.dream.excited.tallies import Counts
from pellucid.dream.patches import patches
from tests.networks import randomized
from tests.scenes import DEEP, KINDS, SIZES, best, places, random, scene


@pytest.mark.parametrize("per_sample", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_the_strongest_and_the_weakest_are_those_of_brute_force(kind: str, per_sample: int) -> None:
    net, site, x, a = scene(kind)
    found = patches(net, x, site, count=5, bottom=4, per_sample=per_sample)
    assert found.channels == tuple(range(a.shape[1]))
    assert places(found, "top", SIZES[kind]) == best(a, 5, per_sample, True)
    assert places(found, "bottom", SIZES[kind]) == best(a, 4, per_sample, False)
    values = [[p.value for p in ranks] for ranks in found.top]
    wanted = [[float(a[s, c, p]) for s, p in own] for c, own in enumerate(best(a, 5, per_sample, True))]
    assert torch.allclose(torch.tensor(values), torch.tensor(wanted), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_those_of_all_activations(kind: str) -> None:
    net, site, x, a = scene(kind)
    found, a = patches(net, x, site, bins=16), a.double()
    for kept, v in ((found.values, a), (found.peaks, a.amax(2, True)), (found.means, a.mean(2, True))):
        flat = v.movedim(1, 0).flatten(1)
        wanted = (flat.amin(1), flat.amax(1), flat.mean(1), flat.std(1, correction=0))
        for ours, theirs in zip((kept.least, kept.greatest, kept.mean, kept.spread), wanted, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert torch.allclose(found.zeros, (a == 0).double().mean((0, 2)))
    assert torch.equal(found.maxima, found.peaks.greatest) and torch.equal(found.maxima, found.values.greatest)
    for c in range(a.shape[1]):
        edges = found.histogram.edges(c)
        counted = torch.histogram(a[:, c].flatten(), edges).hist.long()
        # a value within rounding of an edge may fall on its other side: batches of other sizes round otherwise
        assert int((counted - found.histogram.counts[c]).abs().sum()) <= 2
        assert int(found.histogram.counts[c].sum()) == a[:, c].numel()


def test_the_mean_ranks_whole_samples() -> None:
    net, site, x, a = scene("map")
    found = patches(net, x, site, count=6, bottom=2, how="mean")
    order = a.mean(2).argsort(0, descending=True)
    for c, (top, low) in enumerate(zip(found.top, found.bottom, strict=True)):
        assert [p.sample for p in top] == order[:6, c].tolist()
        assert [p.sample for p in low] == order.flip(0)[:2, c].tolist()
        assert all(p.part == ((0, 11), (0, 9)) for p in top)


@pytest.mark.parametrize("kind", [torch.float64, torch.bfloat16])
def test_other_numbers_than_float32(kind: torch.dtype) -> None:
    net, site, x, _ = scene("map")
    net = Network(net.model.to(kind))
    with torch.no_grad():
        a = net.model(x.to(kind)).flatten(2)
    found = patches(net, x, site, count=3)
    order = a.amax(2).argsort(dim=0, descending=True, stable=True)
    assert [[p.sample for p in r] for r in found.top] == order[:3].T.tolist()
    assert torch.allclose(found.mean, a.double().mean((0, 2)), rtol=1e-4, atol=1e-5)


def test_some_channels_are_rows_of_all() -> None:
    net, site, x, _ = scene("map")
    whole, some = patches(net, x, site), patches(net, x, site, [4, 1])
    assert some.channels == (4, 1) and some.row(1) == 1
    assert [p.sample for p in some.top[0]] == [p.sample for p in whole.top[4]]
    assert torch.equal(some.maxima, whole.maxima[[4, 1]])
    assert some.top[0][0].channel == 4


@pytest.mark.parametrize("kind", ["rectified map", "tokens", "series"])
def test_it_does_not_depend_on_batches(kind: str) -> None:
    net, site, x, _ = scene(kind)
    found = []
    for size in (1, 4, 64):
        with running(Run(max_batch=size)):
            found.append(patches(net, x, site, count=4, bottom=2))
    for other in found[1:]:
        for side in ("top", "bottom"):
            assert places(other, side, SIZES[kind]) == places(found[0], side, SIZES[kind])
        assert torch.allclose(other.spread, found[0].spread, rtol=1e-4)


def test_histograms_do_not_depend_on_the_order_of_the_data() -> None:
    x = random(60, 3, 1) * torch.tensor([1.0, 1e-4, 300.0])[:, None] + torch.tensor([0.0, 5.0, -7.0])[:, None]

    def counted(blocks: list[Tensor]) -> Counts:
        counts = Counts(3, 8)
        for v in blocks:
            counts.add(v, v.amin((0, 2)), v.amax((0, 2)))
        return counts

    one, many, back = counted([x]), counted(list(x.split(1))), counted(list(x.flip(0).split(7)))
    for other in (many, back):
        assert torch.equal(one.counts, other.counts)
        assert torch.equal(one.first, other.first) and torch.equal(one.exponent, other.exponent)
    found = one.histogram()
    for c in range(3):
        edges = found.edges(c)
        low, high = float(x[:, c].min()), float(x[:, c].max())
        assert float(edges[0]) <= low and high < float(edges[-1])
        assert float(found.width[c]) <= 2 * (high - low) / 6  # a finer power of two would not have reached


def test_a_constant_channel_has_one_bin() -> None:
    counts = Counts(2, 4)
    v = torch.tensor([0.0, -3.7])[None, :, None].expand(5, 2, 6)
    counts.add(v, v.amin((0, 2)), v.amax((0, 2)))
    assert [sorted(row.tolist()) for row in counts.counts] == [[0, 0, 0, 30]] * 2
    found = counts.histogram()
    for c, value in enumerate((0.0, -3.7)):
        bin_ = int(found.counts[c].argmax())
        assert float(found.edges(c)[bin_]) <= torch.tensor(value).item() < float(found.edges(c)[bin_ + 1])


# Planted truth


def test_planted_templates_are_found_where_they_are() -> None:
    """Channel c is the matched filter of template c: it finds the samples that hold it, at its place, cut out whole."""
    templates = F.normalize(random(3, 1, 5, 5, seed=7).flatten(1), dim=1).view(3, 1, 5, 5)
    net = nn.Sequential(nn.Conv2d(1, 3, 5, bias=False), nn.ReLU())
    with torch.no_grad():
        net[0].weight.copy_(templates)
    x = 0.05 * random(40, 1, 20, 24, seed=8)
    planted = {(4, 0): (3, 7), (17, 0): (0, 0), (9, 1): (15, 19), (30, 1): (8, 2), (9, 2): (2, 2), (39, 2): (10, 11)}
    for strength, ((sample, c), (top, left)) in enumerate(planted.items(), 3):
        x[sample, :, top : top + 5, left : left + 5] = strength * templates[c]
    found = patches(net, x, "1", count=2)
    for c in range(3):
        wanted = [(s, at) for (s, channel), at in planted.items() if channel == c][::-1]  # the later, the stronger
        assert [(p.sample, p.position) for p in found.top[c]] == wanted
        for p, (sample, (top, left)) in zip(found.top[c], wanted, strict=True):
            assert p.field == p.part == ((top, top + 5), (left, left + 5)) and p.mark is None
            assert torch.equal(p.crop, x[sample, :, top : top + 5, left : left + 5])
            assert F.cosine_similarity(p.crop.flatten(), templates[c].flatten(), dim=0) > 0.999


@pytest.mark.parametrize("name", DEEP)
def test_nothing_outside_of_a_crop_matters(name: str) -> None:
    model = randomized(DEEP[name](), 5, 0.8)
    x = random(6, 2, 64) if name == "series" else random(6, 2, 24, 20)
    site = str(len(model) - 1)
    found = patches(model, x, site, count=6)
    for ranks in found.top:
        for p in ranks[:3]:
            inside = (slice(None), *(slice(start, stop) for start, stop in p.field))
            other = 10 * random(*x.shape[1:], seed=1)
            other[inside] = x[p.sample][inside]
            with torch.no_grad():
                value = float(model(other[None])[0][(p.channel, *p.position)])
            assert value == pytest.approx(p.value, rel=1e-4, abs=1e-5)
            assert p.part != tuple((0, n) for n in x.shape[2:])


def test_a_field_larger_than_the_picture_gives_the_whole_with_the_place_marked() -> None:
    model = randomized(nn.Sequential(nn.Conv2d(1, 2, 15, padding=7), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 5)), 1)
    found = patches(model, random(5, 1, 14, 14), "3", count=3)
    for p in (p for ranks in found.top for p in ranks):
        y, x = p.position
        assert p.part == ((0, 14), (0, 14)) and p.crop.shape == (1, 14, 14)
        if p.field == p.part:
            (top, bottom), (left, right) = p.mark
            assert (bottom - top, right - left) == (2, 2)  # one step of the map
            assert top <= 2 * y + 4.5 <= bottom and left <= 2 * x + 4.5 <= right  # ... around the field's middle


def test_a_token_is_its_patch_in_the_whole_picture() -> None:
    net, site, x, _ = scene("patches as tokens")
    for p in (p for ranks in patches(net, x, site).top for p in ranks):
        token = p.position[0]
        row, column = divmod(token - 1, 2)
        mark = None if token == 0 else ((4 * row, 4 * row + 4), (4 * column, 4 * column + 4))
        assert p.part == p.field == ((0, 12), (0, 8)) and p.mark == mark


def test_the_whole_sample_marks_the_field() -> None:
    net, site, x, _ = scene("map")
    small, large = patches(net, x, site, count=2), patches(net, x, site, count=2, crop="whole")
    for a, b in zip((p for r in small.top for p in r), (p for r in large.top for p in r), strict=True):
        assert b.part == ((0, 11), (0, 9)) and b.mark == a.field == b.field
        assert torch.equal(b.crop, x[b.sample])
