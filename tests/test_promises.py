"""Every method found in the folder is held to what it declares, on random networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pellucid.core.explanation import Explanation
from pellucid.core.method import Promise
from pellucid.core.run import Run, running
from pellucid.core.target import logit, probability
from pellucid.probes.blur import blurred, mean_side
from tests.networks import ACTIVATIONS, BLOCKS, STYLES, Chain, Net, blocks, nets, picture, pictures, seeds
from tests.promises import MAPS, METHODS, close, every_method, explain, few, values

ALONE = [name for name, method in METHODS.items() if not method.together]

# where the paths begin that do not begin at zero; a picture without any of its parts
BASELINES: dict[str, Callable[[Tensor], Tensor]] = {
    "blur_integrated_gradients": lambda x: blurred(x, (2, 3), 0.2 * mean_side(x, (2, 3))),
    **{
        name: lambda x: blurred(x, (2, 3), mean_side(x, (2, 3)) / 16)
        for name, method in METHODS.items()
        if method.family == "coalition"
    },
}


def who_promise(promise: Promise) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [n for n, m in METHODS.items() if promise in m.promises])


# Determinism and batches


@every_method
@few
@given(nets, pictures)
def test_same_seed_same_bits(name: str, net: Net, x: Tensor) -> None:
    assert torch.equal(values(name, net, x), values(name, net, x))


@every_method
@pytest.mark.parametrize("block", BLOCKS)
def test_threads_change_at_most_the_rounding(name: str, block: str) -> None:
    net, x = Net(block=block).double(), picture(0).double()
    alone = values(name, net, x)
    torch.set_num_threads(2)
    close(values(name, net, x), alone, 1e-6)


@pytest.mark.parametrize(
    "name", ["smooth_grad", "gradient_shap", "kernel_shap", "shapley_sampling", "lime", "rise", "sobol", "hsic"]
)
def test_another_seed_is_another_sample(name: str) -> None:
    net, x = Net(), picture(0)
    with running(Run(seed=7)):
        other = values(name, net, x)
        assert torch.equal(other, values(name, net, x))
    assert not torch.equal(other, values(name, net, x))


@pytest.mark.parametrize("name", ALONE)
@few
@given(nets, pictures)
def test_a_sample_does_not_see_its_neighbors(name: str, net: Net, x: Tensor) -> None:
    net, x = net.double(), x.double()
    together = values(name, net, x)
    close(torch.cat([values(name, net, v[None]) for v in x]), together, 1e-7)
    close(values(name, net, x.flip(0)).flip(0), together, 1e-7)


@every_method
@pytest.mark.parametrize(
    "limits", [{"max_batch": 1}, {"memory": 1}, {"max_batch": 5}, {"channels_last": False}], ids=str
)
def test_the_size_of_passes_does_not_matter(name: str, limits: dict[str, Any]) -> None:
    for block in BLOCKS:
        net, x = Net(block=block, seed=2).double(), picture(3, 3).double()
        together = values(name, net, x)
        with running(Run(**limits)):
            close(values(name, net, x), together, 1e-9)


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in ALONE), ("integrated_gradients", {"steps": None, "tolerance": 0.01})],
    ids=str,
)
def test_samples_with_a_class_each_are_explained_for_their_own(name: str, options: dict[str, Any]) -> None:
    net, x, classes = Net(seed=5).double(), 3 * picture(4, 6).double(), (0, 1, 2, 2, 1, 0)
    together = explain(name, net, x, logit(classes), **options)
    alone = [values(name, net, v[None], c, **options) for v, c in zip(x, classes, strict=True)]
    close(together.values, torch.cat(alone), 1e-9)
    if options:
        assert len(set(together.facts["points"])) > 1, "they end in different rounds, so that places in the batch shift"


# The network however it is written, the input however it is laid out


@who_promise(Promise.IMPLEMENTATION_INVARIANT)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@few
@given(blocks, seeds, pictures)
def test_spelling_does_not_matter(name: str, activation: str, block: str, seed: int, x: Tensor) -> None:
    x = x if METHODS[name].together else x[:1]  # one sample is spelled like the others
    base = values(name, Net("module", activation, block, seed), x)
    for style in STYLES[1:]:
        close(values(name, Net(style, activation, block, seed), x), base, 1e-5)


@pytest.mark.parametrize("name", MAPS)
def test_spelling_does_not_matter_for_the_site_that_is_chosen(name: str) -> None:
    x = picture(0)
    close(values(name, Net("functional", "gelu"), x, site=""), values(name, Net("module", "gelu"), x, site=""), 1e-5)


@who_promise(Promise.IMPLEMENTATION_INVARIANT)
def test_batch_normalization_may_be_folded_into_the_convolution(name: str) -> None:
    net, folded, x = Net(seed=3).double(), Net(seed=3).double(), picture(1).double()
    scale = folded.norm.weight / (folded.norm.running_var + folded.norm.eps).sqrt()
    with torch.no_grad():
        folded.conv1.bias.copy_((folded.conv1.bias - folded.norm.running_mean) * scale + folded.norm.bias)
        folded.conv1.weight.mul_(scale[:, None, None, None])
    folded.norm = nn.Identity()
    close(values(name, folded, x), values(name, net, x), 1e-9)


@every_method
def test_the_layout_of_the_input_does_not_matter(name: str) -> None:
    net, x = Net(block="residual", seed=1), picture(0, 3)
    base = values(name, net, x)
    strided = torch.zeros(3, 2, 6, 10)[..., ::2].copy_(x)
    laid_out = (
        x.contiguous(memory_format=torch.channels_last),
        x.mT.contiguous().mT,
        strided,
        x.clone().requires_grad_(),
    )
    for same in laid_out:
        found = values(name, net, same)
        close(found, base, 1e-6)
        assert found.is_contiguous() and not found.requires_grad
    assert laid_out[-1].grad is None


@every_method
def test_an_expanded_input_is_taken_as_it_is(name: str) -> None:
    net, x = Net(seed=1), picture(0, 1)
    close(values(name, net, x.expand(3, -1, -1, -1)), values(name, net, x.repeat(3, 1, 1, 1)), 1e-6)


# noise is keyed to the bits of the input, so that the two precisions average over other copies
@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("smooth_grad", "gradient_shap")])
@pytest.mark.parametrize("block", BLOCKS)
def test_single_precision_agrees_with_double(name: str, block: str) -> None:
    if name in ("guided_integrated_gradients", "conductance") and block == "pool":
        pytest.skip("its path begins on an even picture, where rounding chooses the winner of a max pool")
    net, x = Net(activation="gelu", block=block, seed=4), picture(2)
    single = values(name, net, x)
    assert single.dtype == torch.float32
    close(single.double(), values(name, net.double(), x.double()), 1e-4)


# What each promise says


def added(found: Explanation) -> Tensor:
    """The sum of a map; of a game between parts, each part counts once however many places show its value."""
    if "player values" in found.facts:
        return torch.tensor([sum(v) for v in found.facts["player values"]], dtype=torch.double)
    assert isinstance(found.values, Tensor)
    return found.values.flatten(1).sum(1)


def finely(name: str, steps: int) -> dict[str, int]:
    """The option that says how finely a path is sampled, for methods that walk one."""
    return {"steps": steps} if any(o.name == "steps" for o in METHODS[name].options) else {}


@who_promise(Promise.COMPLETE)
@few
@given(blocks, seeds, pictures)
def test_complete(name: str, block: str, seed: int, x: Tensor) -> None:
    if block == "pool":
        block = "plain"  # a pool switches on the way, which is a kink
    net, x = Net("functional", "gelu", block, seed).double(), x.double()
    found = explain(name, net, x, **finely(name, 64))
    with torch.no_grad():
        change = net(x)[:, 1] - net(BASELINES.get(name, torch.zeros_like)(x))[:, 1]
    torch.testing.assert_close(added(found), change, rtol=1e-5, atol=1e-6)
    assert found.gap is not None and max(found.gap) < 1e-3


@pytest.mark.parametrize("name", ["blur_integrated_gradients", "deep_lift", "deep_shap", "integrated_gradients"])
@pytest.mark.parametrize("activation", ["relu", "relu6", "hardswish"])
def test_complete_in_spite_of_kinks(name: str, activation: str) -> None:
    missed = []
    for steps in (8, 32, 128):
        gaps = []
        for seed, block in enumerate(("plain", "residual", "gate")):
            net, x = Net("module", activation, block, seed).double(), picture(seed, 3).double()
            found = explain(name, net, x, **finely(name, steps))
            with torch.no_grad():
                change = net(x)[:, 1] - net(BASELINES.get(name, torch.zeros_like)(x))[:, 1]
            gaps.append(((found.values.flatten(1).sum(1) - change).abs() / found.values.abs().flatten(1).sum(1)).max())
        missed.append(float(torch.stack(gaps).mean()))
    assert missed[2] < (5e-3 if finely(name, 8) else 1e-9)
    assert missed[0] > missed[1] > missed[2] or not finely(name, 8)


@who_promise(Promise.LINEAR)
@few
@given(nets, pictures, st.floats(-2, 2), st.floats(-2, 2))
def test_linear(name: str, net: Net, x: Tensor, a: float, b: float) -> None:
    net, x = net.double(), x.double()
    mixed = values(name, net, x, a * logit(0) + b * probability(2))
    close(mixed, a * values(name, net, x, 0) + b * values(name, net, x, probability(2)), 1e-9)


class Reads(nn.Module):
    """Reads the first channel of its first input, and of the second input nothing."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return self.net(torch.cat((x[:, :1], x[:, :1] * 0.5), 1))


@who_promise(Promise.DUMMY)
@few
@given(nets, pictures)
def test_what_is_never_read_gets_exactly_zero(name: str, net: Net, x: Tensor) -> None:
    maps = explain(name, Reads(net), (x, x + 1)).maps
    assert (maps["x"][:, 1] == 0).all() and (maps["other"] == 0).all()
    assert maps["x"].any() or name == "deconvolution", "which may rectify everything away"


@who_promise(Promise.DUMMY)
def test_what_has_zero_weight_gets_exactly_zero(name: str) -> None:
    net = Net(block="residual")
    with torch.no_grad():
        net.conv1.weight[:, 1] = 0
    assert (values(name, net, picture(0))[:, 1] == 0).all()


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if Promise.SYMMETRIC in m.promises and m.family != "coalition"]
)
@few
@given(nets, pictures)
def test_inputs_that_play_the_same_part_get_the_same(name: str, net: Net, x: Tensor) -> None:
    net = net.double()
    with torch.no_grad():
        net.conv1.weight[:, 1] = net.conv1.weight[:, 0]
    x = x.double()
    found = values(name, net, x)
    close(values(name, net, x.flip(1)), found.flip(1), 1e-9)
    x[:, 1] = x[:, 0]
    found = values(name, net, x)
    close(found[:, 1], found[:, 0], 1e-9)


# a blur needs neighbors, and columns have none
@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if Promise.SYMMETRIC in m.promises and n != "blur_integrated_gradients"]
)
@pytest.mark.parametrize("seed", range(3))
def test_columns_that_play_the_same_part_get_the_same(name: str, seed: int) -> None:
    net, x = Chain(5, 8, 6, 2, seed=seed).double(), torch.randn(3, 5, dtype=torch.float64)
    with torch.no_grad():
        net.layers[0].weight[:, 3] = net.layers[0].weight[:, 1]
    turned = x[:, [0, 3, 2, 1, 4]]
    close(values(name, net, turned)[:, [0, 3, 2, 1, 4]], values(name, net, x), 1e-9)
    x[:, 3] = x[:, 1]
    found = values(name, net, x)
    assert found.any()
    close(found[:, 3], found[:, 1], 1e-9)


@who_promise(Promise.SCALE_INVARIANT)
@few
@given(nets, pictures, st.floats(0.01, 100), st.floats(0.01, 100))
def test_the_unit_of_the_input_does_not_matter(name: str, net: Net, x: Tensor, first: float, second: float) -> None:
    net, x = net.double(), x.double()
    base = values(name, net, x)
    units = torch.tensor([first, second], dtype=torch.float64)[:, None, None]
    with torch.no_grad():
        net.conv1.weight.div_(units)
    close(values(name, net, x * units), base, 1e-9)
