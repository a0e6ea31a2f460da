"""The grid pointing game on networks whose evidence is known, and DiFull, an oracle of what goes back to the input."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from pellucid.checks.grid_pointing_game import grid_pointing_game
from pellucid.core.check import Verdict
from pellucid.core.errors import BadInput, Missing
from pellucid.core.method import Promise, method
from pellucid.core.network import Network
from pellucid.core.target import log_odds, logit, probability, scalar
from pellucid.methods import all_methods
from pellucid.trials.mosaic import arrangements, mosaic
from tests.networks import randomized

METHODS = all_methods()
CLASSES, SIDE = 5, 8
EACH = logit([0, 1, 2, 3])


class Brightest(nn.Module):
    """A class for each channel, its score the brightest value there: evidence at one place."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).amax(2)


class Flat(nn.Module):
    """Fixed in size: a linear layer over the pixels of each color, which reads every place alike."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(CLASSES * SIDE * SIDE, CLASSES, bias=False)
        self.head.weight.data = torch.eye(CLASSES).repeat_interleave(SIDE * SIDE, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


def colored(classes: list[int], level: float = 9.0) -> Tensor:
    """Pictures of one color each, no two places of which are equally bright."""
    x = torch.rand(len(classes), 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) + 1
    return level * x * torch.eye(CLASSES)[classes].view(-1, CLASSES, 1, 1)


@method(title="Even", family="none", paper="")
def even(f, x):
    return {k: torch.ones_like(v) for k, v in x.items()}


@method(title="Corner", family="none", paper="")
def corner(f, x):
    """All evidence in the upper left pixel."""
    return {k: torch.zeros_like(v).index_fill_(2, torch.tensor([0]), 1.0)[..., :1] * nn.functional.pad(
        torch.ones_like(v[..., :1]), (0, v.shape[3] - 1)) for k, v in x.items()}  # fmt: skip


@method(title="Leaking", family="gradient", paper="", promises=Promise.DUMMY)
def leaking(f, x):
    """A gradient with a mistake: a little of it everywhere."""
    return {k: g + 1e-6 for k, g in f.grad(x).items()}


# --- mosaics -----------------------------------------------------------------------------------------------------


def test_cells_are_the_pictures_in_reading_order():
    x = torch.rand(6, 3, 4, 5)
    made = mosaic(x, (5, 0, 2, 3), shrunk=False)
    assert made.picture.shape == (1, 3, 8, 10)
    for number, sample in enumerate(made.samples):
        assert torch.equal(made.cell(made.picture[0], number), x[sample])
    small = mosaic(x, (5, 0, 2, 3, 1, 4, 0, 1, 2), shrunk=True)
    assert small.picture.shape == (1, 3, 4, 5)
    assert sum(small.cell(torch.ones(4, 5), n).numel() for n in range(9)) == 20
    flat = mosaic(torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 6, 6), (3, 1, 0, 2), shrunk=True)
    assert [float(flat.cell(flat.picture, n).unique()) for n in range(4)] == [3, 1, 0, 2]


def test_arrangements_have_different_classes_and_use_samples_equally():
    classes = [i % 5 for i in range(20)]
    found = arrangements(classes, range(20), 4, 10, torch.Generator().manual_seed(0))
    assert len(found) == 10 == len({frozenset(c) for c in found})
    assert all(len({classes[i] for i in chosen}) == 4 for chosen in found)
    uses = [sum(i in chosen for chosen in found) for i in range(20)]
    assert max(uses) - min(uses) <= 1
    assert len(arrangements(classes, [0, 1, 2, 3], 4, 10, torch.Generator())) == 1


# --- the game ----------------------------------------------------------------------------------------------------


def test_evidence_in_its_own_cell_is_all_of_it_and_an_even_map_has_exactly_chance():
    x = colored([0, 1, 2, 3, 4])
    found = grid_pointing_game(METHODS["input_x_gradient"](Brightest(), x))
    assert found.value == 1.0 and dict(found.references)["chance"] == 0.25 and found.verdict is Verdict.MEASURED
    assert grid_pointing_game(even(Brightest(), x)).value == 0.25
    assert grid_pointing_game(even(Brightest(), colored([0, 1, 2, 3, 4] * 2)), side=2).value == 0.25


def test_a_map_that_ignores_the_class_is_right_in_one_cell_of_each_mosaic():
    found = grid_pointing_game(corner(Brightest(), colored([0, 1, 2, 3, 4] * 2)), mosaics=6)
    assert found.value == 0.25
    shares = dict(found.curves)["share of each cell"]
    assert shares == (1.0, 0.0, 0.0, 0.0) * 6
    assert len(found.each) == 10 and 0 < sum(v > 0 for v in found.each) <= 6


def test_nine_cells_and_samples_that_were_not_used():
    class Nine(Brightest):
        pass

    x = torch.rand(11, 1, 6, 6) * 9 * torch.eye(9)[[0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 1]].view(11, 9, 1, 1)
    found = grid_pointing_game(METHODS["saliency"](Nine(), x), side=3, mosaics=1, sure=0.1)
    assert found.value == 1.0 and dict(found.references)["chance"] == 1 / 9
    assert sum(math.isnan(v) for v in found.each) == 2


def test_a_network_of_one_size_gets_shrunk_cells():
    why = METHODS["input_x_gradient"](Flat(), colored([0, 1, 2, 3], 0.5))
    found = grid_pointing_game(why)
    assert found.value == 1.0
    with pytest.raises((RuntimeError, BadInput)):
        grid_pointing_game(why, cells="whole")


@pytest.mark.parametrize("kind", [probability, log_odds])
def test_the_kind_of_target_stays_and_classes_can_be_given(kind):
    x, classes = colored([0, 1, 2, 3], 0.5), [3, 2, 1, 0]
    why = METHODS["saliency"](Brightest(), x, kind(0))
    seen = grid_pointing_game(why, sure=0.0)
    assert 0.25 < seen.value < 1.0  # the other classes, in the other cells, count against it
    other = grid_pointing_game(METHODS["input_x_gradient"](Brightest(), x, 0), sure=0.0, classes=classes)
    assert other.value == 0.0  # all of the evidence for class 3 is where the picture of class 3 lies


def test_a_network_that_does_not_see_the_classes_cannot_be_asked():
    class Mean(nn.Module):
        """The last class is whatever is not all of one color."""

        def forward(self, x):
            colors = x.flatten(2).mean(2)
            mixed = (colors > 0).sum(1) > 1
            return torch.cat([colors * ~mixed[:, None], 50.0 * mixed[:, None] * torch.ones(1, 8)], 1)

    found = grid_pointing_game(METHODS["saliency"](Mean(), colored([0, 1, 2, 3])))
    assert found.verdict is Verdict.UNKNOWN and "does not see" in found.why


def test_bad_use_gets_a_sentence():
    x = colored([0, 1, 2, 3])
    why = METHODS["saliency"](Brightest(), x)
    with pytest.raises(BadInput, match="of 3 classes"):
        grid_pointing_game(METHODS["saliency"](Brightest(), x[:3]))
    with pytest.raises(BadInput, match="sure of 0"):
        grid_pointing_game(METHODS["saliency"](Brightest(), x / 1e6), sure=0.9)
    with pytest.raises(BadInput, match="3 classes were given for 4"):
        grid_pointing_game(why, classes=[0, 1, 2])
    with pytest.raises(BadInput, match="no single class"):
        grid_pointing_game(METHODS["saliency"](Brightest(), x, scalar(lambda out: out.sum(1))))
    with pytest.raises(BadInput, match="Mosaics"):
        grid_pointing_game(METHODS["saliency"](nn.Linear(9, 5), torch.rand(4, 9)))
    with pytest.raises(Missing):
        grid_pointing_game(replace(why, score=None, net=None, again=None))


def test_the_network_and_the_callers_randomness_stay_as_they_were():
    net = randomized(Convolutions(), 0).train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    x = torch.rand(4, 3, 8, 8)
    state = torch.get_rng_state()
    why = METHODS["smooth_grad"](net, x, samples=2)
    for setting in ("grid", "difull"):
        one, two = (grid_pointing_game(why, classes=[0, 1, 2, 3], sure=0.0, setting=setting) for _ in range(2))
        assert one.value == two.value and one.curves == two.curves
    assert net.training and all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._backward_hooks for m in net.modules())
    assert one.passes >= 4 * 2


# --- DiFull ------------------------------------------------------------------------------------------------------


class Convolutions(nn.Module):
    """Batch normalization, two activations, a residual branch and pooling; `head` one size or any."""

    def __init__(self, head: str = "pooled") -> None:
        super().__init__()
        self.stem, self.norm, self.branch = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 1)
        self.pooled = head == "pooled"
        self.head = nn.Linear(6 if self.pooled else 6 * 16, 4)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        h = torch.relu(self.norm(self.stem(x)))
        h = nn.functional.max_pool2d(h + nn.functional.silu(self.branch(h)), 2)
        return {"logits": self.head(h.mean((2, 3)) if self.pooled else h.flatten(1))}


GOES_BACK = sorted(n for n, m in METHODS.items() if Promise.DUMMY in m.promises or m.family == "relevance")
OPTIONS = {
    "guided_integrated_gradients": {"steps": 8},
    "integrated_gradients": {"steps": 8},
    "lrp": {"preset": "epsilon"},
}


@pytest.mark.parametrize("head", ["pooled", "flat"])
@pytest.mark.parametrize("name", GOES_BACK)
def test_everything_that_goes_back_to_the_input_is_exactly_right_where_cells_are_apart(name, head):
    net = Network(randomized(Convolutions(head), 3))
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    why = METHODS[name](net, x, EACH, **OPTIONS.get(name, {}))
    found = grid_pointing_game(why, sure=0.0, setting="difull")
    assert found.value == 1.0 and found.verdict is Verdict.HOLDS, found.why


def test_a_method_with_a_leak_fails():
    why = leaking(Network(randomized(Convolutions(), 3)), torch.rand(4, 3, 8, 8), EACH)
    found = grid_pointing_game(why, sure=0.0, setting="difull")
    assert found.verdict is Verdict.FAILS and 0.9 < found.value < 1


def test_methods_that_ask_are_measured_and_those_that_read_layers_are_not():
    net, x = Network(randomized(Convolutions(), 3)), torch.rand(4, 3, 8, 8)
    asked = METHODS["occlusion"](net, x, EACH, window=4, stride=4)  # windows within a cell: nothing leaks
    found = grid_pointing_game(asked, sure=0.0, setting="difull")
    assert found.verdict is Verdict.MEASURED and found.value == pytest.approx(1.0, abs=1e-3)
    inner = METHODS["saliency"](net, x, EACH, at="stem")
    for why in (METHODS["grad_cam"](net, x, EACH), inner):
        check = grid_pointing_game(why, sure=0.0, setting="difull")
        assert check.verdict is Verdict.UNKNOWN and "inner layers" in check.why
    assert 0 <= grid_pointing_game(inner, sure=0.0).value <= 1
