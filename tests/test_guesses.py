"""Guesses that a map has to beat: of tables, of the user's own, and the same method where nothing was learned."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks.faithfulness import faithfulness, score_map
from pellucid.core.check import Verdict
from pellucid.core.errors import BadInput
from pellucid.core.method import method
from pellucid.core.network import Network
from pellucid.core.score import Score
from pellucid.core.target import logit
from pellucid.trials.again import on_random_weights
from pellucid.trials.probed import probe_set

# --- guesses that a map has to beat -----------------------------------------------------------------------------------
from tests.planted import Columns, gradient_x_input, seeded


def table(samples: int = 1) -> tuple[Network, Tensor]:
    """A linear score of twelve columns, and rows whose parts of it are mostly positive."""
    net = Network(Columns())
    return net, torch.rand(samples, 12, generator=seeded(3)) * net.model.line.weight.detach().sign()


def test_of_a_table_the_size_of_the_values_is_a_guess_and_ones_give_none():
    net, x = table()
    (probes,) = probe_set(Score(net, logit(0)), {"x": x}, 128)
    assert [name for name, _ in probes.guesses] == ["size of values"]
    assert torch.equal(probes.guesses[0][1], x[0].abs().double())
    truth = gradient_x_input(net, x, 0).values[0]
    assert score_map(truth, probes).word == "Supported" != score_map(x[0].abs(), probes).word
    assert probe_set(Score(net, logit(0)), {"x": torch.ones(1, 12)})[0].guesses == ()


def test_a_map_has_to_beat_the_guesses_that_were_given():
    net, x = table(2)
    why = gradient_x_input(net, x, 0)
    alone = faithfulness(why, count=128)
    assert alone.verdict is Verdict.HOLDS
    for guess in (why.values, why.values.double() * 3 + 1):  # nothing is surely better than itself
        told = faithfulness(why, count=128, guesses={"busy nodes": guess})
        assert told.value == alone.value and told.why.startswith("Weak.")
        assert 'the guess "busy nodes" 1.00' in told.why and dict(told.references)["busy nodes"] == pytest.approx(1.0)
    useless = torch.arange(12.0)
    assert faithfulness(why, count=128, guesses={"useless": useless}).verdict is Verdict.HOLDS
    (first, second) = probe_set(why.score, why.x, 128, {"useless": useless})
    assert torch.equal(first.guesses[1][1], useless.double()) and torch.equal(second.guesses[1][1], useless.double())
    shared, own = faithfulness(why, probes=[first, second]), faithfulness(why, count=128, guesses={"useless": useless})
    assert dict(shared.references)["useless"] == dict(own.references)["useless"]


def test_of_several_maps_to_a_guess_the_best_counts():
    net, x = table()
    why = gradient_x_input(net, x, 0)
    (probes,) = probe_set(why.score, why.x, 128)
    truth = why.values[0].double()
    both = replace(probes, guesses=(("either sign", torch.stack([-truth, truth])), *probes.guesses))
    found = score_map(truth, both)
    assert dict(found.guesses)["either sign"] == pytest.approx(1.0) and found.word == "Weak"
    assert dict(found.guesses)["size of values"] == dict(score_map(truth, probes).guesses)["size of values"]


@pytest.mark.parametrize(
    ("guesses", "said"),
    [
        ({"busy nodes": torch.ones(11)}, "busy nodes.*11.*expected.*12"),
        ({"busy nodes": torch.ones(3, 12)}, "expected.*2, 12"),
        ({"busy nodes": torch.full((12,), math.nan)}, "NaN"),
        ({"edges": torch.ones(12)}, "named 'edges'"),
        ({"": torch.ones(12)}, "named ''"),
    ],
)
def test_guesses_that_do_not_fit_are_refused(guesses, said):
    net, x = table(2)
    why = gradient_x_input(net, x, 0)
    for call in (
        lambda: faithfulness(why, guesses=guesses),
        lambda: probe_set(why.score, why.x, 64, guesses),
        lambda: pl.check(why, guesses=guesses),  # at once, and not as the answer of a check
    ):
        with pytest.raises(BadInput, match=said):
            call()


def test_the_card_takes_guesses_too():
    net, x = table()
    card = pl.check(gradient_x_input(net, x, 0), trust="quick", guesses={"busy nodes": torch.arange(12.0)}).checks
    assert "busy nodes" in dict(card[0].references)


# --- the third guess: the same method where nothing was learned -------------------------------------------------------


class Blind(nn.Module):
    """A linear score of fixed numbers, which are no weights; the weights that can be drawn anew count nothing."""

    def __init__(self):
        super().__init__()
        self.register_buffer("fixed", Columns().line.weight.detach().clone())
        self.idle = nn.Parameter(torch.arange(3.0))

    def forward(self, x):
        return x @ self.fixed.T + 0 * self.idle.sum()


def test_what_random_weights_show_as_well_is_no_support():
    """The wiring of `Blind` is all there is: the map is right, and the same method without learning is as good."""
    net = Network(Blind())
    x = torch.rand(1, 12, generator=seeded(3)) * net.model.fixed.sign()
    why = gradient_x_input(net, x, 0)
    alone = faithfulness(why, count=128)
    told = faithfulness(why, count=128, again=lambda: on_random_weights(why))
    assert alone.why.startswith("Supported.") and told.why.startswith("Weak.")
    assert "the same method on random weights 1.00" in told.why and told.value == alone.value
    opposite = replace(why, maps={k: -v for k, v in why.maps.items()})  # a coin toss of the sign is no excuse
    assert faithfulness(why, count=128, again=lambda: opposite).why.startswith("Weak.")


def test_the_card_makes_the_map_of_random_weights_once_and_shares_it():
    calls = []

    @method(title="Counted", family="gradient", paper="")
    def counted(f, x):
        calls.append(f.net.name)
        return {k: g * x[k] for k, g in f.grad(x).items()}

    net, x = table()
    why = counted(net, x, 0)
    for trust, times in (("quick", 0), ("standard", 1), ("thorough", 1)):
        calls.clear()
        card = pl.check(why, trust=trust).checks
        assert sum("random weights" in name for name in calls) == times
        assert ("random weights" in dict(card[0].references)) == (times == 1)
    calls.clear()
    pl.check(why, which=["faithfulness"])
    assert not calls  # nobody pays for it where randomization was not asked for
    (one,) = pl.check(why, which=["randomization"]).checks
    assert one.value == dict((c.name, c.value) for c in card)["randomization"]


def test_without_weights_there_is_no_such_guess():
    net = pl.open(lambda x: x.sum(1, keepdim=True))
    why = pl.methods.feature_ablation(net, torch.rand(1, 12, generator=seeded(3)), 0)
    card = {check.name: check for check in pl.check(why).checks}
    assert "random weights" not in dict(card["faithfulness"].references)
    assert card["randomization"].verdict is Verdict.UNKNOWN and card["faithfulness"].value > 0.9
