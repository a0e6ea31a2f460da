"""Wavelets: orthonormal at every size, and gradients by their coefficients on networks that see one scale alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadOption
from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from pellucid.probes.wavelets import DIRECTIONS, Band, Haar
from pellucid.views.provenance import provenance
from tests.networks import BLOCKS, Net, picture, seeded

METHODS = all_methods()
BOTH = ("wavelet_gradients", "wavelet_integrated_gradients")
SHAPES = [
    ((1, 2, 6, 5), (2, 3), 3),
    ((1, 1, 8, 8), (2, 3), 2),
    ((1, 1, 7), (2,), 3),
    ((1, 13, 2), (1,), 9),
    ((1, 1, 3, 4, 5), (2, 3, 4), 2),
    ((1, 1, 1, 9), (2, 3), 4),
]
every_shape = pytest.mark.parametrize(("shape", "axes", "levels"), SHAPES, ids=str)


def units(shape: tuple[int, ...]) -> Tensor:
    """Every place alone, as a batch."""
    n = math.prod(shape)
    return torch.eye(n, dtype=torch.float64).view(n, *shape[1:])


class Formula(nn.Module):
    def __init__(self, formula: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x)[:, None]


def exact(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


# The transform


@every_shape
def test_the_transform_is_orthonormal_and_comes_back(
    shape: tuple[int, ...], axes: tuple[int, ...], levels: int
) -> None:
    haar, every = Haar(shape, axes, levels), units(shape)
    matrix = haar.forward(every).flatten(1)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(every), dtype=torch.float64), rtol=0, atol=1e-14)
    torch.testing.assert_close(haar.back(haar.forward(every)), every, rtol=0, atol=1e-14)


@every_shape
def test_amounts_are_laid_out_by_the_squares_of_the_wavelets(
    shape: tuple[int, ...], axes: tuple[int, ...], levels: int
) -> None:
    haar, every = Haar(shape, axes, levels), units(shape)
    laid = haar.spread(every).flatten(1)
    torch.testing.assert_close(laid, haar.back(every).flatten(1) ** 2, rtol=0, atol=1e-14)
    torch.testing.assert_close(laid.sum(1), torch.ones(len(every), dtype=torch.float64))
    torch.testing.assert_close(laid.sum(0), torch.ones(len(every), dtype=torch.float64))


@every_shape
def test_the_bands_hold_every_coefficient_once_and_a_constant_has_no_details(
    shape: tuple[int, ...], axes: tuple[int, ...], levels: int
) -> None:
    haar, times, alone = Haar(shape, axes, levels), torch.zeros(shape), torch.zeros(shape)
    coefficients = haar.forward(torch.ones(shape, dtype=torch.float64))
    for band in haar.bands():
        times[band.where] += 1
        if band.scale:
            assert float(coefficients[band.where].abs().max()) < 1e-14
    assert bool((times == 1).all())
    for scale in range(levels + 1):
        alone += haar.alone(torch.ones(shape), scale)
    assert bool((alone == 1).all())


def test_pairs_and_an_odd_one_by_hand() -> None:
    v, root = torch.tensor([[[4.0, 2.0, 5.0]]], dtype=torch.float64), math.sqrt(2)
    once, twice = Haar((1, 1, 3), (2,), 1).forward(v), Haar((1, 1, 3), (2,), 2).forward(v)
    near(once, exact([[[6 / root, 5.0, 2 / root]]]))
    # an average of two places and one of a single place: (4 + 2 + 5) / sqrt(3), and their contrast
    near(twice, exact([[[11 / math.sqrt(3), (6 / 2 - 5) * math.sqrt(2 / 3), 2 / root]]]))


def near(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, b.to(a.dtype), rtol=0, atol=tolerance)


def test_an_average_is_what_a_block_has_in_common() -> None:
    v = noise(1, 1, 12, 8)
    coefficients = Haar((1, 1, 12, 8), (2, 3), 2).forward(v)
    near(coefficients[..., :3, :2], nn.functional.avg_pool2d(v, 4) * 4)


# Gradients by the coefficients


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("levels", [1, 2, 5])
def test_all_coefficients_add_up_to_what_input_times_gradient_does(block: str, levels: int) -> None:
    net, x = Net("functional", "gelu", block, 3).double(), picture(1, 3).double()
    found = METHODS["wavelet_gradients"](net, x, 1, levels=levels)
    plain = METHODS["input_x_gradient"](net, x, 1).values.flatten(1).sum(1)
    near(found.values.flatten(1).sum(1), plain)
    near(exact(list(found.facts["sum by scale"].values())).sum(0), plain)


@pytest.mark.parametrize("name", BOTH)
def test_the_scales_add_up_to_the_map_and_their_sums_are_those_of_the_facts(name: str) -> None:
    net, x = Net("functional", "gelu", "residual", 3).double(), picture(1, 3).double()
    whole = METHODS[name](net, x, 1)
    keys = {0: "averages", 1: "2", 2: "4", 3: "8"}
    assert set(whole.facts["sum by scale"]) == set(keys.values())
    alone = {s: METHODS[name](net, x, 1, scale=s).values for s in keys}
    near(torch.stack(list(alone.values())).sum(0), whole.values)
    for s, key in keys.items():
        near(alone[s].flatten(1).sum(1), exact(whole.facts["sum by scale"][key]))
    near(exact(list(whole.facts["share by scale"].values())).sum(0), torch.ones(3), 1e-3)


def test_magnitudes_have_the_size_of_the_gradient() -> None:
    """The transform keeps lengths: so do the gradients of a linear network's coefficients, its transformed weights."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(35, 2)).double()
    x, weight = noise(1, 1, 7, 5), net[1].weight[1].detach().view(1, 1, 7, 5)
    haar = Haar((1, 1, 7, 5), (2, 3), 3)
    slopes = haar.forward(weight).abs()
    found = METHODS["wavelet_gradients"](net, x, 1, kind="magnitude")
    near(found.values, haar.spread(slopes))
    near((slopes**2).sum(), (weight**2).sum())
    assert not found.signed


def stripes(band: Band, side: int) -> Tensor:
    """A pattern of one scale and direction: blocks of half the scale's width, light and dark in turn."""
    half = 2 ** (band.scale - 1)
    wave = (1.0 - 2.0 * (torch.arange(side) // half % 2)).double()
    flat = torch.ones(side, dtype=torch.float64)
    down, across = (wave if differs else flat for differs in band.along)
    return down[:, None] * across


@pytest.mark.parametrize("band", [b for b in Haar((1, 1, 16, 16), (2, 3), 3).bands() if b.scale], ids=str)
@pytest.mark.parametrize("name", BOTH)
def test_a_network_that_sees_one_scale_and_direction_is_found_out(name: str, band: Band) -> None:
    pattern = stripes(band, 16)
    net = Formula(lambda x: (x * pattern).sum((1, 2, 3)) ** 3)
    found = METHODS[name](net, noise(2, 1, 16, 16, seed=4), 0, levels=3)
    shares, ways = found.facts["share by scale"], found.facts["share by direction of edges"]
    for key, share in shares.items():
        assert share == ([1.0, 1.0] if key == str(2**band.scale) else [0.0, 0.0])
    for way, share in ways.items():
        assert share == ([1.0, 1.0] if way == DIRECTIONS[band.along] else [0.0, 0.0])


def test_what_each_scale_adds_to_a_score_that_is_a_sum_over_scales() -> None:
    """Cubes of the averages, squares of the widest details, sines of the finest: each gets exactly its term."""
    x, start = noise(3, 1, 8, 8, seed=2), 0.25
    averages = lambda v: nn.functional.avg_pool2d(v, 4)  # noqa: E731
    wide = lambda v: (v[..., :4].mean((1, 2, 3)) - v[..., 4:].mean((1, 2, 3))) ** 2  # noqa: E731
    fine = lambda v: torch.sin(v[..., 0::2] - v[..., 1::2]).sum((1, 2, 3))  # noqa: E731
    terms = (lambda v: averages(v).mean((1, 2, 3)) ** 3, wide, fine)
    net = Formula(lambda v: torch.stack([term(v) for term in terms]).sum(0))
    sums = METHODS["wavelet_integrated_gradients"](net, x, 0, levels=3, baseline=start, steps=24).facts["sum by scale"]
    begin = torch.full_like(x, start)
    for key, term in zip(("averages", "8", "2"), terms, strict=True):
        near(exact(sums[key]), term(x) - term(begin), 1e-9)
    near(exact(sums["4"]), torch.zeros(3))


@pytest.mark.parametrize("name", BOTH)
def test_one_scale_alone_says_how_coarse_it_is(name: str) -> None:
    net, x = Net(), picture(0)  # 6 by 5
    for scale, size in {1: (3, 3), 2: (2, 2), 3: (1, 1), 0: (1, 1)}.items():
        found = METHODS[name](net, x, 1, scale=scale)
        assert found.resolution == size
        if scale == 1:
            near(found.values[..., 0:4:2], found.values[..., 1:4:2])  # nothing differs within a block of two
    assert METHODS[name](net, x, 1).resolution is None


def test_a_report_has_the_scales_in_words() -> None:
    shown = dict(provenance(METHODS["wavelet_gradients"](Net(), picture(0), 1)).rows)
    assert shown["share by scale"].startswith("averages: ") and "; 2: " in shown["share by scale"]


def test_one_scale_alone_does_not_claim_to_add_up() -> None:
    net, x = Net(), picture(0)
    assert METHODS["wavelet_integrated_gradients"](net, x, 1, scale=1).gap is None
    assert METHODS["wavelet_integrated_gradients"](net, x, 1).gap is not None


def test_several_baselines_give_the_mean_of_the_maps_of_each() -> None:
    net, x, background = Net("functional", "gelu").double(), picture(1).double(), noise(3, 2, 6, 5)
    method, options = METHODS["wavelet_integrated_gradients"], {"steps": 8}
    alone = [method(net, x, 1, baselines=b[None], **options).values for b in background]
    near(method(net, x, 1, baselines=background, **options).values, torch.stack(alone).mean(0))


@pytest.mark.parametrize("net", [Net("functional", "gelu").double()])
def test_without_noise_the_average_is_the_gradient_and_a_stopped_one_that_of_fewer(net: Net) -> None:
    x, method = picture(1, 1).double(), METHODS["wavelet_gradients"]
    near(method(net, x, 1, samples=4, noise=0.0).values, method(net, x, 1).values)
    asked = itertools.count()
    with running(Run(stop=lambda: next(asked) >= 3, max_batch=1)):
        found = method(net, x, 1, samples=9)
    assert found.stopped == "after 3 of 9 gradient passes"
    near(found.values, method(net, x, 1, samples=3).values)


# Other kinds of input, and what is refused


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.end = nn.Embedding(9, 4), nn.Linear(20, 2)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.end(self.table(ids).flatten(1).sin())
        return out


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize(
    ("net", "x", "places"),
    [
        (nn.Sequential(nn.Conv1d(2, 3, 3), nn.GELU(), nn.Flatten(), nn.Linear(27, 2)), torch.rand(2, 2, 11), (2,)),
        (nn.Sequential(nn.Conv3d(1, 3, 2), nn.GELU(), nn.Flatten(), nn.Linear(72, 2)), torch.rand(2, 1, 3, 4, 5),
         (2, 3, 4)),
        (Words(), torch.tensor([[1, 2, 3, 4, 5], [8, 7, 6, 5, 4]]), (1,)),
    ],
    ids=["series", "volume", "text"],
)  # fmt: skip
def test_series_volumes_and_texts(name: str, net: nn.Module, x: Tensor, places: tuple[int, ...]) -> None:
    found = METHODS[name](net.double(), x, 1)
    plain: dict[str, Any] = {"wavelet_gradients": {}, "wavelet_integrated_gradients": {"steps": 64}}[name]
    other = {"wavelet_gradients": "input_x_gradient", "wavelet_integrated_gradients": "integrated_gradients"}[name]
    values = METHODS[other](net, x, 1, **plain).values
    assert found.values.shape == values.shape
    others = [a for a in range(1, values.ndim) if a not in places]
    near(found.values.sum(places), values.sum(places), 1e-9)  # of each channel by itself
    assert others or found.values.any()


@pytest.mark.parametrize("name", BOTH)
def test_what_has_no_neighbors_or_no_such_scale_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match=r"a table, \(1, 4\): its columns have no neighbors"):
        METHODS[name](nn.Linear(4, 2), torch.ones(1, 4), 0)
    with pytest.raises(BadOption, match=r"scale=4: the input was halved 3 times"):
        METHODS[name](Net(), picture(0), 1, scale=4)
    with pytest.raises(BadOption, match=r"scale=2: the input was halved 1 times"):
        METHODS[name](Net(), picture(0), 1, scale=2, levels=1)
