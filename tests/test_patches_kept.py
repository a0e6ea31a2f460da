"""Patches: what is kept, what is left alone, what is refused, and what a report says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.dream.excited.tallies import Tally
from pellucid.dream.patches import patches
from tests.networks import randomized, seeded

# Around the pass
from tests.scenes import DEEP, SIZES, best, places, random, scene
from tests.traces import of_model, of_process


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
