"""What stands in for a covered part: SciPy's blur, finite differences, captum's occlusion with our fill as baseline."""

from __future__ import annotations

import warnings

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from pellucid.core.errors import BadOption
from pellucid.methods import all_methods
from pellucid.probes.blur import blurred, slope
from pellucid.probes.fills import covering, stand_in
from pellucid.probes.infill import pull_push
from tests.networks import Net, picture, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum import attr

METHODS = all_methods()
KINDS = ("constant", "mean", "blur", "noise")


@pytest.mark.parametrize("sigma", [0.4, 1.5, 6.0])
def test_the_blur_is_scipys_with_the_weights_at_the_border_made_to_sum_to_one(sigma: float) -> None:
    x = torch.randn(13, 9, dtype=torch.float64, generator=seeded(0))
    inside = gaussian_filter(torch.ones_like(x).numpy(), sigma, mode="constant", truncate=40)
    theirs = torch.from_numpy(gaussian_filter(x.numpy(), sigma, mode="constant", truncate=40) / inside)
    torch.testing.assert_close(blurred(x[None, None], (2, 3), sigma)[0, 0], theirs, rtol=0, atol=1e-10)


@pytest.mark.parametrize("axes", [(2,), (2, 3)])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_the_slope_of_the_blur_is_its_derivative(axes: tuple[int, ...], sigma: float) -> None:
    x, step = torch.randn(2, 3, 8, 7, dtype=torch.float64, generator=seeded(1)), 1e-5
    change = (blurred(x, axes, sigma + step) - blurred(x, axes, sigma - step)) / (2 * step)
    torch.testing.assert_close(slope(x, axes, sigma), change, rtol=0, atol=1e-6)


def test_mean_and_noise_have_the_moments_of_the_sample() -> None:
    x = torch.randn(2, 3, 60, 60, dtype=torch.float64, generator=seeded(2)) * 3 + 1
    assert torch.equal(stand_in(x, (2, 3), "mean", 0.0)[0, 1, 5, 7], x[0, 1].mean())
    noise = stand_in(x, (2, 3), "noise", 0.0)
    error = 3 / 60  # standard error of a mean of 3600 values
    torch.testing.assert_close(noise.mean((2, 3)), x.mean((2, 3)), rtol=0, atol=4 * error)
    torch.testing.assert_close(noise.std((2, 3)), x.std((2, 3)), rtol=0, atol=4 * error)
    torch.testing.assert_close(stand_in(x[1:], (2, 3), "noise", 0.0), noise[1:], rtol=0, atol=1e-12)


def test_painting_a_box_is_pull_push_and_one_axis_is_a_picture_one_place_high() -> None:
    x = torch.randn(2, 3, 8, 7, dtype=torch.float64, generator=seeded(3))
    mask = torch.zeros(2, 8, 7, dtype=torch.bool)
    mask[:, 2:5, 1:4] = True
    box = (slice(None), slice(None), slice(2, 5), slice(1, 4))
    assert torch.equal(covering(x, (2, 3), "inpainted", 0.0)(box), pull_push(x, mask))
    series = torch.randn(2, 3, 9, dtype=torch.float64, generator=seeded(4))
    mask = torch.zeros(2, 1, 9, dtype=torch.bool)
    mask[..., 2:5] = True
    want = pull_push(series[:, :, None], mask)[:, :, 0]
    assert torch.equal(covering(series, (2,), "inpainted", 0.0)((slice(None), slice(None), slice(2, 5))), want)
    words = covering(series.mT, (1,), "inpainted", 0.0)((slice(None), slice(2, 5), slice(None)))
    assert torch.equal(words, want.mT)


def test_nothing_left_to_paint_from_is_refused() -> None:
    with pytest.raises(BadOption, match="nothing is left"):
        METHODS["occlusion"](nn.Linear(3, 1), torch.ones(1, 3), 0, window=3, fill="inpainted")
    volume = nn.Sequential(nn.Flatten(), nn.Linear(27, 1))
    with pytest.raises(BadOption, match="paints pictures and series"):
        METHODS["occlusion"](volume, torch.ones(1, 1, 3, 3, 3), 0, window=1, fill="inpainted")


@pytest.mark.parametrize("kind", KINDS)
def test_occlusion_is_captums_with_the_fill_as_baseline(kind: str) -> None:
    net, x = Net("module", "silu", seed=2).double(), picture(5, 3).double()
    fill = stand_in(x, (2, 3), kind, 0.4).contiguous()  # type: ignore[arg-type]
    theirs = attr.Occlusion(net).attribute(x, (2, 3, 3), (2, 2, 2), baselines=fill, target=1)[:, :1]
    ours = METHODS["occlusion"](net, x, 1, window=3, stride=2, fill=kind, value=0.4).values
    assert float(theirs.abs().max()) > 1e-3
    torch.testing.assert_close(ours.float(), theirs.detach(), rtol=1e-5, atol=1e-6)  # captum keeps float32


def test_what_is_painted_from_an_even_neighborhood_is_no_fall() -> None:
    net, x = Net(seed=1).double(), torch.full((1, 2, 6, 5), 0.7, dtype=torch.float64)
    assert float(METHODS["occlusion"](net, x, 1, window=2, fill="inpainted").values.abs().max()) < 1e-12
    assert float(METHODS["occlusion"](net, x, 1, window=2).values.abs().max()) > 1e-3
