"""Score-CAM leaves out channels that are the same everywhere: fewer passes, the same map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pellucid.methods import all_methods

SCORE_CAM = all_methods()["score_cam"]


def network(silent: tuple[int, ...]) -> nn.Sequential:
    """Six rectified channels, of which some never answer."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).double()
    with torch.no_grad():
        net[0].bias.fill_(1.0)
        net[0].bias[list(silent)] = -100.0
    return net


def by_definition(net: nn.Sequential, x: Tensor, target: int, silent: tuple[int, ...]) -> Tensor:
    with torch.no_grad():
        channels = net[:2](x)
        large = nn.functional.interpolate(channels, x.shape[2:], mode="bilinear", align_corners=False)
        low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
        answers = [k for k in range(6) if k not in silent]
        windows = (large - low) / (high - low)
        scores = torch.stack([net(x * windows[:, k : k + 1])[:, target] for k in answers], 1)
        cam = (scores.softmax(1)[:, :, None, None] * channels[:, answers]).sum(1, keepdim=True).relu()
        return nn.functional.interpolate(cam, x.shape[2:], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("silent", [(), (0,), (1, 3, 4), (0, 1, 2, 3, 4)])
def test_channels_that_show_nothing_cost_no_pass(silent: tuple[int, ...]) -> None:
    net, x = network(silent), torch.rand(2, 2, 9, 8, dtype=torch.float64)
    found = SCORE_CAM(net, x, 2, site="1")
    torch.testing.assert_close(found.values, by_definition(net, x, 2, silent), rtol=0, atol=1e-12)
    none = SCORE_CAM(network(tuple(range(6))), x, 2, site="1")
    assert found.cost.forwards - none.cost.forwards == len(x) * (6 - len(silent))


def test_where_no_channel_shows_anything_the_map_is_zero() -> None:
    found = SCORE_CAM(network(tuple(range(6))), torch.rand(2, 2, 9, 8, dtype=torch.float64), 2, site="1")
    assert not bool(found.values.any())


def test_a_channel_that_only_one_sample_shows_is_looked_through_for_all() -> None:
    net = network((1,))
    x = torch.rand(2, 2, 9, 8, dtype=torch.float64)
    with torch.no_grad():
        net[0].weight[2], net[0].bias[2] = 1.0, -6.0  # answers to bright pictures
    x[1] *= 0.1
    both = SCORE_CAM(net, x, 2, site="1").values
    for i in range(2):
        torch.testing.assert_close(
            both[i : i + 1], SCORE_CAM(net, x[i : i + 1], 2, site="1").values, rtol=0, atol=1e-12
        )
