"""The strongest patches of a data set: against brute force, planted templates, and what a crop claims."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.dream.excited.tallies import Counts, Tally
from pellucid.dream.patches import Patches, patches
from tests.networks import randomized, seeded
from tests.traces import of_model, of_process


class Attention(nn.Module):
    """Patches of a picture as tokens behind a class token, one layer of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.mix = nn.Conv2d(1, 8, 4, 4), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.first, self.head = nn.Parameter(torch.zeros(1, 1, 8)), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        return self.head(self.mix(torch.cat((self.first.expand(len(x), -1, -1), tokens), 1))[:, 0])


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.below, self.above = nn.Conv2d(2, 5, 3, 2), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.above(self.below(x).permute(0, 2, 3, 1)))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.below, self.mix = nn.Linear(5, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(self.below(x))


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


# name -> (network, site, data, the axis of the channels)
KINDS: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, ...], int]] = {
    "map": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU6(), nn.Conv2d(4, 6, 3, 2)), "2",
            (23, 2, 11, 9), 1),
    "rectified map": (lambda: nn.Sequential(nn.Conv2d(2, 6, 5), nn.ReLU()), "1", (23, 2, 9, 8), 1),
    "series": (lambda: nn.Sequential(nn.Conv1d(3, 6, 5, 2), nn.ReLU(), nn.Conv1d(6, 4, 3)), "2", (23, 3, 40), 1),
    "volume": (lambda: nn.Sequential(nn.Conv3d(1, 3, 3), nn.ReLU()), "1", (9, 1, 6, 7, 5), 1),
    "units": (lambda: nn.Sequential(nn.Linear(7, 9), nn.ReLU(), nn.Linear(9, 5)), "2", (23, 7), 1),
    "tokens": (Tokens, "mix", (23, 6, 5), 2),
    "patches as tokens": (Attention, "mix", (23, 1, 12, 8), 2),
    "channels last": (ChannelsLast, "above", (23, 2, 9, 9), 3),
}  # fmt: skip


def scene(kind: str) -> tuple[Network, str, Tensor, Tensor]:
    """A network, a site, data, and all activations there as `[samples, channels, places]`."""
    make, site, shape, axis = KINDS[kind]
    net, x = Network(randomized(make(), 3)), random(*shape)
    seen: list[Tensor] = []
    hook = net.model.get_submodule(site).register_forward_hook(lambda _m, _i, out: seen.append(out.detach()))
    with torch.no_grad():
        net.model(x)
    hook.remove()
    a = seen[0].movedim(axis, 1)
    return net, site, x, a.reshape(*a.shape[:2], -1)


def best(a: Tensor, count: int, per_sample: int, largest: bool) -> list[list[tuple[int, int]]]:
    """The definition: rank every place of every sample, and take the first that no sample has too many of."""
    found = []
    for channel in range(a.shape[1]):
        sign = -1 if largest else 1
        ranked = sorted(
            (sign * float(a[s, channel, p]), s, p) for s in range(len(a)) for p in range(a.shape[2])
        )  # of equal ones the earliest
        own: list[tuple[int, int]] = []
        for _, s, p in ranked:
            if sum(s == t for t, _ in own) < per_sample and len(own) < count:
                own.append((s, p))
        found.append(own)
    return found


def places(found: Patches, side: str, sizes: tuple[int, ...]) -> list[list[tuple[int, int]]]:
    def flat(position: tuple[int, ...]) -> int:
        number = 0
        for at, n in zip(position, sizes, strict=True):
            number = number * n + at
        return number

    return [[(p.sample, flat(p.position)) for p in ranks] for ranks in getattr(found, side)]


SIZES = {"map": (5, 4), "rectified map": (5, 4), "series": (16,), "volume": (4, 5, 3), "units": (), "tokens": (6,),
         "patches as tokens": (7,), "channels last": (4, 4)}  # fmt: skip


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


DEEP = {
    "pooled": lambda: nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, dilation=2), nn.ReLU()
    ),
    "strided": lambda: nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU6(), nn.Conv2d(4, 4, 3, 2)),
    "series": lambda: nn.Sequential(nn.Conv1d(2, 4, 5, 2, 2), nn.ReLU(), nn.AvgPool1d(2), nn.Conv1d(4, 4, 3)),
}


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


# Around the pass


def test_what_is_kept_does_not_grow() -> None:
    def kept(blocks: int) -> int:
        tally = Tally(5, count=4, bottom=3, per_sample=2, how="peak", bins=16)
        for i in range(blocks):
            tally.add(random(6, 5, 30, seed=i), torch.arange(6 * i, 6 * i + 6))
        parts = (tally, tally.top, tally.bottom, tally.values, tally.peaks, tally.means, tally.counts)
        return sum(v.numel() for part in parts for v in vars(part).values() if isinstance(v, Tensor))

    assert kept(3) == kept(40)


def test_the_model_and_the_process_are_left_alone() -> None:
    model, x = randomized(DEEP["strided"](), 2), random(12, 2, 24, 20)
    model.train()
    before = of_model(model), of_process()
    found = patches(model, x, "3", count=2, bottom=1)
    pl.dream.patterns(model, x, found)
    assert (of_model(model), of_process()) == before


def test_a_stop_keeps_what_is_known() -> None:
    net, site, x, a = scene("map")
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 9

    told: list[int] = []
    with running(Run(stop=stop, max_batch=2, progress=lambda p: told.append(p.done))):
        found = patches(net, x, site, count=3)
    assert 0 < found.seen < len(x) and found.stopped == f"after {found.seen} of 23 samples"
    assert told[-1] == found.seen
    assert places(found, "top", SIZES["map"]) == best(a[: found.seen], 3, 1, True)
    with running(Run(stop=lambda: True)), pytest.raises(pl.Stopped):
        patches(net, x, site)


class Leaky:
    """Samples of which every third cannot be read."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.names = x, tuple(f"folder/{i}.png" for i in range(len(x)))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Any:
        if i % 3 == 1:
            raise pl.BadInput(f"{i}.png is cut off.")
        return self.x[i], "label"


def test_samples_that_cannot_be_read_are_listed() -> None:
    net, site, x, a = scene("map")
    found = patches(net, Leaky(x), site, count=3)
    good = [i for i in range(23) if i % 3 != 1]
    assert found.seen == len(good) and len(found.skipped) == 23 - len(good) and not found.stopped
    assert found.skipped[0] == "folder/1.png: 1.png is cut off."
    for own, wanted in zip(found.top, best(a[good], 3, 1, True), strict=True):
        assert [p.sample for p in own] == [good[s] for s, _ in wanted]
        assert all(p.name == f"folder/{p.sample}.png" for p in own)


def test_pictures_of_several_sizes_may_come_in_any_order() -> None:
    model = randomized(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU()), 1)
    data = [random(2, 8 + i % 3, 9, seed=i) for i in range(10)]
    found = patches(model, data, "1", count=4)
    with torch.no_grad():
        peaks = torch.stack([model(v[None])[0].flatten(1).amax(1) for v in data])
    for c, ranks in enumerate(found.top):
        assert [p.sample for p in ranks] == peaks[:, c].argsort(descending=True)[:4].tolist()
        assert all(torch.equal(p.crop, data[p.sample][:, slice(*p.field[0]), slice(*p.field[1])]) for p in ranks)


def test_colors_are_those_of_the_picture() -> None:
    colors = torch.randint(0, 256, (5, 3, 9, 9), generator=seeded(0), dtype=torch.uint8)
    preparation = pl.Preparation(9, mean=(0.2, 0.4, 0.6), std=(0.5, 0.25, 0.1), bgr=True)
    net = Network(randomized(nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), 1), preparation=preparation)
    found = patches(net, preparation.normalize(colors / 255), "1", count=3)
    assert found.colors
    for p in (p for ranks in found.top for p in ranks):
        assert torch.equal(p.crop, colors[p.sample, :, slice(*p.field[0]), slice(*p.field[1])])


def test_a_dead_channel_is_named() -> None:
    net, site, x, _ = scene("rectified map")
    with torch.no_grad():
        net.model[0].bias[4] = -1e4
    found = patches(net, x, site)
    assert found.dead == (4,) and float(found.zeros[4]) == 1


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"at": "7"}, pl.BadInput, "There is no module at '7'"),
        ({"channels": [2, 6]}, pl.BadOption, "Channel 6 was asked for; 2 has channels 0 to 5"),
        ({"channels": []}, pl.BadOption, "at least one"),
        ({"channels": [1, 1]}, pl.BadOption, "none twice"),
        ({"data": []}, pl.BadInput, "There are no samples"),
        ({"data": iter([])}, pl.BadInput, "no length"),
        ({"count": 0}, pl.BadOption, "count=0"),
        ({"how": "median"}, pl.BadOption, "peak, mean"),
        ({"axis": 4}, pl.BadOption, "from 1 to 3"),
    ],
)
def test_what_does_not_fit_is_said(change: dict[str, Any], kind: type[Exception], said: str) -> None:
    net, site, x, _ = scene("map")
    given = {"data": x, "at": site, **change}
    with pytest.raises(kind, match=said):
        patches(net, given.pop("data"), given.pop("at"), **given)


def test_numbers_that_are_none_are_said() -> None:
    class Bad(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x > 2.5, torch.nan, x)

    x = torch.zeros(9, 2, 4)
    x[5, 1, 2] = 3
    with pytest.raises(pl.BadModel, match="sample 5"):
        patches(nn.Sequential(Bad()), x, "0")


def test_a_field_of_more_than_half_of_the_picture_has_its_place_marked() -> None:
    model = randomized(nn.Sequential(nn.Conv2d(1, 2, 9, 2), nn.ReLU()), 1)
    for p in (p for ranks in patches(model, random(5, 1, 15, 15), "1", count=3).top for p in ranks):
        y, x = p.position
        assert p.field == p.part == ((2 * y, 2 * y + 9), (2 * x, 2 * x + 9))
        (top, bottom), (left, right) = p.mark
        assert (bottom - top, right - left) == (2, 2)  # a step of two around the middle, at 2 y + 4
        assert top <= 2 * y + 4 < bottom and left <= 2 * x + 4 < right
