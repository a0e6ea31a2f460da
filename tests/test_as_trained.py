"""Inputs unlike those of training are told by the statistics that the first batch normalization kept."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.as_trained import distance, unlike_training
from pellucid.core.network import Network
from tests.traces import fingerprint


class Spelled(nn.Module):
    """The same computation as a function."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        y = F.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=False)
        return y.mean((2, 3))


def trained() -> nn.Sequential:
    """A network whose normalization has seen pictures of values in -1..1, pass after pass."""
    generator = torch.Generator().manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
    with torch.no_grad():
        for _ in range(60):
            net(torch.rand(8, 3, 12, 12, generator=generator) * 2 - 1)
    return net.eval()


def pictures() -> Tensor:
    return torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(9)) * 2 - 1


def test_what_training_saw_is_one_on_average_and_a_scale_is_told() -> None:
    """For a mean of 0 the distance grows exactly as the values do; planted here by a normalization without a shift."""
    norm = nn.BatchNorm2d(3).eval()
    norm.running_mean.fill_(1e-12)
    norm.running_var.fill_(4.0)
    x = torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2
    assert distance(x, norm.running_mean, norm.running_var) == pytest.approx(1, abs=0.05)
    assert distance(50 * x, norm.running_mean, norm.running_var) == pytest.approx(
        50 * distance(x, norm.running_mean, norm.running_var), rel=1e-5
    )


@pytest.mark.parametrize("spelled", [False, True], ids=["layers", "function"])
def test_pictures_as_bytes_are_told_and_prepared_ones_are_not(spelled: bool) -> None:
    layers = trained()
    model, x = (Spelled(layers[1]), layers[0](pictures()).detach()) if spelled else (layers, pictures())
    net = Network(model)
    name = net.inputs[0]
    assert unlike_training(net, {name: x}) == ""
    said = unlike_training(net, {name: (x + 1) * 127.5})
    assert "first batch normalization" in said and "Prepare it as in training" in said


def test_nothing_is_said_where_nothing_was_learned() -> None:
    """A normalization that has seen no data knows nothing of training."""
    fresh = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten())
    assert unlike_training(Network(fresh), {"input": pictures() * 1000}) == ""
    assert unlike_training(Network(nn.Sequential(nn.Conv2d(3, 8, 3))), {"input": pictures() * 1000}) == ""
    forgetful = nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False))
    assert unlike_training(Network(forgetful), {"input": pictures() * 1000}) == ""


def test_an_input_that_does_not_run_is_left_to_the_method_that_refuses_it() -> None:
    assert unlike_training(Network(trained()), {"input": torch.rand(1, 5, 12, 12)}) == ""


def test_explanations_comparisons_and_maps_say_it() -> None:
    model, wrong = trained(), (pictures()[:1] + 1) * 127.5
    told = [
        pl.explain(model, wrong, 1, method="saliency", trust="quick").notes,
        pl.compare(model, wrong, 1, methods=["saliency"], trust="quick").best.notes,
        pl.map(model, wrong).notes,
    ]
    assert all(any("first batch normalization" in note for note in notes) for notes in told)
    assert not any("first batch normalization" in note for note in pl.map(model, pictures()).notes)


def test_a_map_also_says_what_the_stated_preparation_rules_out() -> None:
    net = pl.open(trained(), preparation=pl.Preparation(12, mean=(0.5,) * 3, std=(0.5,) * 3))
    assert any("prepared for this network" in note for note in pl.map(net, (pictures() + 1) * 127.5).notes)


def test_the_model_is_as_before() -> None:
    model = trained()
    x = pictures() * 1000
    before = fingerprint(model, x)
    assert unlike_training(Network(model), {"input": x})
    assert fingerprint(model, x) == before
