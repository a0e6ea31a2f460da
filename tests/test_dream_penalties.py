"""Prices and smoothing steps: their formulas, their slopes, and what they leave."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pellucid.dream.painting.natural import radial, radial_of_photographs
from pellucid.dream.painting.optimize import faded
from pellucid.dream.painting.penalties import CHARGES, charged, spectral_distance, total_variation
from pellucid.dream.painting.photographs import spectrum
from pellucid.dream.painting.smoothing import bilateral, smoothed
from pellucid.dream.painting.transforms import blurred
from pellucid.dream.recipe import Recipe
from tests.networks import seeded


def pictures(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=seeded(3), dtype=torch.float64)


def by_hand(name: str, x: Tensor) -> Tensor:
    if name == "total_variation":
        down, right = (x[:, :, 1:] - x[:, :, :-1]).abs(), (x[:, :, :, 1:] - x[:, :, :, :-1]).abs()
        return down.mean((1, 2, 3)) + right.mean((1, 2, 3))
    return (x - 0.5).abs().pow({"l1": 1, "l2": 2, "lp": 6}[name]).mean((1, 2, 3))


@pytest.mark.parametrize("name", ["total_variation", "l1", "l2", "lp"])
def test_a_price_is_its_formula(name: str) -> None:
    x = pictures(2, 3, 7, 9)
    assert torch.allclose(CHARGES[name](x), by_hand(name, x))


@pytest.mark.parametrize("name", [*CHARGES, "stay"])
def test_the_slope_of_a_price_is_its_finite_difference(name: str) -> None:
    x, start, recipe = pictures(2, 3, 16, 17), pictures(2, 3, 16, 17).flip(3), Recipe(**{name: 2.0})

    def price(v: Tensor) -> Tensor:
        found = charged(recipe, v, start)
        assert found is not None
        return found.sum()

    leaf = x.clone().requires_grad_()
    price(leaf).backward()
    way = torch.randn(x.shape, generator=seeded(1), dtype=torch.float64) * 1e-6
    assert leaf.grad is not None
    assert float((leaf.grad * way).sum()) == pytest.approx(float(price(x + way) - price(x - way)) / 2, rel=1e-4)


def test_prices_add_up_with_their_weights() -> None:
    x = pictures(2, 3, 16, 16)
    expected = 2 * by_hand("l1", x) + 0.5 * by_hand("total_variation", x)
    found = charged(Recipe(l1=2.0, total_variation=0.5), x)
    assert found is not None and torch.allclose(found, expected)
    assert charged(Recipe(), x) is None and charged(Recipe(stay=1.0), x, None) is None


def test_signals_volumes_and_tables_have_a_variation() -> None:
    assert float(total_variation(torch.tensor([[[0.0, 2.0, 1.0]]]))) == 1.5
    assert float(total_variation(torch.ones(1, 1, 3, 3, 3))) == 0 and float(total_variation(torch.ones(1, 4))) == 0


def test_a_picture_with_photographs_spectrum_pays_nearly_nothing_and_noise_pays() -> None:
    generator, size = seeded(0), 96
    noise = torch.fft.rfft2(torch.randn(24, 1, size, size, generator=generator), norm="ortho")
    natural = torch.fft.irfft2(noise * spectrum(size, size)[:1], s=(size, size), norm="ortho")
    white = torch.randn(24, 1, size, size, generator=generator)
    close = radial(natural).mean(0) - radial_of_photographs(size, size)
    assert float((close - close.mean()).abs().mean()) < 0.15
    assert float(spectral_distance(white).mean()) > 3 * float(spectral_distance(natural).mean())
    assert torch.allclose(spectral_distance(3 * natural), spectral_distance(natural), atol=1e-3)  # not the level


def test_a_flat_picture_has_a_finite_slope() -> None:
    leaf = torch.full((1, 3, 16, 16), 0.5, requires_grad=True)
    spectral_distance(leaf).sum().backward()
    assert leaf.grad is not None and bool(leaf.grad.isfinite().all())


@pytest.mark.parametrize("size", [(30, 30), (40,), (12, 12, 12)], ids=str)
def test_a_bilateral_step_keeps_an_edge_and_takes_noise_away(size: tuple[int, ...]) -> None:
    half = size[-1] // 2
    clean = torch.zeros(1, 2, *size)
    clean[..., half:] = 4
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=seeded(4))
    found, blurry = bilateral(noisy), blurred(noisy, 1.0)
    edge = slice(half - 2, half + 2)
    assert float((found - clean)[..., edge].abs().max()) < 0.35 < float((blurry - clean)[..., edge].abs().max())
    assert float((found - clean)[..., : half - 3].std()) < 0.7 * float((noisy - clean)[..., : half - 3].std())
    flat = torch.full((1, 2, *size), 0.7)
    assert torch.allclose(bilateral(flat), flat, atol=1e-6)


def test_a_bilateral_step_by_hand() -> None:
    u = torch.tensor([[[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]]])
    near = [math.exp(-(d**2) / 2) for d in (-2, -1, 0, 1, 2)]
    like = [math.exp(-((v - 1.0) ** 2) / (2 * 0.5**2)) for v in (0.0, 0.0, 1.0, 1.0, 1.0)]
    weights = [a * b for a, b in zip(near, like, strict=True)]
    expected = sum(w * v for w, v in zip(weights, (0.0, 0.0, 1.0, 1.0, 1.0), strict=True)) / sum(weights)
    assert float(bilateral(u)[0, 0, 2]) == pytest.approx(expected, abs=1e-6)


def test_tiny_pictures_are_smoothed_too() -> None:
    for size in ((1, 2), (2, 2), (1,), (1, 1, 3)):
        assert bilateral(torch.rand(1, 2, *size)).shape == (1, 2, *size)
        assert blurred(torch.rand(1, 2, *size), 2.0).shape == (1, 2, *size)


PIXELS = Recipe(parametrization="pixels")


def test_the_faintest_pixels_go_grey() -> None:
    u = torch.arange(1.0, 101.0).view(1, 1, 10, 10).repeat(2, 3, 1, 1)
    u[1] *= 50  # each picture has a percentile of its own
    found = smoothed(PIXELS.but(small_norm=30.0), u, torch.zeros_like(u), 1)
    for one, before in zip(found, u, strict=True):
        assert int((one == 0).all(0).sum()) == 30 and torch.equal(one[0].flatten()[30:], before[0].flatten()[30:])


def test_the_pixels_that_matter_least_go_grey() -> None:
    u = torch.ones(1, 3, 10, 10)
    grad = torch.arange(1.0, 101.0).flip(0).view(1, 1, 10, 10).repeat(1, 3, 1, 1)
    found = smoothed(PIXELS.but(small_share=25.0), u, -grad, 1)
    assert torch.equal(found[0, 0].flatten() == 0, torch.arange(100) >= 75)


def test_smoothing_steps_come_when_they_are_due() -> None:
    u = torch.randn(1, 3, 9, 9, generator=seeded(2))
    recipe = PIXELS.but(blur_each=3)
    changed = [not torch.equal(smoothed(recipe, u, u, step), u) for step in range(1, 7)]
    assert changed == [False, False, True, False, False, True]
    assert torch.allclose(smoothed(recipe, u, u, 3), blurred(u, 1.0))
    both = PIXELS.but(bilateral_each=2)
    assert torch.allclose(smoothed(both, u, u, 4), bilateral(u)) and torch.equal(smoothed(both, u, u, 3), u)


def test_schedules() -> None:
    assert [faded("constant", d) for d in (0, 0.5, 0.99)] == [1, 1, 1]
    assert [faded("cosine", d) for d in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])
    assert [faded("tail", d) for d in (0, 0.69, 0.7, 1)] == [1, 1, 0.3, 0.3]
