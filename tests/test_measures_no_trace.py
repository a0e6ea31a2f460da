"""Measures run networks, draw weights anew and shift inputs: the user's own network is left as it was, all the same."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from pellucid.checks import all_checks
from pellucid.core.errors import BadInput, BadModel, PellucidError, Stopped
from pellucid.core.explanation import Explanation
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from tests.conditions import SCENES, cnn, picture
from tests.networks import randomized
from tests.traces import fingerprint

CHECKS = all_checks()
METHODS = all_methods()
FEW: dict[str, dict[str, Any]] = {
    "faithfulness_correlation": {"count": 8},
    "sensitivity_n": {"count": 8, "steps": 2},
    "infidelity": {"count": 8},
    "parameter_randomization": {"steps": 2},
    "random_logit": {},
    "input_invariance": {},
    "max_sensitivity": {"copies": 2},
    "local_lipschitz": {"copies": 2},
    "relative_stability": {"copies": 2},
    "sparseness": {},
    "complexity": {},
    "effective_complexity": {"steps": 2, "draws": 1},
    "non_sensitivity": {"side": 2, "draws": 1},
    "dummy": {"side": 2, "draws": 1},
    "linearity": {},
}


@pytest.fixture(autouse=True)
def _old_ways() -> Iterator[None]:
    """Scripting and wrapping announce their own retirement."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        yield


@pytest.mark.parametrize("condition", SCENES)
def test_no_trace(condition: str) -> None:
    scene = SCENES[condition]()
    if scene.raises is not None:
        return  # there is no explanation that could be measured
    with scene.around():
        why = METHODS["input_x_gradient"](scene.model, scene.x, 1)
    before = fingerprint(scene.model, scene.x)
    for name, options in FEW.items():
        try:
            with scene.around():
                found = CHECKS[name](why, **options)
            assert found.why.endswith(".") and len(found.each) in (0, len(next(iter(why.maps.values()))))
        except (BadInput, BadModel) as refusal:
            assert refusal.what
        assert fingerprint(scene.model, scene.x) == before, name


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("after", [0, 3])
def test_no_trace_after_a_stop(name: str, after: int) -> None:
    model, x = cnn().train(), picture(2)
    why = METHODS["input_x_gradient"](model, x, 1)
    before = fingerprint(model, x)
    asked = iter(range(10_000))
    with running(Run(stop=lambda: next(asked) >= after)):
        try:
            CHECKS[name](why, **FEW[name])
        except Stopped as stopped:
            assert stopped.what
    assert fingerprint(model, x) == before


def test_a_lease_without_a_run_does_not_make_a_network_that_draws_one_that_does_not() -> None:
    scene = SCENES["stochastic"]()
    net = Network(scene.model)
    METHODS["input_x_gradient"](net, scene.x, 1)
    before = fingerprint(scene.model, scene.x)
    with net.lease():
        pass
    METHODS["input_x_gradient"](net, scene.x, 1)
    assert fingerprint(scene.model, scene.x) == before


def plain() -> Explanation:
    net = randomized(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), 1)
    return METHODS["input_x_gradient"](net, picture(2), 1)


@pytest.mark.parametrize("name", FEW)
def test_samples_get_what_each_gets_alone_and_the_same_again(name: str) -> None:
    why = plain()
    found = CHECKS[name](why, **FEW[name])
    again = CHECKS[name](why, **FEW[name])
    assert again.each == pytest.approx(found.each, nan_ok=True, abs=1e-6)
    assert again.value == pytest.approx(found.value, nan_ok=True, abs=1e-6)
    for i in range(2):
        one = METHODS["input_x_gradient"](why.net, why.x["input"][i : i + 1], 1)
        alone = CHECKS[name](one, **FEW[name])
        assert alone.each == pytest.approx(found.each[i : i + 1], nan_ok=True, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("name", FEW)
def test_the_value_is_the_mean_of_the_samples_and_passes_are_what_was_run(name: str) -> None:
    with running(Run()) as run:
        why = plain()
        before = run.meter.forwards + run.meter.backwards
        found = CHECKS[name](why, **FEW[name])
        assert found.passes == run.meter.forwards + run.meter.backwards - before
    known = [v for v in found.each if not math.isnan(v)]
    assert found.value == pytest.approx(sum(known) / len(known) if known else math.nan, nan_ok=True)
    assert all(math.isfinite(v) for _, v in found.references)
    assert len({len(v) for _, v in found.curves}) <= 1


@pytest.mark.parametrize("name", FEW)
def test_explanations_from_a_file_are_measured_or_the_network_is_asked_for(name: str, tmp_path) -> None:
    import pellucid as pl

    loaded = pl.load(plain().save(tmp_path / "why.pellucid"))
    if name in ("sparseness", "complexity"):
        assert math.isfinite(CHECKS[name](loaded).value)
        return
    with pytest.raises(PellucidError, match="without its network"):
        CHECKS[name](loaded, **FEW[name])


def test_every_measure_is_well_described() -> None:
    for name in FEW:
        check = CHECKS[name]
        assert check.place == 0 and check.paper and check.cost and check.summary
        assert all(option.doc for option in check.options)


def test_half_precision_and_double_are_measured_too() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        net = randomized(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)), 1).to(dtype)
        why = METHODS["input_x_gradient"](net, picture(2).to(dtype), 1)
        for name, options in FEW.items():
            assert CHECKS[name](why, **options).why.endswith("."), name
