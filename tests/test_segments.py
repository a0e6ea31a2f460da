"""The players of a game: every place has one, each sample's are its own, and they are what was asked for."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.checks.card import trust_card
from pellucid.core.check import Verdict
from pellucid.core.errors import BadOption, Missing
from pellucid.core.network import Network
from pellucid.core.saved import load, to_bytes
from pellucid.core.score import Score
from pellucid.core.target import logit
from pellucid.methods import all_methods
from pellucid.probes.coalitions import batched, parts
from pellucid.probes.segments import Segments, segments
from tests.networks import Net, picture, seeded

METHODS = all_methods()
ANYTHING = Score(Network(nn.Flatten()), logit(0))


def divided(x: dict[str, Tensor], f: Score = ANYTHING, **options: Any) -> Segments:
    found = segments(f, x, **options)
    for sample, count in enumerate(found.counts):
        seen = torch.cat([v[sample].flatten() for v in found.labels.values()]).unique()
        assert seen.tolist() == list(range(count)), "numbered through, and nobody is without a place"
    return found


@pytest.mark.parametrize("cells", [1, 2, 3, 5, 40])
def test_a_grid_cuts_a_picture_in_blocks_of_nearly_equal_size(cells: int) -> None:
    found = divided({"x": torch.zeros(2, 3, 11, 8)}, cells=cells)
    rows, columns = min(cells, 11), min(cells, 8)
    assert found.resolution == (rows, columns) and found.counts == (rows * columns,) * 2
    label = found.labels["x"][0, 0]
    for i in range(rows * columns):
        y, x = (label == i).nonzero().T
        assert len(y) == (y.max() - y.min() + 1) * (x.max() - x.min() + 1), "a block is a rectangle"
        assert 11 // rows <= y.max() - y.min() + 1 <= -(-11 // rows)
        assert 8 // columns <= x.max() - x.min() + 1 <= -(-8 // columns)


@pytest.mark.parametrize(
    ("shape", "labels", "count"),
    [((2, 60), (2, 60), 60), ((2, 90, 3), (2, 90, 1), 49), ((2, 4, 20, 21), (2, 1, 20, 21), 49),
     ((2, 1, 8, 9, 7), (2, 1, 8, 9, 7), 27), ((2, 5, 3), (2, 5, 1), 5)],
    ids=str,
)  # fmt: skip
def test_tables_by_column_series_in_stretches_volumes_in_cuboids(
    shape: tuple[int, ...], labels: tuple[int, ...], count: int
) -> None:
    found = divided({"x": torch.zeros(shape)})
    assert tuple(found.labels["x"].shape) == labels and found.counts == (count, count)


def test_a_series_for_a_convolution_has_its_time_last() -> None:
    f = Score(Network(nn.Sequential(nn.Conv1d(3, 4, 3), nn.Flatten())), logit(0))
    found = divided({"x": torch.zeros(2, 3, 12)}, f, cells=4)
    assert found.labels["x"][1].tolist() == [[0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]]


def test_a_text_has_a_player_a_token() -> None:
    net, ids = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2)), torch.tensor([[1, 2, 3], [4, 5, 5]])
    found = METHODS["feature_ablation"](net, ids, 1)
    share = (net[0](ids) * net[2].weight[1].view(3, 4)).sum(2, keepdim=True)
    torch.testing.assert_close(found.values, share.detach(), rtol=1e-4, atol=1e-5)
    assert found.facts["players"] == [3, 3]


def test_the_players_of_several_inputs_are_numbered_through() -> None:
    found = divided({"x": torch.zeros(1, 1, 4, 4), "n": torch.zeros(1, 3), "ids": torch.zeros(1, 2).long()}, cells=2)
    assert found.labels["n"].tolist() == [[4, 5, 6]] and set(found.labels) == {"x", "n"}


def test_one_number_a_sample_is_one_player() -> None:
    found = divided({"x": torch.zeros(3, 2), "age": torch.zeros(3)})
    assert found.counts == (3, 3, 3) and found.labels["age"].tolist() == [2, 2, 2]


def test_a_mask_says_it_freely_and_for_each_sample() -> None:
    mask = torch.tensor([[[9, 9], [-3, 4]], [[1, 1], [1, 1]]])
    found = divided({"x": torch.zeros(2, 3, 2, 2)}, mask=mask)
    assert found.labels["x"][:, 0].tolist() == [[[2, 2], [0, 1]], [[0, 0], [0, 0]]] and found.counts == (3, 1)
    assert divided({"x": torch.zeros(2, 3, 2, 2)}, mask=mask[0].short()).counts == (3, 3)


@pytest.mark.parametrize(
    ("mask", "words"),
    [(torch.zeros(2, 2), "whole numbers"), (torch.zeros(3, 2).long(), "fits no input"),
     (torch.zeros(5).long(), "fits 2 inputs"), (torch.zeros(0).long(), "whole numbers")],
)  # fmt: skip
def test_a_mask_that_does_not_fit_is_refused(mask: Tensor, words: str) -> None:
    with pytest.raises(BadOption, match=words):
        segments(ANYTHING, {"x": torch.zeros(2, 3, 2, 2), "n": torch.zeros(2, 5), "m": torch.zeros(2, 5)}, mask=mask)


def flag() -> Tensor:
    """Four fields of one color each, with a little noise."""
    x = torch.zeros(1, 3, 24, 24)
    x[:, 0, :12], x[:, 1, :, :12], x[:, 2, 12:, 12:] = 1, 1, 1
    return x + 0.01 * torch.randn(x.shape, generator=seeded(0))


@pytest.mark.parametrize("by", ["slic", "felzenszwalb"])
def test_superpixels_keep_to_the_edges_of_a_picture(by: str) -> None:
    label = divided({"x": flag()}, by=by, cells=2).labels["x"][0, 0]
    fields = [label[a, b] for a in (slice(0, 12), slice(12, 24)) for b in (slice(0, 12), slice(12, 24))]
    inside = [int(field.flatten().mode().values) for field in fields]
    assert len(set(inside)) == 4
    assert all(float((field == i).float().mean()) > 0.97 for field, i in zip(fields, inside, strict=True))


@pytest.mark.parametrize("by", ["slic", "felzenszwalb"])
def test_superpixels_are_a_samples_own(by: str) -> None:
    x = torch.cat([flag(), flag().roll(7, 3) * torch.rand(1, 3, 1, 1, generator=seeded(1))])
    together = divided({"x": x}, by=by, cells=3).labels["x"]
    for i, v in enumerate(x):
        assert torch.equal(divided({"x": v[None]}, by=by, cells=3).labels["x"][0], together[i])


def test_superpixels_need_a_picture_and_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadOption, match="divides pictures"):
        segments(ANYTHING, {"x": torch.zeros(1, 4)}, by="slic")
    absent = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("skimage"):
            raise ImportError(name)
        return absent(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Missing, match="pip install scikit-image"):
        segments(ANYTHING, {"x": torch.zeros(1, 3, 8, 8)}, by="slic")


def test_who_is_absent_is_the_baseline_and_who_is_present_is_untouched() -> None:
    x = {"x": torch.randn(2, 3, 4, 4, generator=seeded(2)), "ids": torch.tensor([[1], [2]])}
    game = parts(ANYTHING, x, cells=2, baseline=-0.5)
    there = torch.tensor([[True, False, True, True], [False, False, False, True]])
    found = game.only(there)
    kept = there.gather(1, game.players.labels["x"].flatten(1)).view(2, 1, 4, 4).expand(2, 3, 4, 4)
    assert torch.equal(found["x"][kept], x["x"][kept]) and bool((found["x"][~kept] == -0.5).all())
    assert found["ids"] is x["ids"]


def test_samples_with_fewer_coalitions_repeat_their_last() -> None:
    found = batched([torch.eye(3, dtype=torch.bool), torch.tensor([[True, False]])])
    assert found.shape == (2, 3, 3) and found[1].tolist() == [[True, False, False]] * 3


def test_a_mask_is_saved_with_the_explanation(tmp_path: Any) -> None:
    net, x = Net(), picture(0)
    mask = torch.arange(30).view(6, 5) // 4
    found = METHODS["feature_ablation"](net, x, 1, mask=mask)
    (tmp_path / "why.pellucid").write_bytes(to_bytes(found))
    back = load(tmp_path / "why.pellucid", METHODS)
    assert torch.equal(back.options["mask"], mask) and back.options["cells"] is None
    assert torch.equal(back.rerun(Network(net)).values, found.values)
    assert back.facts["player values"] == found.facts["player values"]


@pytest.mark.parametrize("cells", [1, 2, 3, 6])
def test_felzenszwalb_makes_at_most_twice_as_many_as_asked(cells: int) -> None:
    x = torch.randn(3, 3, 13, 17, generator=seeded(cells))
    assert max(divided({"x": x}, by="felzenszwalb", cells=cells).counts) <= 2 * cells**2


@pytest.mark.parametrize("name", ["feature_ablation", "kernel_shap", "lime"])
def test_a_game_over_superpixels_has_a_trust_card_and_a_report(name: str, tmp_path: Any) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
    found = METHODS[name](net, flag(), 1, by="slic", cells=3)
    checks = {c.name: c for c in trust_card(found, probes=16)}
    assert set(checks) == {"faithfulness", "stability", "randomization", "completeness"}
    complete = Verdict.HOLDS if name == "kernel_shap" else Verdict.UNKNOWN
    assert checks["completeness"].verdict is complete
    assert all("Not tested" not in c.why for c in checks.values())
    page = found.save(tmp_path / "why.html").read_text(encoding="utf-8")
    assert "player values" not in page and "by = slic" in page


def test_a_map_of_many_channels_is_divided_without_a_warning() -> None:
    """A site's map has dozens of channels: what is the same in all of them is one segment, what differs is not."""
    v = torch.zeros(1, 12, 24, 24)
    v[:, 3:9, :, 12:] = torch.linspace(1, 2, 6)[:, None, None]
    f = Score(Network(torch.nn.Flatten()), logit(0))
    label = segments(f, {"x": v}, by="felzenszwalb", cells=2).labels["x"][0, 0]
    assert len(label[:, :12].unique()) == len(label[:, 12:].unique()) == 1 and label[0, 0] != label[0, -1]


def test_a_mask_may_tell_channels_apart() -> None:
    f, v = Score(Network(torch.nn.Flatten()), logit(0)), torch.zeros(2, 3, 4, 4)
    found = segments(f, {"x": v}, mask=torch.tensor([5, 2, 5])[:, None, None])
    assert found.counts == (2, 2) and tuple(found.labels["x"].shape) == (2, 3, 4, 4)
    assert found.labels["x"][1, :, 2, 3].tolist() == [1, 0, 1]
