"""Sequential integrated gradients: closed forms, what ablation measures, and sentences with one token exchanged."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadOption, Stopped
from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from tests.networks import Net, picture, randomized, seeded

METHODS = all_methods()
SEQUENTIAL, PLAIN = METHODS["sequential_integrated_gradients"], METHODS["integrated_gradients"]


class Formula(nn.Module):
    def __init__(self, formula: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x)[:, None]


class Sentence(nn.Module):
    """Words that are mixed by attention, at places of their own."""

    def __init__(self, functional: bool = False) -> None:
        super().__init__()
        self.table, self.functional = nn.Embedding(11, 6), functional
        self.place, self.head = nn.Parameter(torch.zeros(1, 5, 6)), nn.Linear(6, 3)
        randomized(self, 5)

    def forward(self, ids: Tensor) -> Tensor:
        words = nn.functional.embedding(ids, self.table.weight) if self.functional else self.table(ids)
        v = words + self.place
        v = nn.functional.scaled_dot_product_attention(v, v.sin(), v.cos())
        out: Tensor = self.head(v.tanh().mean(1))
        return out


IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def near(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> None:
    torch.testing.assert_close(a, b.detach().to(a.dtype), rtol=0, atol=tolerance)


def listed(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_in_a_product_each_factor_gets_everything() -> None:
    """Without any one of them nothing is left; plain integrated gradients share it out among the three."""
    net, x = Formula(lambda v: v.prod(1)), noise(4, 3)
    near(SEQUENTIAL(net, x, 0).values, x.prod(1, keepdim=True).expand(4, 3))
    near(PLAIN(net, x, 0, steps=8).values, x.prod(1, keepdim=True).expand(4, 3) / 3)


@pytest.mark.parametrize("baseline", [0.0, 0.7])
def test_of_a_quadratic_form(baseline: float) -> None:
    """x_i goes from b to x_i while the others stay: linear terms in full, the square's difference on the diagonal."""
    matrix = noise(5, 5, seed=1)
    matrix = matrix + matrix.T
    net, x = Formula(lambda v: ((v @ matrix) * v).sum(1)), noise(3, 5)
    others = x @ matrix - x * matrix.diagonal()
    want = 2 * (x - baseline) * others + (x**2 - baseline**2) * matrix.diagonal()
    near(SEQUENTIAL(net, x, 0, baseline=baseline).values, want)


def test_what_is_a_sum_over_parts_gets_integrated_gradients() -> None:
    net, x = Formula(lambda v: (v.sin() * noise(2, 6, 5)).sum((1, 2, 3))), noise(2, 2, 6, 5, seed=3)
    near(SEQUENTIAL(net, x, 0, cells=3).values, PLAIN(net, x, 0, steps=32).values)


def test_of_one_part_it_is_integrated_gradients() -> None:
    net, x = Net("functional", "gelu", "attention", 2).double(), picture(1).double()
    near(SEQUENTIAL(net, x, 1, cells=1, baseline=0.3).values, PLAIN(net, x, 1, steps=32, baseline=0.3).values)


MASK = torch.arange(30).view(6, 5) % 4
SERIES = nn.Sequential(nn.Conv1d(2, 3, 3), nn.GELU(), nn.Flatten(), nn.Linear(27, 2)).double()
VOLUME = nn.Sequential(nn.Conv3d(1, 3, 2), nn.GELU(), nn.Flatten(), nn.Linear(72, 2)).double()


@pytest.mark.parametrize(
    ("net", "x", "options"),
    [
        (Net("functional", "silu", "gate", 4).double(), picture(7, 3).double(), {"cells": 2}),
        (Net("functional", "silu", "gate", 4).double(), picture(7, 3).double(), {"mask": MASK, "baseline": 0.4}),
        (SERIES, noise(2, 2, 11), {"cells": 4, "baseline": -0.2}),
        (VOLUME, noise(2, 1, 3, 4, 5), {"cells": 2}),
        (Sentence().double(), IDS, {}),
    ],
    ids=["picture", "mask", "series", "volume", "text"],
)  # fmt: skip
def test_each_part_adds_up_to_what_ablation_measures(net: nn.Module, x: Tensor, options: dict[str, object]) -> None:
    found = SEQUENTIAL(net, x, 1, **options)
    falls = METHODS["feature_ablation"](net, x, 1, **{"baseline": 0.0, **options}).facts["player values"]
    near(listed(found.facts["player values"]), listed(falls))
    near(listed(found.facts["falls"]), listed(falls))
    assert max(found.facts["largest gap of a part"]) < 1e-6
    assert found.gap is None, "the values of all parts do not add up to one change of the score"
    assert found.values.shape == (PLAIN(net, x, 1, steps=1).values.shape)


@pytest.mark.parametrize("functional", [False, True])
def test_each_word_adds_up_to_what_the_sentence_loses_with_another_token_in_its_place(functional: bool) -> None:
    net = Sentence(functional).double()
    found = SEQUENTIAL(net, IDS, 2, token=7)
    with torch.no_grad():
        for i in range(5):
            exchanged = IDS.clone()
            exchanged[:, i] = 7
            near(found.values[:, i].sum(1), (net(IDS) - net(exchanged))[:, 2])


def test_a_word_that_is_the_token_gets_nothing() -> None:
    found = SEQUENTIAL(Sentence().double(), IDS, 2, token=1).values
    assert not found[0, [1, 3]].any() and found[0, [0, 2, 4]].any(1).all() and found[1].any(1).all()


def test_too_few_points_are_reported() -> None:
    net, x = Formula(lambda v: (8 * v).tanh().sum(1)), torch.full((1, 3), 2.0, dtype=torch.float64)
    few, many = (SEQUENTIAL(net, x, 0, steps=n) for n in (2, 200))
    assert few.facts["largest gap of a part"][0] > 0.3 and many.facts["largest gap of a part"][0] < 1e-6
    assert [any("miss what the score loses" in note for note in e.notes) for e in (few, many)] == [True, False]


def test_a_token_that_is_not_there_and_a_path_cut_short_are_refused() -> None:
    for functional in (False, True):
        with pytest.raises(BadOption, match=r"token=11: the embedding's table ends before it"):
            SEQUENTIAL(Sentence(functional), IDS, 0, token=11)
    with pytest.raises(BadOption, match=r"token=3: no text is explained here"):
        SEQUENTIAL(Net(), picture(0), 0, token=3)
    asked = iter(range(100))
    with running(Run(stop=lambda: next(asked) > 30, max_batch=1)), pytest.raises(Stopped):
        SEQUENTIAL(Net(), picture(0, 1), 0)
