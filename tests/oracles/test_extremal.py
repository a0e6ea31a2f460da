"""Extremal perturbation on planted truth: a score that reads one known square, and what areas and ranks must obey."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadModel, BadOption
from pellucid.methods import all_methods
from pellucid.probes.smooth_mask import by_rank, patches
from tests.networks import Net, picture, seeded

EXTREMAL = all_methods()["extremal_perturbation"]
ROWS, COLUMNS = slice(8, 16), slice(20, 28)  # one sixteenth of the picture


class Square(nn.Module):
    """Class 0: the mean of a square.  Class 1: the same, saturating.  Class 2: a square in the other corner."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x[:, :, ROWS, COLUMNS].mean((1, 2, 3))
        other = x[:, :, 20:28, 4:12].mean((1, 2, 3))
        return torch.stack((mean, torch.tanh(2 * mean), other), 1)


WHITE = torch.ones(1, 1, 32, 32)


@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("kind", ["preserve", "delete"])
def test_the_mask_lies_on_the_planted_square(kind: str, target: int) -> None:
    found = EXTREMAL(Square(), WHITE, target, areas="0.0625", kind=kind, fill="constant")
    mask = found.values[0, 0]
    inside = float(mask[ROWS, COLUMNS].sum() / mask.sum())
    assert inside > 0.7 > 5 * 0.0625  # round patches do not fill the corners of a square
    assert found.facts["area"][0] == pytest.approx(0.0625, abs=0.02)
    score, whole = found.facts["score"][0][0], found.facts["whole picture"][0]
    assert score > 0.7 * whole if kind == "preserve" else score < 0.5 * whole


def test_more_area_keeps_more_and_each_area_is_kept() -> None:
    found = EXTREMAL(Square(), WHITE, 0, areas="0.02, 0.05, 0.12, 0.3", fill="constant")
    scores = found.facts["score"][0]
    assert scores == sorted(scores) and scores[0] < 0.5 < 0.95 < scores[-1]
    for area, asked in zip(found.facts["area"], found.facts["areas"], strict=True):
        assert area == pytest.approx(asked, abs=0.03)


def test_samples_and_areas_do_not_mix() -> None:
    from pellucid import logit

    both = EXTREMAL(Square(), WHITE.repeat(2, 1, 1, 1), logit((0, 2)), areas="0.05, 0.1", fill="constant", steps=60)
    first, second = both.values[:, 0]
    assert float(first[ROWS, COLUMNS].mean()) > 5 * float(first[20:28, 4:12].mean())
    assert float(second[20:28, 4:12].mean()) > 5 * float(second[ROWS, COLUMNS].mean())
    alone = [EXTREMAL(Square(), WHITE, 0, areas=a, fill="constant", steps=60).values for a in ("0.05", "0.1")]
    torch.testing.assert_close(both.values[:1], sum(alone) / 2, rtol=0, atol=1e-5)


@pytest.mark.parametrize("area", [0.03, 0.2, 0.5, 0.9])
def test_ranks_are_those_of_a_sort_and_sum_to_the_area(area: float) -> None:
    values = torch.randperm(400, generator=seeded(0))[None].double()  # apart by more than ranks are soft
    found = by_rank(values, area)
    order = values.argsort(descending=True)[0]
    torch.testing.assert_close(
        found[0, order[: round(400 * area)]], torch.ones(round(400 * area)).double(), rtol=0, atol=1e-4
    )
    torch.testing.assert_close(
        found[0, order[round(400 * area) :]], torch.zeros(400 - round(400 * area)).double(), rtol=0, atol=1e-4
    )
    close = torch.rand(3, 400, generator=seeded(1), dtype=torch.float64) / 50
    torch.testing.assert_close(
        by_rank(close, area).mean(1), torch.full((3,), area, dtype=torch.float64), rtol=0, atol=1e-9
    )


def test_a_mask_of_one_patch_is_its_kernel_and_overlap_is_the_maximum() -> None:
    like = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    shape = patches(like, (21, 21), 3 / 21)
    one, two = torch.zeros(1, 441, dtype=torch.float64), torch.zeros(1, 441, dtype=torch.float64)
    one[0, 220], two[0, [218, 222]] = 1, 1
    rows = torch.arange(21) - 10
    apart = (rows[:, None] ** 2 + rows**2).double().sqrt() / 3
    kernel = torch.exp(-2 * (apart - 0.5).clamp(min=0) ** 2)
    # a smooth maximum lies below the true one, by little where the patch is high
    found = shape.masks(one)[0, 0]
    assert bool((found <= kernel + 1e-9).all()) and float((kernel - found)[kernel > 0.5].max()) < 0.05
    sides = torch.maximum(kernel.roll(-2, 1), kernel.roll(2, 1))[:, 4:-4]
    both = shape.masks(two)[0, 0][:, 4:-4]
    assert bool((both <= sides + 1e-9).all()) and float((sides - both)[sides > 0.6].max()) < 0.1


@pytest.mark.parametrize("areas", ["", "0", "1", "0.1, much", "0.2; 0.3", "nan"])
def test_areas_that_are_none_are_refused(areas: str) -> None:
    with pytest.raises(BadOption, match=r"^areas="):
        EXTREMAL(Net(), picture(0), 1, areas=areas)


def test_a_score_without_gradient_is_refused() -> None:
    class Steps(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().sum((1, 2, 3))[:, None]

    with pytest.raises(BadModel, match="does not depend differentiably"):
        EXTREMAL(Steps(), picture(0), 0, steps=2, cells=2)
