"""Where paths begin: several beginnings are averaged, each means what it says, and what fits nothing is refused."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadOption
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import logit
from pellucid.methods import all_methods
from pellucid.probes.baselines import DRAWS, starts
from pellucid.views.attribution import attribution
from pellucid.views.provenance import provenance
from tests.networks import Net, picture, randomized, seeded

METHODS = all_methods()
STEPS = {"integrated_gradients": {"steps": 24}, "conductance": {"steps": 8}, "internal_influence": {"steps": 24}}
BACKGROUND = torch.randn(3, 2, 6, 5, generator=seeded(9), dtype=torch.float64)


def smooth(seed: int = 1) -> Net:
    return Net("module", "gelu", "residual", seed).double()


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("at", [None, "act1"])
def test_several_baselines_give_the_mean_of_the_maps_of_each(name: str, at: str | None) -> None:
    net, x, options = smooth(), picture(2).double(), STEPS[name]
    together = METHODS[name](net, x, 1, at, baselines=BACKGROUND, **options).values
    alone = [METHODS[name](net, x, 1, at, baselines=b[None], **options).values for b in BACKGROUND]
    torch.testing.assert_close(together, torch.stack(alone).mean(0))
    constant = torch.full_like(BACKGROUND[:1], 0.3)
    torch.testing.assert_close(
        METHODS[name](net, x, 1, at, baselines=constant, **options).values,
        METHODS[name](net, x, 1, at, baseline=0.3, **{"start": "input"} if at else {}, **options).values,
    )


@pytest.mark.parametrize("name", ["integrated_gradients", "conductance"])
@pytest.mark.parametrize("start", ["blur", "noise"])
def test_the_shares_add_up_to_the_mean_change(name: str, start: str) -> None:
    net, x = smooth(), picture(2).double()
    found = METHODS[name](net, x, 1, start=start, **STEPS[name])
    beginnings = starts(Score(Network(net), logit(1)), {"x": x}, start=start)
    assert len(beginnings) == (DRAWS if start == "noise" else 1)
    with torch.no_grad():
        change = net(x)[:, 1] - torch.stack([net(b["x"])[:, 1] for b in beginnings]).mean(0)
    torch.testing.assert_close(found.values.flatten(1).sum(1), change, rtol=1e-4, atol=1e-5)
    assert found.gap is not None and max(found.gap) < 1e-2


def test_until_settled_averages_too() -> None:
    net, x = smooth(), picture(2).double()
    found = METHODS["integrated_gradients"](net, x, 1, baselines=BACKGROUND, tolerance=0.001)
    finely = METHODS["integrated_gradients"](net, x, 1, baselines=BACKGROUND, steps=64).values
    torch.testing.assert_close(found.values, finely, rtol=0, atol=2e-3 * float(finely.abs().max()))
    assert found.facts["paths averaged"] == 3


def test_noise_lies_in_the_sample_s_range_and_is_its_own() -> None:
    f, x = Score(Network(smooth()), logit(1)), {"x": picture(2, 3).double()}
    draws = starts(f, x, start="noise")
    for i, v in enumerate(x["x"]):
        values = torch.stack([d["x"][i] for d in draws])
        assert v.min() <= values.min() and values.max() <= v.max()
        middle = (float(values.mean()) - float(v.min())) / float(v.max() - v.min())
        assert abs(middle - 0.5) < 4 / (12 * values.numel()) ** 0.5
        torch.testing.assert_close(starts(f, {"x": v[None]}, start="noise")[0]["x"][0], values[0])
    assert not any(torch.equal(a["x"], b["x"]) for a, b in itertools.combinations(draws, 2))


@pytest.mark.parametrize("samples", [3, 12])
def test_expected_gradients_of_a_linear_network_are_exact(samples: int) -> None:
    net = randomized(nn.Sequential(nn.Flatten(), nn.Linear(60, 3)), 4).double()
    x, weights = picture(2).double(), net[1].weight[1].detach().view(2, 6, 5)
    found = METHODS["gradient_shap"](net, x, 1, samples=samples, noise=0.0, baselines=BACKGROUND)
    torch.testing.assert_close(found.values, weights * (x - BACKGROUND.mean(0)))
    assert found.facts["baselines"] == 3 and max(found.gap or ()) < 1e-9


def test_expected_gradients_come_to_integrated_gradients_over_the_background() -> None:
    net, x = smooth(), picture(2).double()
    found = METHODS["gradient_shap"](net, x, 1, samples=300, noise=0.0, baselines=BACKGROUND).values
    want = METHODS["integrated_gradients"](net, x, 1, steps=48, baselines=BACKGROUND).values
    assert float((found - want).norm() / want.norm()) < 0.05


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(2, 2, 6, 4), torch.zeros(3), torch.zeros(0, 2, 6, 5), torch.zeros(1, 2, 6, 5, dtype=torch.long)],
)
def test_what_fits_no_input_is_refused(wrong: Tensor) -> None:
    for name in (*STEPS, "gradient_shap"):
        with pytest.raises(BadOption, match="baselines is"):
            METHODS[name](smooth(), picture(2).double(), 1, baselines=wrong)


def test_a_table_has_nothing_to_blur() -> None:
    with pytest.raises(BadOption, match="no neighbors"):
        METHODS["integrated_gradients"](nn.Linear(4, 2), torch.ones(1, 4), 1, start="blur")


def test_the_report_says_where_the_paths_began() -> None:
    found = METHODS["integrated_gradients"](smooth(), picture(2).double(), 1, baselines=BACKGROUND, steps=2)
    (options,) = [v for k, v in provenance(found).rows if k == "options"]
    assert "baselines = a tensor of 3×2×6×5" in str(options) and "start = constant" in str(options)
    assert attribution(found) is not None
