"""Every method's slow definition, in its own file, against the method itself, in double precision."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import log_odds, logit
from pellucid.methods import all_methods
from tests.networks import SMOOTH, Chain, Net, picture

# methods that read attention are held to all of this in test_attention_methods.py, on networks that have some
METHODS = {n: m for n, m in all_methods().items() if m.family != "attention"}
CAMS = ("eigen_cam", "eigen_grad_cam", "grad_cam_plus_plus", "guided_grad_cam", "layer_cam")
MASK = torch.tensor(
    [[7, 7, 0, 0, 0], [7, 7, 7, 0, 5], [7, 2, 2, 2, 5], [0, 2, 2, 2, 5], [0, 0, 5, 5, 5], [7, 7, 7, 7, 7]]
)
SIX = torch.arange(30).view(6, 5) // 5  # few enough to run every coalition of, one after another
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "saliency": [{}, {"absolute": False}],
    "smooth_grad": [{"samples": 5, "kind": kind} for kind in ("magnitude", "mean", "squared", "variance")],
    "gradient_shap": [{"samples": 5}, {"samples": 4, "noise": 0.3, "baseline": -0.5}],
    "integrated_gradients": [{"steps": 48}, {"steps": 48, "baseline": 0.3}, {"steps": 48, "start": "blur"}],
    "conductance": [{"steps": 24, "baseline": 0.3}],
    "internal_influence": [{"steps": 48, "baseline": 0.3}],
    "integrated_hessians": [{"steps": 40, "mask": (MASK == 7).long()}],
    "feature_ablation": [{}, {"cells": 2, "baseline": 0.4}, {"by": "slic", "cells": 3}, {"mask": MASK, "fill": "mean"}],
    "feature_permutation": [{}, {"cells": 2}, {"mask": MASK}, {"whole": True}],
    "shapley_values": [{"cells": 2}, {"mask": SIX, "baseline": 0.4}, {"mask": MASK, "fill": "blur"}],
    "shapley_interactions": [{"cells": 2}, {"mask": SIX, "kind": "taylor", "baseline": 0.4}, {"mask": MASK}],
    "kernel_shap": [{"cells": 2}, {"mask": SIX, "baseline": 0.4}, {"mask": MASK, "fill": "noise"}],
    "shapley_sampling": [{"cells": 2, "pairs": 3}, {"mask": MASK, "pairs": 2, "baseline": 0.4}],
    "partition_shap": [{"cells": 2}, {"mask": SIX, "baseline": 0.4}, {"mask": MASK, "fill": "inpainted"}],
    "lime": [{"cells": 2, "samples": 30}, {"mask": MASK, "samples": 40, "ridge": 0.3, "width": 0.5, "baseline": 0.4}],
    "occlusion": [
        *({}, {"window": 3, "stride": 2}, {"window": 2, "stride": 3, "value": 0.7}, {"window": 6, "stride": 1}),
        *({"window": 3, "fill": fill} for fill in ("mean", "blur", "noise", "inpainted")),
    ],
    "rise": [
        {"masks": 20},
        {"masks": 9, "cells": 2, "keep": 0.3, "fill": "mean"},
        {"masks": 30, "cells": 4, "centered": False, "value": 0.4},
    ],
    "sobol": [{"designs": 4, "cells": 2}, {"designs": 8, "cells": 3, "fill": "blur"}],
    "hsic": [{"masks": 15, "cells": 2}, {"masks": 24, "cells": 3, "fill": "mean"}],
    "extremal_perturbation": [
        {"steps": 3, "cells": 3, "areas": "0.3"},
        {"steps": 3, "cells": 2, "areas": "0.2, 0.5", "kind": "delete", "fill": "constant"},
    ],
    "blur_integrated_gradients": [{"steps": 200}, {"steps": 200, "blur": 0.1}],
    "wavelet_gradients": [
        *({}, {"levels": 1}, {"kind": "magnitude"}, {"scale": 2}),
        {"samples": 3, "noise": 0.1, "scale": 0},
    ],
    "wavelet_integrated_gradients": [{"steps": 48}, {"steps": 48, "baseline": 0.3, "scale": 1}],
    "sequential_integrated_gradients": [{"steps": 48, "cells": 2}, {"steps": 48, "mask": MASK, "baseline": 0.3}],
    "guided_integrated_gradients": [{"steps": 5}, {"steps": 6, "apart": 1.0, "baseline": 0.3}],
    "full_grad": [{}, {"kind": "channels"}, {"kind": "signed"}],
    "grad_cam": [{}, {"site": "conv1", "rectify": False}],
    **{name: [{}, {"site": "conv1"}] for name in CAMS},
    "ablation_cam": [{}, {"site": "conv1", "rectify": False}],
    "score_cam": [{}, {"site": "conv1", "kind": "smoothed", "samples": 3}, {"kind": "integrated", "samples": 3}],
    "finer_cam": [{}, {"site": "conv1", "others": 1, "strength": 0.5, "rectify": False}],
    "x_grad_cam": [{}, {"site": "conv1", "rectify": False}],
    "shapley_cam": [{}, {"site": "conv1", "rectify": False}],
    "seg_eigen_cam": [{}, {"site": "conv1", "centered": True}],
    "kpca_cam": [{}, {"site": "conv1", "gamma": 0.1}],
    "fem": [{"sigmas": 1.0}, {"site": "conv1", "sigmas": 0.5}],
    "hi_res_cam": [{}, {"site": "conv1", "rectify": True}],
}
SLOWLY = {
    "integrated_gradients": {"points": 300},
    "conductance": {"points": 300},
    "sequential_integrated_gradients": {"points": 300},
    "internal_influence": {"points": 300},
    "blur_integrated_gradients": {"points": 3000},
    "wavelet_integrated_gradients": {"points": 300},
}  # midpoints: an error of 1 / 300^2 / 24 times the bend


def reference(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = importlib.import_module(f"pellucid.methods.{name}").reference
    return found


def in_matrix_form(name: str) -> bool:
    return "weights" in inspect.signature(reference(name)).parameters


@pytest.mark.parametrize(
    ("name", "options"), [(n, o) for n in METHODS if not in_matrix_form(n) for o in VARIANTS.get(n, [{}])]
)
@pytest.mark.parametrize("activation", SMOOTH)
@pytest.mark.parametrize("block", ["gate", "attention"])
def test_the_method_is_its_definition(name: str, options: dict[str, Any], activation: str, block: str) -> None:
    net, x = Net("functional", activation, block, seed=11).double(), picture(12).double()
    target = logit(1) if name == "finer_cam" else logit(1) - 0.5 * log_odds(0)  # it compares one class with others
    fast = METHODS[name](net, x, target, **options)
    known = {k: v for k, v in options.items() if k in inspect.signature(reference(name)).parameters}
    slow = reference(name)(Score(Network(net), target), {"x": x}, **known, **SLOWLY.get(name, {}))
    scale = float(slow["x"].abs().max())
    assert scale > 0
    torch.testing.assert_close(fast.values, slow["x"], rtol=0, atol=1e-6 * max(scale, 1))


@pytest.mark.parametrize("name", [n for n in METHODS if in_matrix_form(n)])
@pytest.mark.parametrize("sizes", [(5, 1), (4, 6, 2), (3, 8, 8, 2), (6, 9, 7, 5, 3)], ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_rule_is_its_matrix_form(name: str, sizes: tuple[int, ...], seed: int) -> None:
    chain = Chain(*sizes, seed=seed).double()
    x = torch.randn(4, sizes[0], dtype=torch.float64)
    torch.testing.assert_close(METHODS[name](chain, x, 0).values, reference(name)(chain.weights, x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["occlusion"])
@pytest.mark.parametrize("shape", [(2, 7), (2, 3, 9), (1, 2, 4, 5, 3)], ids=str)
def test_occlusion_covers_series_tables_and_volumes(name: str, shape: tuple[int, ...]) -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), Chain(int(np.prod(shape[1:])), 6, 2, activation=torch.tanh)).double()
    x = torch.randn(shape, dtype=torch.float64)
    fast = METHODS[name](net, x, 1, window=3, stride=2).values
    slow = reference(name)(Score(Network(net), logit(1)), {"input": x}, window=3, stride=2)["input"]
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-9)


# Integrated gradients until settled: the numbers it reports are facts about its result


def settled(seed: int, tolerance: float, block: str = "residual") -> tuple[Net, Tensor, Any]:
    net, x = Net("module", "relu", block, seed).double(), 2 * picture(seed, 3).double()
    return net, x, METHODS["integrated_gradients"](net, x, 1, tolerance=tolerance, most=2000)


@pytest.mark.parametrize(("seed", "tolerance"), [(0, 0.05), (1, 0.05), (2, 0.05), (3, 0.01)])
def test_settled_gradients_are_about_as_close_as_they_say(seed: int, tolerance: float) -> None:
    net, x, found = settled(seed, tolerance)
    true = reference("integrated_gradients")(Score(Network(net), logit(1)), {"x": x}, points=1000)["x"]
    error = (found.values - true).flatten(1).norm(dim=1) / true.flatten(1).norm(dim=1)
    assert max(found.facts["map change"]) <= tolerance and max(found.gap) <= tolerance
    # how far the last round moved the map is an estimate of how far it still is from the truth, not a bound
    assert float(error.median()) <= tolerance and float(error.max()) <= 1.5 * tolerance
    assert not [note for note in found.notes if "settled" in note]


@pytest.mark.parametrize("seed", range(4))
def test_the_reported_gap_is_the_gap(seed: int) -> None:
    net, x, found = settled(seed, 0.05)
    with torch.no_grad():
        change = net(x)[:, 1] - net(torch.zeros_like(x))[:, 1]
    gap = (found.values.flatten(1).sum(1) - change).abs() / change.abs()
    torch.testing.assert_close(torch.tensor(found.gap, dtype=torch.float64), gap, rtol=1e-6, atol=1e-9)
    assert found.facts["gap"] == list(found.gap)
    torch.testing.assert_close(torch.tensor(found.facts["change of the score"], dtype=torch.float64), change)


def gradients_at(net: Net, x: Tensor, points: int) -> Tensor:
    """The mean gradient over Gauss-Legendre points on the way from zero, one point after another."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    mean = torch.zeros_like(x)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        there = (node * x).requires_grad_()
        mean += weight * torch.autograd.grad(net(there)[:, 1].sum(), there)[0]
    return mean


@pytest.mark.parametrize("seed", range(3))
def test_points_and_map_change_are_those_of_the_rounds(seed: int) -> None:
    net, x, found = settled(seed, 0.05)
    for i, used in enumerate(found.facts["points"]):
        rounds = [r for r in (16, 32, 64, 128, 256, 512, 1024) if r < used]
        assert sum(rounds) == used and len(rounds) > 1
        maps = [gradients_at(net, x[i : i + 1], points) * x[i : i + 1] for points in rounds]
        after = sum(n * m for n, m in zip(rounds, maps, strict=True)) / used
        before = sum(n * m for n, m in zip(rounds[:-1], maps, strict=False)) / (used - rounds[-1])
        torch.testing.assert_close(found.values[i : i + 1], after, rtol=0, atol=1e-9)
        moved = float((after - before).norm() / after.norm())
        assert found.facts["map change"][i] == pytest.approx(moved, rel=1e-6)


def test_what_has_not_settled_says_so() -> None:
    found = METHODS["integrated_gradients"](Net(seed=2), 3 * picture(1), 1, tolerance=1e-6, most=60)
    assert found.facts["points"] == [48, 48]
    assert any("2 of 2 samples had not settled" in note for note in found.notes)
