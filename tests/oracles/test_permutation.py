"""Feature permutation, against captum's with the permutation fixed and against all permutations by enumeration."""

from __future__ import annotations

import warnings
from itertools import permutations

import pytest
import torch

import pellucid as pl
from pellucid.core.errors import BadInput, BadOption
from pellucid.core.run import Run, running
from pellucid.methods import all_methods
from pellucid.methods.feature_permutation import _donors
from tests.networks import Chain, Net, picture, seeded

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum import attr

METHODS = all_methods()
feature_permutation = METHODS["feature_permutation"]


def test_with_the_same_permutations_the_falls_are_captums() -> None:
    net, x = Chain(4, 8, 3, seed=1).double(), torch.randn(6, 4, generator=seeded(0)).double()
    donors = _donors(6, 3)
    theirs = [
        attr.FeaturePermutation(net, perm_func=lambda v, mask, d=d: torch.where(mask, v[d], v)).attribute(x, target=1)
        for d in donors
    ]
    # each of its falls is one permutation's; ours is their mean, times the chance that the donor is another sample
    expected = torch.stack(theirs).mean(0) * 5 / 6
    torch.testing.assert_close(feature_permutation(net, x, 1, shuffles=3).values, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("samples", [2, 3, 5])
def test_all_shifts_are_the_expectation_over_all_permutations(samples: int) -> None:
    net, x = Chain(3, 8, 2, seed=2).double(), torch.randn(samples, 3, generator=seeded(1)).double()
    base, expected = net(x)[:, 0], torch.zeros(samples, 3).double()
    every = list(permutations(range(samples)))
    for order in every:
        for column in range(3):
            swapped = x.clone()
            swapped[:, column] = x[list(order), column]
            expected[:, column] += (base - net(swapped)[:, 0]) / len(every)
    found = feature_permutation(net, x, 0)
    torch.testing.assert_close(found.values, expected.detach(), rtol=0, atol=1e-9)
    assert found.facts["standard errors"] == torch.zeros(samples, 3).tolist()
    importance = torch.tensor(found.facts["importance"]).double()
    torch.testing.assert_close(importance, expected.detach().mean(0))


def test_the_standard_errors_are_the_errors() -> None:
    net, x = Chain(4, 16, 1, seed=3).double(), torch.randn(30, 4, generator=seeded(2)).double()
    exact, missed, said = feature_permutation(net, x, 0, shuffles=29).values, [], []
    for seed in range(12):
        with running(Run(seed=seed)):
            found = feature_permutation(net, x, 0, shuffles=10)
        missed.append((found.values - exact).square())
        said.append(torch.tensor(found.facts["standard errors"]).square())
    # ten falls are few and not normal: their spread is right on average, not in each case
    assert 0.85 < float(torch.cat(missed).mean() / torch.cat(said).mean()) ** 0.5 < 1.15


def test_no_two_permutations_give_a_sample_the_same_donor() -> None:
    found = torch.stack(_donors(7, 6))
    assert all(sorted([i, *found[:, i].tolist()]) == list(range(7)) for i in range(7))


def test_whole_inputs_are_shuffled_as_one() -> None:
    class Product(torch.nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (a.prod(1) * b.sum(1))[:, None]

    a, b = torch.randn(4, 2, generator=seeded(3)).double(), torch.randn(4, 3, generator=seeded(4)).double()
    maps = feature_permutation(Product(), (a, b), 0, whole=True).maps
    of_a, of_b = a.prod(1, keepdim=True), b.sum(1, keepdim=True)
    torch.testing.assert_close(maps["a"], ((of_a - of_a.mean()) * of_b).expand(4, 2))
    torch.testing.assert_close(maps["b"], (of_a * (of_b - of_b.mean())).expand(4, 3))


def test_a_map_depends_on_the_other_samples_and_there_must_be_some() -> None:
    net, x = Net(seed=2).double(), picture(3, 3).double()
    together = feature_permutation(net, x, 1, cells=2).values
    pair = feature_permutation(net, x[:2], 1, cells=2).values
    assert not torch.allclose(together[:2], pair)
    assert feature_permutation.together and not METHODS["saliency"].together
    with pytest.raises(BadInput, match="feature_permutation compares samples with each other; one was given"):
        feature_permutation(net, x[:1], 1)
    comparison = pl.compare(net, x[:1], 1, methods=["saliency", "feature_permutation"])
    assert [name for name, _ in comparison.skipped] == ["feature_permutation"]
    mask = torch.stack([torch.arange(30).view(6, 5) // n for n in (5, 6, 10)])
    with pytest.raises(BadOption, match="differs from sample to sample"):
        feature_permutation(net, x, 1, mask=mask)


def test_it_can_be_checked_and_run_again() -> None:
    net, x = Net(seed=2), picture(3, 4)
    found = pl.check(feature_permutation(net, x, 1, cells=2), probes=32)
    assert found.checks and torch.equal(found.rerun(pl.Network(net)).values, found.values)
