"""What the network is shown of a drawn picture: shifts, zooms, turns, mirrors, blur, noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pellucid.core.run import Run, running
from pellucid.dream.painting.dreaming import resized
from pellucid.dream.painting.transforms import View, blurred, seen, view_of
from pellucid.dream.recipe import Recipe
from tests.networks import seeded

STILL = Recipe(jitter=0, shrink=1, zoom=1, rotate=0, noise=0)


def picture(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=seeded(3))


def through(matrix: Sequence[Sequence[float]], count: int = 1, blur: float = 0.0) -> View:
    return View(torch.tensor(matrix)[None].expand(count, -1, -1), None, blur)


def drawn(recipe: Recipe, size: Sequence[int], *keys: str, step: int = 0, number: int = 0) -> View:
    return view_of(recipe, keys or ("a",), len(size), step, number, (3, *size))


@pytest.mark.parametrize("size", [(8, 8), (6, 11), (9,), (4, 5, 6)], ids=str)
def test_a_still_view_is_the_picture(size: tuple[int, ...]) -> None:
    x = picture(2, 3, *size)
    for tile in (False, True):
        assert torch.allclose(seen(x, drawn(STILL, size, "a", "b"), size, tile=tile), x, atol=1e-5)


@pytest.mark.parametrize("by", [(1, 2), (-3, 5), (7, 0)])
def test_a_whole_shift_of_a_tile_rolls_it(by: tuple[int, int]) -> None:
    x, (down, right) = picture(1, 3, 8, 10), by
    view = through([[1, 0, 2 * right / 10], [0, 1, 2 * down / 8]])
    assert torch.allclose(seen(x, view, (8, 10), tile=True), x.roll((-down, -right), (2, 3)), atol=1e-5)


def test_a_zoom_of_two_is_the_middle_enlarged() -> None:
    x = picture(1, 3, 16, 24)
    expected = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[:, :, 8:24, 12:36]
    view = through([[0.5, 0, 0], [0, 0.5, 0]])
    assert torch.allclose(seen(x, view, (16, 24), tile=False), expected, atol=1e-5)


def test_a_mirror_is_a_flip() -> None:
    x = picture(1, 3, 7, 10)
    views = [drawn(STILL.but(flip=True), (7, 10), step=s) for s in range(12)]
    mirrored = [torch.allclose(seen(x, v, (7, 10), tile=False), x.flip(3), atol=1e-5) for v in views]
    kept = [torch.allclose(seen(x, v, (7, 10), tile=False), x, atol=1e-5) for v in views]
    assert any(mirrored) and any(kept) and all(a != b for a, b in zip(mirrored, kept, strict=True))


def angle_of(view: View, size: Sequence[int]) -> float:
    """The turn of pixels that a move of halves stands for; it must be a turn and nothing else."""
    units = torch.tensor([size[1] / 2, size[0] / 2])  # halves of width and height, in pixels
    turn = view.move[0, :, :2] * units[:, None] / units
    assert torch.allclose(turn @ turn.T, torch.eye(2), atol=1e-5) and float(turn.det()) == pytest.approx(1, abs=1e-5)
    return math.degrees(math.atan2(float(turn[1, 0]), float(turn[0, 0])))


@pytest.mark.parametrize("size", [(12, 12), (8, 20), (20, 8)], ids=str)
def test_turns_keep_pixels_square_and_stay_within_their_limit(size: tuple[int, int]) -> None:
    angles = [angle_of(drawn(STILL.but(rotate=30), size, step=s), size) for s in range(60)]
    assert max(angles) > 20 and min(angles) < -20 and max(map(abs, angles)) <= 30 + 1e-3


def test_a_quarter_turn_of_a_picture_that_is_not_square() -> None:
    x = torch.zeros(1, 1, 9, 15)
    x[..., 4, 7], x[..., 4, 9], x[..., 1, 7] = 1, 2, 3  # the center; two to its right; three above it
    quarter = through([[0, -9 / 15, 0], [15 / 9, 0, 0]])  # what `_move` makes of 90 degrees
    y = seen(x, quarter, (9, 15), tile=False)[0, 0]
    assert y[4, 7] == pytest.approx(1, abs=1e-5)
    assert y[4 - 2, 7] == pytest.approx(2, abs=1e-5) or y[4 + 2, 7] == pytest.approx(2, abs=1e-5)
    assert y[4, 7 + 3] == pytest.approx(3, abs=1e-5) or y[4, 7 - 3] == pytest.approx(3, abs=1e-5)


@pytest.mark.parametrize("size", [(12, 12), (8, 20)], ids=str)
def test_nothing_black_comes_in_beyond_the_edges(size: tuple[int, int]) -> None:
    """Lucent fills with zeros, which the network then sees, and pads other pictures than squares on the wrong side."""
    x = 0.5 + 0.5 * picture(1, 3, *size)
    for tile in (False, True):
        for step in range(20):
            y = seen(x, drawn(STILL.but(jitter=1, shrink=0.3, rotate=180), size, step=step), size, tile=tile)
            assert float(y.min()) >= 0.5 - 1e-5 and float(y.max()) <= 1 + 1e-5


def test_beyond_its_edge_a_picture_is_mirrored() -> None:
    x = picture(1, 3, 8, 10)
    view = through([[1, 0, -2 * 3 / 10], [0, 1, 0]])  # three columns come in from the left
    expected = torch.cat([x[..., :3].flip(3), x[..., :7]], 3)
    assert torch.allclose(seen(x, view, (8, 10), tile=False), expected, atol=1e-5)


def test_crops_are_drawn_from_the_stated_range_and_evenly_in_its_logarithm() -> None:
    """Horama draws from [high, 2 high - low]."""
    recipe = STILL.but(shrink=0.8, zoom=2.5)
    zooms = torch.tensor([1 / float(drawn(recipe, (8, 8), step=s).move[0, 0, 0]) for s in range(400)])
    assert float(zooms.min()) >= 0.8 - 1e-4 and float(zooms.max()) <= 2.5 + 1e-4
    assert float(zooms.min()) < 0.83 and float(zooms.max()) > 2.4
    assert float(zooms.log().mean()) == pytest.approx(math.log(0.8 * 2.5) / 2, abs=0.06)


def test_shifts_are_shares_of_the_shorter_side() -> None:
    size = (10, 40)
    moves = torch.stack([drawn(STILL.but(jitter=0.25), size, step=s).move[0] for s in range(300)])
    across, down = moves[:, 0, 2] * 40 / 2, moves[:, 1, 2] * 10 / 2  # in pixels
    for shift in (across, down):
        assert 2.3 < float(shift.max()) <= 2.5 + 1e-4 and -2.5 - 1e-4 <= float(shift.min()) < -2.3


def test_every_picture_step_and_look_has_a_draw_of_its_own() -> None:
    recipe = Recipe(noise=0.2)
    both = drawn(recipe, (6, 6), "a", "b")
    assert not torch.equal(both.move[0], both.move[1]) and both.noise is not None
    assert not torch.equal(both.noise[0], both.noise[1])
    alone = drawn(recipe, (6, 6), "b")
    assert torch.equal(alone.move[0], both.move[1])  # whoever is dreamed beside it
    for other in (drawn(recipe, (6, 6), "b", step=1), drawn(recipe, (6, 6), "b", number=1)):
        assert not torch.equal(other.move, alone.move)
    with running(Run(seed=1)):
        assert not torch.equal(drawn(recipe, (6, 6), "b").move, alone.move)
    assert torch.equal(drawn(recipe, (6, 6), "b").move, alone.move)


def test_noise_and_blur_fade_to_none() -> None:
    recipe = Recipe(steps=10, noise=0.4, blur=3.0)
    views = [view_of(recipe, ("a",), 2, s, 0, (3, 64, 64)) for s in range(11)]
    spreads = [float(v.noise.std()) if v.noise is not None else 0.0 for v in views]
    for s, (view, spread) in enumerate(zip(views, spreads, strict=True)):
        assert spread == pytest.approx(0.4 * (1 - s / 10), rel=0.05) and view.blur == pytest.approx(3 * (1 - s / 10))
    x = picture(1, 3, 64, 64)
    assert torch.equal(seen(x, views[0], (64, 64), tile=False), seen(x, views[0], (64, 64), tile=False))


@pytest.mark.parametrize("size", [(21, 25), (31,), (15, 16, 17)], ids=str)
def test_blur_is_gaussian(size: tuple[int, ...]) -> None:
    x = torch.zeros(1, 1, *size)
    middle = tuple(n // 2 for n in size)
    x[(0, 0, *middle)] = 1
    y = blurred(x, 1.5)[0, 0]
    far = [(torch.arange(n) - m).float() for n, m in zip(size, middle, strict=True)]
    squares = torch.stack(torch.meshgrid(*[f.square() for f in far], indexing="ij")).sum(0)
    expected = (-squares / (2 * 1.5**2)).exp()
    expected = expected * (torch.stack(torch.meshgrid(*[f.abs() for f in far], indexing="ij")).amax(0) <= 5)
    assert torch.allclose(y, expected / expected.sum(), atol=1e-5)
    assert torch.allclose(blurred(torch.full((1, 2, *size), 0.3), 4.0), torch.tensor(0.3), atol=1e-6)


@pytest.mark.parametrize("size", [(9,), (5, 6, 7)], ids=str)
def test_signals_and_volumes_shift_as_tiles(size: tuple[int, ...]) -> None:
    x, axes = picture(1, 2, *size), len(size)
    move = torch.cat([torch.eye(axes), torch.zeros(axes, 1)], 1)
    move[0, -1] = 2 * 2 / size[-1]  # two samples along the last axis
    y = seen(x, View(move[None], None, 0.0), size, tile=True)
    assert torch.allclose(y, x.roll(-2, -1), atol=1e-5)
    wild = seen(x, drawn(Recipe(noise=0), size), size, tile=False)
    assert wild.shape == x.shape and float(wild.min()) >= float(x.min()) - 1e-5


def test_tables_are_seen_as_they_are() -> None:
    x = picture(2, 5)
    view = view_of(STILL, ("a", "b"), 0, 0, 0, (5,))
    assert torch.equal(seen(x, view, (), tile=False), x)


def test_the_gradient_of_a_view_is_that_of_a_linear_map() -> None:
    x, weights = picture(1, 3, 9, 11).double(), picture(1, 3, 7, 8).double()
    view = drawn(Recipe(noise=0.3, blur=1.0), (7, 8))
    leaf = x.clone().requires_grad_()
    (seen(leaf, view, (7, 8), tile=False) * weights).sum().backward()
    other = picture(1, 3, 9, 11).double().flip(2)
    rise = ((seen(other, view, (7, 8), tile=False) - seen(x, view, (7, 8), tile=False)) * weights).sum()
    assert leaf.grad is not None and float((leaf.grad * (other - x)).sum()) == pytest.approx(float(rise), abs=1e-8)


def test_resized_pictures_keep_their_mean() -> None:
    for size, new in (((12, 16), (6, 8)), ((16,), (4,)), ((8, 8, 8), (4, 4, 4)), ((6, 6), (12, 12))):
        x = picture(2, 3, *size)
        y = resized(x, new)
        assert y.shape == (2, 3, *new) and torch.allclose(y.flatten(2).mean(2), x.flatten(2).mean(2), atol=0.03)
        assert resized(x, size) is x
