"""Batch normalization folded into convolutions: the same numbers, and never where somebody looks inside."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.folding import Folding, foldable
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.score import Score


def with_statistics(model: nn.Module) -> nn.Module:
    """Normalizations that have seen something, some of it turned around."""
    torch.manual_seed(5)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            m.running_mean, m.running_var = torch.randn(m.num_features), torch.rand(m.num_features) + 0.1
            if m.affine:
                nn.init.normal_(m.weight)
                nn.init.normal_(m.bias)
    return model.double().eval()


class Head(nn.Module):
    """Scores of a map, whatever stands before it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.other = nn.BatchNorm2d(4)

    def scores(self, y: Tensor) -> Tensor:
        return torch.tanh(y).mean((2, 3))


class Straight(Head):
    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.norm(self.conv(x)))


class AsksForShape(Head):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.scores(self.norm(y) * (y.shape[2] / y.size(3)))


class ReadsBefore(Head):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.scores(self.norm(y) + y)


class ReadsDetached(Head):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.scores(self.norm(y)) + y.detach().mean()


class ReadsInAList(Head):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.scores(torch.cat([self.norm(y), y], 1))


class ReadsAsNumber(Head):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.scores(self.norm(y)) * y.sum().item()


class Twice(Head):
    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.norm(self.conv(x)) + self.other(self.conv(x + 1)))


class TwoReaders(Head):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.scores(self.norm(y) + self.other(y))


class WritesInto(Head):
    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.norm(self.conv(x).add_(1)))


class NotFoldable(Head):
    def forward(self, x: Tensor) -> Tensor:
        return self.scores(nn.functional.batch_norm(self.conv(x), None, None, training=True))


class MakesItsWeight(Head):
    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.norm(nn.functional.conv2d(x, self.conv.weight * 2, self.conv.bias)))


LOOKS_INSIDE = (ReadsBefore, ReadsDetached, ReadsInAList, ReadsAsNumber, Twice, TwoReaders, WritesInto, NotFoldable,
                MakesItsWeight)  # fmt: skip


def begun(model: nn.Module, x: Tensor) -> tuple[Tensor, Folding]:
    """The first pass, and what comes of it."""
    folding = Folding(model)
    return folding.first(lambda: model(x)), folding


def found(model: nn.Module, x: Tensor) -> int:
    return len(begun(model, x)[1].folds)


def both(model: nn.Module, x: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """Twelve variations with folding and without."""
    steps = [{"x": x + 0.3 * i} for i in range(12)]
    results = []
    for folding in (True, False):
        with running(Run(folding=folding, max_batch=2)):
            f = Score(Network(model), pl.logit(1))
            every: list[Any] = list(getattr(f, what)(steps))
        results.append(torch.stack([v["x"] if isinstance(v, dict) else v for v in every]))
    return results[0], results[1]


X = torch.randn(1, 3, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("what", ["scores", "grads"])
@pytest.mark.parametrize("kind", [Straight, AsksForShape, *LOOKS_INSIDE], ids=lambda k: k.__name__)
def test_folding_changes_no_number(kind: type[Head], what: str) -> None:
    ours, plain = both(with_statistics(kind()), X, what)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [Straight, AsksForShape])
def test_a_result_that_only_its_normalization_reads_is_folded(kind: type[Head]) -> None:
    assert found(with_statistics(kind()), X) == 1


@pytest.mark.parametrize("kind", LOOKS_INSIDE)
def test_a_result_that_something_else_reads_is_not(kind: type[Head]) -> None:
    assert found(with_statistics(kind()), X) == 0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_every_convolution_with_its_normalization(dimensions: int, affine: bool, bias: bool) -> None:
    torch.manual_seed(1)
    conv, norm = (getattr(nn, f"{name}{dimensions}d") for name in ("Conv", "BatchNorm"))
    first = [conv(4, 6, 3, stride=2, padding=1, bias=bias), norm(6, affine=affine, eps=0.01), nn.ReLU(inplace=True)]
    second = [conv(6, 6, 2, groups=3, padding_mode="circular", padding=1, bias=bias), norm(6, affine=affine)]
    model = with_statistics(nn.Sequential(*first, *second, nn.Flatten()))
    x = torch.randn(2, 4, *[6] * dimensions, dtype=torch.float64)
    expected, folding = begun(model, x)
    assert len(folding.folds) == 2
    torch.testing.assert_close(folding.later(lambda: model(x)), expected, rtol=1e-10, atol=1e-12)


class Turns(Head):
    """Its way depends on its input: bright pictures read what lies before the normalization."""

    def __init__(self, quietly: bool) -> None:
        super().__init__()
        self.quietly = quietly

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        out = self.norm(y) if x.mean() < 1 else self.scored(y)
        return self.scores(out)

    def scored(self, y: Tensor) -> Tensor:
        if not self.quietly:
            return y * 2
        try:
            return y * 2
        except Exception:
            return torch.zeros_like(y)


@pytest.mark.parametrize("quietly", [False, True])
@pytest.mark.parametrize("what", ["scores", "grads"])
def test_a_later_pass_that_goes_another_way_is_run_as_it_is(what: str, quietly: bool) -> None:
    model = with_statistics(Turns(quietly))
    assert found(model, X) == 1
    ours, plain = both(model, X, what)
    torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


class Returns(Head):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.scores(self.norm(y)) if x.mean() < 1 else y


def test_a_result_that_is_returned_unread_is_no_folded_one() -> None:
    model = with_statistics(Returns())
    _, folding = begun(model, X)
    assert len(folding.folds) == 1
    bright = X + 9
    torch.testing.assert_close(folding.later(lambda: model(bright)), model.conv(bright))
    assert folding.folds == {}


def test_nothing_is_folded_where_hooks_look_on() -> None:
    model = with_statistics(Straight())
    assert foldable(model, Run(), 9) and not foldable(model, Run(), 2)
    handle = model.conv.register_forward_hook(lambda *_: None)
    assert not foldable(model, Run(), 9)
    handle.remove()
    model.norm.train()
    assert found(model, X) == 0


def test_the_bundled_network_is_folded_whole() -> None:
    net = pl.open("efficientnet_lite0")
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in net.model.modules())
    with net.lease() as model, torch.no_grad():
        x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        expected, folding = begun(model, x)
        assert len(folding.folds) == norms == 49
        torch.testing.assert_close(folding.later(lambda: model(x)), expected, rtol=1e-4, atol=1e-4)
