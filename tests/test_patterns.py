"""Patterns, first-layer filters, evolution: against single passes, differences and separate runs; and reports."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.score import Score
from pellucid.core.target import neuron
from pellucid.dream.patches import Patches, patches
from pellucid.dream.patterns import patterns
from pellucid.render.html import page
from pellucid.rules.deconvolution import DECONVOLUTION
from pellucid.rules.guided import GUIDED
from pellucid.surfaces.facts import facts
from pellucid.surfaces.show import view_of
from pellucid.views.tiles import Tile, Tiles
from tests.command_line import pellucid as pellucid
from tests.networks import randomized, seeded
from tests.traces import of_model


def model(seed: int = 2) -> nn.Module:
    layers = (nn.Conv2d(3, 6, 3, padding=1), nn.ReLU6(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.SiLU())
    return randomized(nn.Sequential(*layers), seed)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed))


def inside(p: Any) -> tuple[slice, ...]:
    return (slice(None), *(slice(start, stop) for start, stop in p.part))


# Patterns


@pytest.mark.parametrize("size", [1, 5, None])
def test_each_pattern_is_a_pass_of_its_own(size: int | None) -> None:
    net, x = Network(model()), random(9, 3, 14, 12)
    with running(Run(max_batch=size)):
        found = patterns(net, x, patches(net, x, "4", count=3, bottom=1))
    assert found.without_rule == ()
    for p in (p for ranks in (*found.top, *found.bottom) for p in ranks):
        for rule, ours in ((DECONVOLUTION, p.pattern), (GUIDED, p.guided)):
            f = Score(net, neuron("4", p.channel, *p.position)).under(rule)
            whole = f.grad({"input": x[p.sample : p.sample + 1]})["input"][0]
            assert torch.allclose(ours, whole[inside(p)], rtol=1e-4, atol=1e-6)
            outside = whole.clone()
            outside[inside(p)] = 0
            assert not outside.any()


@pytest.mark.parametrize(
    ("net", "site", "x"),
    [
        (nn.Sequential(nn.Conv1d(2, 4, 5), nn.ReLU(), nn.Conv1d(4, 3, 3)), "2", (7, 2, 30)),
        (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), "2", (7, 6)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), "", (7, 5, 8)),
    ],
    ids=["series", "units", "tokens"],
)
def test_any_input_that_is_made_of_numbers_has_patterns(net: nn.Module, site: str, x: tuple[int, ...]) -> None:
    data, of = random(*x), Network(randomized(net, 1))
    for p in (p for ranks in patterns(of, data, patches(of, data, site, count=2)).top for p in ranks):
        index = (*p.position, p.channel) if site == "" else (p.channel, *p.position)
        f = Score(of, neuron(site, *index)).under(DECONVOLUTION)
        whole = f.grad({of.inputs[0]: data[p.sample : p.sample + 1]})[of.inputs[0]][0]
        assert p.pattern.shape == p.crop.shape
        cut = whole[inside(p)] if site == "2" and data.ndim == 3 else whole
        assert torch.allclose(p.pattern, cut, rtol=1e-4, atol=1e-6)


def test_patterns_are_in_the_colors_of_the_picture() -> None:
    preparation = pl.Preparation(14, mean=(0.2, 0.4, 0.6), std=(0.5, 0.25, 0.1), bgr=True)
    plain, prepared = Network(model()), Network(model(), preparation=preparation)
    x = preparation.normalize(torch.rand(4, 3, 14, 14, generator=seeded(0)))
    a, b = (patterns(n, x, patches(n, x, "4", count=1)).top[0][0] for n in (plain, prepared))
    std = torch.tensor(preparation.std).view(3, 1, 1)
    assert torch.allclose(b.pattern, a.pattern.flip(0) * std)


def test_patterns_of_other_data_or_networks_are_refused() -> None:
    x = random(4, 3, 14, 14)
    found = patches(model(), x, "4", count=1)
    with pytest.raises(pl.BadInput, match="4 samples"):
        patterns(model(), x[:3], found)
    with pytest.raises(pl.BadInput, match="network"):
        patterns(model(seed=3), x, found)


def test_a_stop_keeps_the_patterns_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["pellucid.dream.patterns"], "BLOCK", 4)
    net, x, asked = model(), random(9, 3, 14, 12), 0
    found = patches(net, x, "4", count=3)

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    with running(Run(stop=stop, max_batch=2)):
        some = patterns(net, x, found)
    whole = patterns(net, x, found)
    pairs = [(a, b) for r, q in zip(some.top, whole.top, strict=True) for a, b in zip(r, q, strict=True)]
    known = [(a, b) for a, b in pairs if a.pattern is not None]
    assert 0 < len(known) < len(pairs)
    assert all(torch.allclose(a.pattern, b.pattern, rtol=1e-4, atol=1e-6) for a, b in known)
    assert some.stopped == f"patterns of {len(known)} of 15 patches" and not whole.stopped
    assert "was stopped" in page(view_of(some), "")
    with running(Run(stop=lambda: True)), pytest.raises(pl.Stopped):
        patterns(net, x, found)


# Filters


@pytest.mark.parametrize("bgr", [False, True])
def test_a_filter_is_what_a_change_of_the_picture_does(bgr: bool) -> None:
    preparation = pl.Preparation(9, mean=(0.2, 0.4, 0.6), std=(0.5, 0.25, 0.1), bgr=bgr)
    first = nn.Conv2d(3, 4, 5).double()
    found = pl.dream.filters(Network(nn.Sequential(first, nn.ReLU()), preparation=preparation))
    assert found.site == "0" and found.colors
    picture, change = (torch.rand(1, 3, 5, 5, generator=seeded(i), dtype=torch.float64) for i in (0, 1))
    with torch.no_grad():
        apart = first(preparation.normalize(picture + change)) - first(preparation.normalize(picture))
    ours = (found.weights.double() * change).flatten(1).sum(1)
    assert torch.allclose(ours, apart.flatten(), rtol=1e-5)
    assert torch.allclose(found.norms.double(), found.weights.double().flatten(1).square().sum(1).sqrt())


def test_dead_and_double_filters_are_named() -> None:
    first = nn.Conv2d(2, 6, 3)
    with torch.no_grad():
        first.weight.copy_(random(6, 2, 3, 3))
        first.weight[4] = -2.5 * first.weight[1]
        first.weight[5] *= 1e-6
    found = pl.dream.filters(nn.Sequential(nn.Identity(), first))
    assert (found.site, found.colors, found.dead) == ("1", False, (5,))
    assert [(i, j) for i, j, _ in found.duplicates] == [(1, 4)]
    assert found.duplicates[0][2] == pytest.approx(-1)


def test_filters_that_there_are_not_are_said() -> None:
    with pytest.raises(pl.BadModel, match="no convolution"):
        pl.dream.filters(nn.Linear(2, 1))
    with pytest.raises(pl.BadInput, match="a ReLU6, expected a convolution"):
        pl.dream.filters(model(), "1")


@pytest.mark.parametrize(
    ("layer", "below"),
    [(nn.Conv1d(3, 2, 7), 0), (nn.Conv2d(1, 2, 3), 0), (nn.Conv2d(5, 2, 3), 3), (nn.Conv3d(1, 2, 3), 0)],
)
def test_filters_of_any_kind_are_drawn(layer: nn.Module, below: int) -> None:
    found = pl.dream.filters(nn.Sequential(layer))
    (tiles,) = (v for v in view_of(found).views if isinstance(v, Tiles))
    assert [len(t.below) for t in tiles.tiles] == [below] * 2
    strongest = found.weights[int(tiles.tiles[0].title)]
    first = tiles.tiles[0].pixels[..., 0].astype(float)
    w = strongest if isinstance(layer, nn.Conv1d) else strongest[0] if strongest.ndim == 3 else strongest[0, 1]
    assert np.abs((first - 127.5) / 127.5 - (w / strongest.abs().max()).numpy()).max() < 0.01


# Evolution


def test_an_evolution_is_the_patches_of_each_checkpoint() -> None:
    networks = [model(seed) for seed in (1, 2, 3)]
    base, x = copy.deepcopy(networks[0]), random(8, 3, 14, 12)
    before = of_model(base)
    found = pl.dream.evolution(base, {f"epoch {i}": m.state_dict() for i, m in enumerate(networks)}, x, "4", [3, 0])
    assert of_model(base) == before
    assert found.labels == ("epoch 0", "epoch 1", "epoch 2") and found.channels == (3, 0)
    for m, column in zip(networks, found.columns, strict=True):
        alone = patterns(m, x, patches(m, x, "4", [3, 0], count=1))
        for (ours,), (theirs,) in zip(column.top, alone.top, strict=True):
            assert (ours.sample, ours.position) == (theirs.sample, theirs.position)
            assert torch.equal(ours.pattern, theirs.pattern)
    whole = pl.dream.evolution(base, networks, x, "4", [3, 0])
    assert [c.top[0][0].value for c in whole.columns] == [c.top[0][0].value for c in found.columns]


@pytest.mark.parametrize(
    ("checkpoints", "kind", "said"),
    [
        ([nn.Conv2d(1, 1, 1).state_dict()], pl.BadModel, "'checkpoint 1' do not fit"),
        ([], pl.BadInput, "no checkpoints"),
        (["weights.pt"], pl.BadInput, "is a str"),
    ],
)
def test_checkpoints_that_do_not_fit_are_said(checkpoints: list[Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        pl.dream.evolution(model(), checkpoints, random(2, 3, 14, 12), "4", [0])


# Files, reports, the command


def everything() -> tuple[Any, ...]:
    x = random(6, 3, 14, 12)
    found = patterns(model(), x, patches(model(), x, "4", count=2, bottom=1))
    return found, pl.dream.filters(model()), pl.dream.evolution(model(), [model(1), model(2)], x, "4", [1])


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, k), getattr(b, k)) for k in a.__dataclass_fields__)
    return bool(a == b)


@pytest.mark.parametrize("i", [0, 1, 2])
def test_a_result_opens_as_it_was_saved(i: int, tmp_path: Path) -> None:
    found = everything()[i]
    again = pl.load(found.save(tmp_path / "found.pellucid"))
    assert same(again, found)
    assert page(view_of(again), "") == page(view_of(found), "")
    damaged = (tmp_path / "found.pellucid").read_bytes()
    (tmp_path / "bad.pellucid").write_bytes(damaged.replace(b"network", b"netwerk"))
    with pytest.raises(pl.BadInput, match="damaged"):
        pl.load(tmp_path / "bad.pellucid")


@pytest.mark.parametrize("i", [0, 1, 2])
def test_facts_are_plain_and_reports_are_written(i: int, tmp_path: Path) -> None:
    found = everything()[i]
    json.dumps(facts(found), allow_nan=False)
    for ending in (".html", ".png", ".svg", ".json"):
        assert found.save(tmp_path / f"found{ending}").stat().st_size > 500


def tiles(view: Any) -> list[Tile]:
    return [t for v in view.views if isinstance(v, Tiles) for t in v.tiles]


def test_a_report_shows_patches_with_their_patterns_and_their_place() -> None:
    found = everything()[0]
    shown = tiles(view_of(found))
    assert len(shown) == 5 * 3 and all(len(t.below) == 2 for t in shown)
    p, tile = found.top[0][0], shown[0]
    assert tile.pixels.shape == (*(stop - start for start, stop in p.part), 3)
    strongest = p.pattern.abs().sum(0).flatten().argmax()
    far = np.abs(tile.below[0].astype(float) - 127.5).sum(2).flatten()
    assert far[int(strongest)] > 0.9 * far.max()
    whole = patches(model(), random(6, 3, 14, 12), "1", count=2, crop="whole")
    p, tile = whole.top[0][0], tiles(view_of(whole))[0]
    (top, bottom), (left, right) = p.field
    assert tile.frame == (left, top, right, bottom) and not tile.below


@pytest.mark.parametrize(
    ("net", "x", "drawn"),
    [
        (nn.Sequential(nn.Conv1d(2, 4, 5), nn.ReLU()), (7, 2, 30), True),
        (nn.Sequential(nn.Conv3d(1, 3, 3), nn.ReLU()), (5, 1, 6, 7, 5), True),
        (nn.Sequential(nn.Linear(6, 8), nn.ReLU()), (7, 6), False),
        (nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3)), (7, 5), False),
    ],
    ids=["series", "volume", "units", "words"],
)
def test_what_is_no_picture_is_reported_too(net: nn.Module, x: tuple[int, ...], drawn: bool) -> None:
    words = isinstance(net[0], nn.Embedding)
    data = torch.randint(0, 9, x, generator=seeded(0)) if words else random(*x)
    found = patches(randomized(net, 1), data, "1", count=2)
    assert bool(tiles(view_of(found))) == drawn
    assert "sample" in page(view_of(found), "")


def test_a_report_says_what_is_dead_and_what_is_missing() -> None:
    net, x = model(), random(6, 3, 14, 12)
    with torch.no_grad():
        net[0].bias[2] = -1e4
    text = page(view_of(patches(net, x, "1", [1, 2])), "")
    assert "1 of 2 channels was zero at every place" in text and "(2)" in text
    many = patches(nn.Conv2d(3, 60, 3), x, "", count=1)
    assert "12 channels more in the result" in page(view_of(many), "")


def test_a_report_says_where_the_largest_activation_is_a_cap() -> None:
    net, x = model(), random(6, 3, 14, 12)
    with torch.no_grad():
        net[0].weight *= 0.1
        net[0].bias.zero_()
    assert "capped" not in page(view_of(patches(net, x, "1", [0, 1])), "")
    with torch.no_grad():
        net[0].weight[1] *= 100
    assert "In 1 of 2 channels several patches share" in page(view_of(patches(net, x, "1", [0, 1])), "")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    place = tmp_path / "pictures"
    place.mkdir()
    for i in range(4):
        Image.effect_noise((30, 28), 30 + 30 * i).convert("RGB").save(place / f"noise{i}.png")
    (place / "broken.png").write_bytes((place / "noise0.png").read_bytes()[:90])
    return str(place)


def test_the_command_writes_a_contact_sheet(pellucid, folder: str, tmp_path: Path) -> None:
    done = pellucid("patches", folder, "--model", "tiny", "--at", "1", "--channels", "0-2,5", "--count", "2", "--json")
    assert done.code == 0, done.err
    assert [c["channel"] for c in done.json["channels"]] == [0, 1, 2, 5]
    assert done.json["seen"] == 4 and "broken.png" in done.json["skipped"][0]
    assert all(p["name"].startswith("noise") for c in done.json["channels"] for p in c["top"])
    assert (tmp_path / "patches.html").read_text().count("<li>") == 4 * 2
    done = pellucid("patches", folder, "--model", "tiny", "--at", "1", "--channels", "0", "--plain", "-o", "p.pellucid")
    assert done.code == 0 and "Channel 0" in done.out
    assert isinstance(pl.load(tmp_path / "p.pellucid"), Patches)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("--at", "9"), "There is no module at '9'"),
        (("--at", "1", "--channels", "0-15"), "Channel 6 was asked for; 1 has channels 0 to 5"),
        (("--at", "1", "--channels", "x"), "is no number"),
        (("--at", "1", "-o", "sheet.gif"), ".html"),
        ((), "Which site was not said"),
    ],
)
def test_the_command_says_what_does_not_fit(pellucid, folder: str, change: tuple[str, ...], said: str) -> None:
    done = pellucid("patches", folder, "--model", "tiny", *change)
    assert done.code in (1, 2) and said in done.err and not done.out


def test_an_empty_folder_is_said(pellucid, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place, said in (("empty", "holds no picture"), ("nowhere", "There is no folder 'nowhere'")):
        done = pellucid("patches", place, "--model", "tiny", "--at", "1")
        assert done.code in (1, 3) and said in done.err
