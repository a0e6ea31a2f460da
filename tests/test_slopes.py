"""Values that are slopes: declared where it is so, judged by their size where a part's share is asked, and said."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.faithfulness import score_map
from pellucid.core.errors import PellucidError
from pellucid.core.explanation import Explanation
from pellucid.methods import all_methods
from pellucid.trials.disagreement import disagreement
from pellucid.trials.probed import probe_set

METHODS = all_methods()
MASK = torch.zeros(8, 8, dtype=torch.bool).index_fill(0, torch.tensor([2, 3, 4]), True)


class Signs(nn.Module):
    """Class 1 is the sum of w x over a picture; at the sign of w, each place's share is exactly the slope's size."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(4))
        weight[:, :, 2:5] *= 8
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        z = (self.weight * x).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(z), z], 1)


def found(method: str) -> Explanation:
    net = Signs()
    return METHODS[method](net, net.weight.detach().sign(), 1)


def test_slopes_are_declared_where_a_linear_network_shows_its_weights_and_not_its_shares() -> None:
    torch.manual_seed(1)
    line, x, tried = nn.Linear(6, 2), 3 * torch.randn(1, 6), set[str]()
    for name, method in METHODS.items():
        with suppress(PellucidError):  # methods for pictures and attention
            e = method(line, x, 0)
            weights = line.weight[0].detach().abs()
            assert e.slopes == method.slopes == torch.allclose(e.values[0].abs(), weights, rtol=1e-3), name
            tried.add(name)
    assert {name for name, method in METHODS.items() if method.slopes} - tried == {"guided_grad_cam"}
    assert len(tried) > 20


SHARES = (
    "faithfulness",
    "pixel_flipping",
    "deletion",
    "insertion",
    "faithfulness_correlation",
    "sensitivity_n",
    "irof",
)
SAID = "The map holds slopes, whose sign only says which way to change a value; their size was tested."


@pytest.mark.parametrize("check", SHARES)
def test_a_slopes_size_is_tested_and_the_sentence_says_so(check: str) -> None:
    measure, options = pl.checks.all_checks()[check], {"by": "grid"} if check == "irof" else {}
    signed, sizes = found("guided_backprop"), found("saliency")
    assert bool((signed.values < 0).any()) and torch.equal(signed.values.abs(), sizes.values)
    one, other = measure(signed, **options), measure(sizes, **options)
    assert one.value == other.value and one.verdict == other.verdict
    assert one.why == f"{other.why} {SAID}"


def test_shares_that_a_slopes_size_equals_are_foretold_and_those_of_the_sign_are_not() -> None:
    torch.manual_seed(1)
    line = nn.Linear(40, 1)
    e = METHODS["guided_backprop"](line, line.weight.detach().sign(), 0)
    assert pl.checks.faithfulness(e).value == pytest.approx(1.0, abs=1e-6)  # a column's share is |w|, removed to zero
    (probes,) = probe_set(e.score, e.x)
    assert score_map(e.values[0].double(), probes).word != "Supported"


@pytest.mark.parametrize("check", ["localization", "pointing_game", "relevance_mass", "relevance_rank", "pixel_auc"])
def test_where_a_slope_lies_does_not_depend_on_its_sign(check: str) -> None:
    measure = pl.checks.all_checks()[check]
    one, other = (measure(found(name), mask=MASK) for name in ("guided_backprop", "saliency"))
    assert one.value == other.value and "slopes" in one.why


def test_infidelity_reads_slopes_as_slopes() -> None:
    e = found("guided_backprop")
    assert pl.checks.infidelity(e, change="noise", scale="explained").value == pytest.approx(0, abs=1e-6)
    assert "size" not in pl.checks.infidelity(e).why
    with pytest.raises(PellucidError, match="no parts"):
        pl.checks.infidelity(found("saliency"), change="noise")  # its sign is lost


def test_methods_of_slopes_and_of_shares_are_compared_by_size() -> None:
    both = disagreement([found("guided_backprop"), found("input_x_gradient")])  # at x = sign(w), |w| = w x
    assert both.matrices["spearman"][0, 1] == pytest.approx(1.0)
    assert both.matrices["sign"][0, 1].isnan()  # the signs say different things
