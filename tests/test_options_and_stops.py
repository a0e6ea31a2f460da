"""Options, stops, progress and threads: what is the same for every method found in the folder."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from torch import Tensor

from pellucid.core.errors import BadInput, BadOption, Stopped
from pellucid.core.option import Option
from pellucid.core.run import Progress, Run, running
from pellucid.core.target import logit
from tests.networks import ACTIVATIONS, SMOOTH, Net, nets, picture, pictures
from tests.promises import METHODS, close, every_method, explain, few, values

# keep what a stopped run found
AVERAGES = (
    "integrated_gradients",
    "internal_influence",
    "xrai",
    "smooth_grad",
    "gradient_shap",
    "occlusion",
    "feature_ablation",
    "feature_permutation",
    "kernel_shap",
    "shapley_sampling",
    "partition_shap",
    "lime",
    "rise",
    "sobol",
    "hsic",
    "extremal_perturbation",
    "blur_integrated_gradients",
    "wavelet_integrated_gradients",
)


# Options


def outside(option: Option) -> list[Any]:
    wrong: list[Any] = [object(), [1]]
    if option.type is not str:
        wrong.append("many")
    if option.type in (int, float):
        wrong += [float("nan"), float("inf"), True]
    if option.range is not None:
        wrong += [option.type(option.range.high) + 1, option.type(option.range.low) - 1]
    if option.type is bool:
        wrong += [1, 0.0]
    if option.choices:
        wrong += ["", "something else", 3]
    if not option.optional:
        wrong.append(None)
    return wrong


@pytest.mark.parametrize(
    ("name", "option"), [(n, o) for n, m in METHODS.items() for o in m.options], ids=lambda v: getattr(v, "name", v)
)
def test_values_outside_the_range_are_refused_by_name(name: str, option: Option) -> None:
    for value in outside(option):
        with pytest.raises(BadOption, match=f"^{option.name}=") as caught:
            METHODS[name](Net(), picture(0), 1, **{option.name: value})
        assert option.wanted in caught.value.what and option.doc in caught.value.hint


@pytest.mark.parametrize(
    ("name", "option"),
    [(n, o) for n, m in METHODS.items() for o in m.options if o.choices],
    ids=lambda v: getattr(v, "name", v),
)
def test_every_choice_works(name: str, option: Option) -> None:
    enough = {"samples": 200} if name in ("kernel_shap", "lime") else {}  # superpixels may be more than blocks
    for choice in option.choices:
        assert explain(name, Net(), picture(0), **enough, **{option.name: choice}).options[option.name] == choice


@every_method
def test_unknown_options_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(BadOption, match="'stepz'") as caught:
        METHODS[name](Net(), picture(0), 1, stepz=3)
    assert all(o.name in caught.value.hint for o in METHODS[name].options)


@every_method
def test_inputs_that_hold_no_numbers_are_refused(name: str) -> None:
    x = picture(0)
    for bad in (x * float("nan"), x[:0], x[0, 0, 0, 0], x.to(torch.complex64), x.to("meta"), {}):
        with pytest.raises(BadInput):
            explain(name, Net(), bad)


# Stop, progress, threads


def after(checkpoints: int) -> Callable[[], bool]:
    asked = itertools.count()
    return lambda: next(asked) >= checkpoints


@every_method
def test_a_stop_at_once_raises_stopped(name: str) -> None:
    net, x = Net(), picture(0)
    with running(Run(stop=lambda: True)), pytest.raises(Stopped):
        explain(name, net, x)
    assert torch.equal(values(name, net, x), values(name, Net(), x))


@every_method
def test_a_stop_at_any_checkpoint_gives_a_partial_result_that_says_so_or_raises(name: str) -> None:
    net, x, partial = Net(), picture(0, 4 if METHODS[name].together else 1), 0
    whole = values(name, net, x)
    for checkpoints in range(60):
        with running(Run(stop=after(checkpoints), max_batch=1)):
            try:
                found = explain(name, net, x)
            except Stopped:
                assert not partial, "something was known before, so it has to come back"
                continue
        assert found.values.shape == whole.shape and found.values.isfinite().all()
        if not found.stopped:
            assert torch.allclose(found.values, whole, rtol=1e-3, atol=1e-5)
            break
        assert found.stopped.startswith("after ")
        partial += 1
    else:
        pytest.fail("it never came to its end")
    assert (partial > 1) == (name in AVERAGES)


def test_a_stop_between_rounds_keeps_the_rounds_before() -> None:
    net, x = Net(seed=1), picture(0, 1)
    with running(Run(stop=after(18), max_batch=1)):  # both ends of the path, then the 16 points of the first round
        found = explain("integrated_gradients", net, x, steps=None, tolerance=1e-6)
    assert found.stopped and found.facts["points"] == [16]
    close(found.values, values("integrated_gradients", net, x, steps=16), 1e-5)


def test_a_stopped_average_is_the_average_of_fewer_samples() -> None:
    net, x = Net(seed=1), picture(0, 1)
    with running(Run(stop=after(4), max_batch=1)):
        found = explain("smooth_grad", net, x, samples=9)
    assert found.stopped == "after 4 of 9 gradient passes"
    close(found.values, values("smooth_grad", net, x, samples=4), 1e-6)


@every_method
def test_progress_reaches_its_total(name: str) -> None:
    heard: list[Progress] = []
    with running(Run(progress=heard.append)):
        explain(name, Net(), picture(0))
    assert heard
    for earlier, later in itertools.pairwise(heard):
        assert later.done == (1 if earlier.done == earlier.total else earlier.done + 1)
    assert heard[-1].done == heard[-1].total and all(p.seconds >= 0 and p.what for p in heard)


@every_method
def test_two_threads_on_one_model_find_what_one_finds(name: str) -> None:
    net = Net("reused", "relu6", "residual", 3)
    jobs = [(name, picture(0)), ("guided_backprop", picture(1)), (name, picture(2))]
    want = [values(n, net, x) for n, x in jobs]
    got: list[list[Tensor]] = [[] for _ in jobs]
    start = threading.Barrier(len(jobs))

    def work(i: int) -> None:
        start.wait()
        got[i].extend(values(jobs[i][0], net, jobs[i][1]) for _ in range(4))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(g) for g in got] == [4, 4, 4]
    assert all(torch.equal(g, w) for found, w in zip(got, want, strict=True) for g in found)


# What every explanation says about itself


@every_method
@few
@given(nets, pictures)
def test_an_explanation_says_where_it_comes_from(name: str, net: Net, x: Tensor) -> None:
    found = explain(name, net, x, None)
    with torch.no_grad():
        top = tuple(net(x).argmax(1).tolist())
    assert found.of == (logit(top[0]) if len(set(top)) == 1 else logit(top))
    assert found.method == name and set(found.options) == {o.name for o in METHODS[name].options}
    assert found.cost.forwards > 0 and found.cost.seconds >= 0
    shape = tuple(x.shape) if found.values.shape[1] == x.shape[1] else (len(x), 1, *x.shape[2:])
    assert tuple(found.values.shape) == shape
    assert torch.equal(found.x["x"], x)


def test_smooth_activations_are_those_without_kinks() -> None:
    assert set(SMOOTH) <= set(ACTIVATIONS)
