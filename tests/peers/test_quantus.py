"""Quantus's metrics, those of them that are right on a closed form, beside our checks of the same name.

On a linear network that reads what is left after parts were set to zero, the drop of the score is the sum of the
contributions removed.  Over random subsets of one size the correlation of such sums with a map's own is Pearson's
correlation of the map with the contributions, part by part: both figures are estimates of that one number.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pellucid.checks.faithfulness import score_map
from pellucid.checks.localization import localization
from pellucid.core.explanation import Explanation
from pellucid.methods import all_methods
from pellucid.trials.agreement import pearson
from pellucid.trials.probed import probe_set
from tests.networks import randomized

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import quantus

pytestmark = pytest.mark.filterwarnings("ignore:::quantus")

METHODS = all_methods()
CLASS, COLUMNS, RUNS = 2, 40, 400
PLAIN = {"abs": False, "normalise": False, "return_aggregate": False, "disable_warnings": True}


# Faithfulness


@pytest.fixture
def table() -> Explanation:
    """Exact contributions of a linear network's columns; zero is what a removed column is set to."""
    net = randomized(nn.Sequential(nn.Linear(COLUMNS, 1)), 2)
    return METHODS["input_x_gradient"](net, torch.randn(1, COLUMNS), 0)


def theirs(why: Explanation, places: Tensor) -> float:
    assert why.net is not None
    metric = quantus.FaithfulnessCorrelation(nr_runs=RUNS, subset_size=COLUMNS // 4, perturb_baseline=0.0, **PLAIN)
    np.random.seed(0)
    x = next(iter(why.x.values())).numpy()[:, None]
    (found,) = metric(
        Columns(why.net.model).eval(), x, np.zeros(1, int), a_batch=places.numpy()[None, None], device="cpu"
    )
    return float(found)


class Columns(nn.Module):
    """Quantus wants a channel axis."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.flatten(1))


def test_exact_contributions_are_perfect_to_both(table: Explanation) -> None:
    (probes,) = probe_set(table.score, table.x, RUNS)
    exact = table.values[0]
    for sign in (1.0, -1.0):
        assert theirs(table, sign * exact) == pytest.approx(sign, abs=1e-5)
        assert score_map(sign * exact, probes).r == pytest.approx(sign, abs=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_maps_that_are_partly_wrong_get_the_same_figure(table: Explanation, share: float) -> None:
    (probes,) = probe_set(table.score, table.x, RUNS)
    exact = table.values[0]
    wrong = torch.randn(COLUMNS, generator=torch.Generator().manual_seed(3)) * exact.std()
    places = (1 - share) * exact + share * wrong
    right = float(pearson(places.double(), exact.double()))
    slack = 4 * (1 - right**2) / RUNS**0.5 + 1e-5
    assert abs(theirs(table, places) - right) < slack
    assert abs(score_map(places, probes).r - right) < slack


# Localization


@pytest.fixture
def pictures() -> tuple[nn.Module, Tensor, Tensor]:
    """A network, three pictures, and a marked region of each that holds the strongest place of the first only."""
    net = randomized(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(720, 4)), 7)
    x, mask = torch.randn(3, 3, 15, 12), torch.zeros(3, 15, 12, dtype=torch.bool)
    places = METHODS["input_x_gradient"](net, x, CLASS).values.sum(1)
    for i, at in enumerate(places.flatten(1).argmax(1).tolist()):
        row, column = divmod(at, 12)
        mask[i, max(row - 3, 0) : row + 4, max(column - 2, 0) : column + 3] = True
        mask[i] = mask[i] if i == 0 else ~mask[i]
    return net, x, mask


@pytest.mark.parametrize("name", ["saliency", "input_x_gradient"])
def test_both_find_the_same_share_of_the_evidence_inside(name: str, pictures: tuple[nn.Module, Tensor, Tensor]) -> None:
    net, x, mask = pictures
    places = METHODS[name](net, x, CLASS).values.sum(1, keepdim=True)
    share = quantus.AttributionLocalisation(positive_attributions=True, **PLAIN)
    pointing = quantus.PointingGame(**PLAIN)
    given = {"a_batch": places.numpy(), "s_batch": mask[:, None].numpy(), "device": "cpu"}
    labels = np.full(3, CLASS)
    shares, hits = (metric(net, x.numpy(), labels, **given) for metric in (share, pointing))
    mine = [localization(METHODS[name](net, x[i : i + 1], CLASS), mask=mask[i]) for i in range(3)]
    np.testing.assert_allclose([check.value for check in mine], np.array(shares, float), rtol=1e-5)
    np.testing.assert_array_equal([dict(check.references)["hit"] for check in mine], np.array(hits, float))
    if name == "input_x_gradient":
        assert [bool(hit) for hit in hits] == [True, False, False]

    together = localization(METHODS[name](net, x, CLASS), mask=mask)
    assert together.value == pytest.approx(float(np.mean(shares)), rel=1e-5)
    assert dict(together.references)["hit"] == pytest.approx(float(np.mean(hits)))
    assert dict(together.references)["chance"] == pytest.approx(float(mask.float().mean()))


def test_a_tie_on_the_border_counts_whole_to_them_and_in_part_to_us() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 1, bias=False))
    with torch.no_grad():
        net[1].weight.zero_()[0, [0, 63, 62, 61]] = 1.0
    x, mask = torch.ones(1, 1, 8, 8), torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, :4] = True
    why = METHODS["saliency"](net, x, 0)
    given = {"a_batch": why.values.numpy(), "s_batch": mask[None, None].numpy(), "device": "cpu"}
    (hit,) = quantus.PointingGame(**PLAIN)(net, x.numpy(), np.zeros(1, int), **given)
    assert hit and dict(localization(why, mask=mask).references)["hit"] == 0.25
