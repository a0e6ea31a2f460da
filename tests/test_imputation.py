"""Noisy linear imputation against its own equations, written down one by one and solved densely."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadInput, BadOption
from pellucid.core.run import Run, running
from pellucid.probes.fills import covering, painted
from pellucid.probes.imputation import linear, noisy_linear
from pellucid.probes.masks import highest, landscapes

SIDES = {(0, 1): 1 / 6, (1, 0): 1 / 6, (0, -1): 1 / 6, (-1, 0): 1 / 6}
CORNERS = {(1, 1): 1 / 12, (1, -1): 1 / 12, (-1, 1): 1 / 12, (-1, -1): 1 / 12}


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def solved(x: Tensor, hole: Tensor) -> Tensor:
    """The paper's equations of one picture `[channels, height, width]`, a row of a dense matrix for each pixel."""
    height, width = hole.shape
    a, b = torch.eye(height * width, dtype=torch.double), x.flatten(1).double().T.clone()
    for row in range(height):
        for column in range(width):
            if not hole[row, column]:
                continue
            here = row * width + column
            valid = {
                (row + dy) * width + column + dx: weight
                for (dy, dx), weight in (SIDES | CORNERS).items()
                if 0 <= row + dy < height and 0 <= column + dx < width
            }
            b[here] = 0
            for there, weight in valid.items():
                a[here, there] = -weight / sum(valid.values())
    return torch.linalg.solve(a, b).T.reshape(x.shape)


def holes(height: int, width: int) -> Tensor:
    """Scattered and connected, small and large, at the border; all but one pixel; none."""
    g = seeded(1)
    scattered = [torch.rand(height, width, generator=g) < share for share in (0.1, 0.5, 0.9)]
    connected = [highest(landscapes(1, (height, width), g), share)[0] for share in (0.1, 0.5, 0.9)]
    for mask in scattered:
        mask[0, -1] = False
    but_one = torch.ones(height, width, dtype=torch.bool)
    but_one[height // 3, width // 2] = False
    return torch.stack([*scattered, *connected, but_one, torch.zeros_like(but_one)])


@pytest.mark.parametrize("size", [(17, 12), (8, 8), (1, 23), (2, 3)])
def test_the_dense_solution_of_the_papers_equations(size: tuple[int, int]) -> None:
    masks = holes(*size)
    x = torch.randn(len(masks), 3, *size, generator=seeded(2), dtype=torch.double)
    found = linear(x, masks, tolerance=1e-10)
    wanted = torch.stack([solved(v, hole) for v, hole in zip(x, masks, strict=True)])
    torch.testing.assert_close(found, wanted, atol=1e-7, rtol=0)
    torch.testing.assert_close(linear(x.float(), masks).double(), wanted, atol=2e-4, rtol=0)


def test_a_plane_goes_on_inside_of_a_hole() -> None:
    rows, columns = torch.arange(40.0)[:, None], torch.arange(33.0)
    plane = (0.3 * rows - 0.7 * columns + 2.0).expand(2, 1, 40, 33)
    hole = torch.zeros(2, 40, 33, dtype=torch.bool)
    hole[0, 4:36, 3:30] = True
    hole[1, 1:39, 1:32] = torch.rand(38, 31, generator=seeded(3)) < 0.95
    torch.testing.assert_close(linear(plane, hole), plane, atol=5e-3, rtol=0)


def test_large_pictures_satisfy_their_equations() -> None:
    masks = holes(150, 131)[:6]
    x = landscapes(3, (150, 131), seeded(4))[None].expand(6, 3, 150, 131)
    found = linear(x, masks)
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 0.0, 2.0], [1.0, 2.0, 1.0]]) / 12
    flat, ones = found.flatten(0, 1)[:, None], torch.ones(1, 1, 150, 131)
    around, weight = (nn.functional.conv2d(v, kernel[None, None], padding=1) for v in (flat, ones))
    rest = (around - weight * flat).view_as(x) * masks[:, None]
    assert float(rest.abs().max()) < 2e-5 * float(x.abs().max())
    assert torch.equal(found[~masks[:, None].expand_as(x)], x[~masks[:, None].expand_as(x)])


def test_a_sample_is_imputed_as_it_is_alone() -> None:
    masks = holes(16, 16)
    x = torch.randn(len(masks), 2, 16, 16, generator=seeded(5))
    together = noisy_linear(x, masks)
    for i in range(len(masks)):
        torch.testing.assert_close(together[i : i + 1], noisy_linear(x[i : i + 1], masks[i : i + 1]))


def test_the_noise_is_of_the_papers_size_and_only_where_something_was_removed() -> None:
    x = torch.zeros(1, 3, 64, 64)
    hole = torch.zeros(1, 64, 64, dtype=torch.bool)
    hole[:, :50] = True
    found = noisy_linear(x, hole)
    inside = found[:, :, :50]
    assert float(found[:, :, 50:].abs().max()) == 0
    assert abs(float(inside.std()) - 0.01) < 4 * 0.01 / (2 * inside.numel()) ** 0.5
    assert abs(float(inside.mean())) < 4 * 0.01 / inside.numel() ** 0.5
    assert torch.equal(found, noisy_linear(x, hole))
    with running(Run(seed=1)):
        assert not torch.equal(found, noisy_linear(x, hole))
    assert float(noisy_linear(x, hole, noise=0.0).abs().max()) == 0


def test_what_cannot_be_imputed_is_said() -> None:
    x = torch.zeros(1, 1, 4, 4)
    with pytest.raises(BadInput, match="nothing is left"):
        noisy_linear(x, torch.ones(1, 4, 4, dtype=torch.bool))
    with pytest.raises(BadOption, match="noise=-1"):
        noisy_linear(x, torch.zeros(1, 4, 4, dtype=torch.bool), noise=-1.0)
    with pytest.raises(BadOption, match="noisy_linear"):
        covering(torch.zeros(1, 1, 4, 4, 4), (2, 3, 4), "noisy_linear", 0.0)


def test_a_series_is_filled_in_along_straight_lines() -> None:
    x = torch.tensor([[[0.0, 9.0, 9.0, 9.0, 4.0, 9.0]]])
    hidden = torch.tensor([[False, True, True, True, False, True]])
    found = painted(x, (2,), hidden, "noisy_linear")
    torch.testing.assert_close(found, torch.tensor([[[0.0, 1.0, 2.0, 3.0, 4.0, 4.0]]]), atol=0.06, rtol=0)


@pytest.mark.parametrize("method", ["occlusion", "feature_ablation"])
def test_methods_that_cover_can_cover_with_it(method: str) -> None:
    """A linear network's drop is what its weights see of the difference between the picture and the imputation."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2 * 8 * 8, 1))
    x = torch.randn(1, 2, 8, 8, generator=seeded(6))
    options = {"window": 4, "stride": 4} if method == "occlusion" else {"cells": 2}
    found = getattr(pl.methods, method)(net, x, 0, fill="noisy_linear", **options).values
    weight = net[1].weight.detach().view(2, 8, 8)
    slack = 6 * 0.01 * float(weight.square().sum().sqrt())
    blocks = [(slice(i, i + 4), slice(j, j + 4)) for i in (0, 4) for j in (0, 4)]
    for block in blocks:
        hole = torch.zeros(8, 8, dtype=torch.bool)
        hole[block] = True
        drop = float((weight * (x[0] - solved(x[0], hole))).sum())
        assert abs(float(found[0, 0][block].mean()) - drop) < slack
