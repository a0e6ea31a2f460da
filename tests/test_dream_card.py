"""The card of a dream: the word by rules, what it costs, what it leaves alone; and networks of other kinds."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.checks import dreams as checks
from pellucid.checks.dreams.belief import belief
from pellucid.checks.dreams.card import dream_card
from pellucid.core.archive import unpacked
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadOption, Missing, Stopped
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.core.run import Run, running
from pellucid.dream.dream import Dream, dream_of, to_bytes
from pellucid.trials.naturals import FEWEST, Naturals, naturals
from pellucid.trials.route import route_of
from tests.judged import SIDE, Linear, Mean, dreamed, natural, photographs_of_few_colors, prepared, seeded
from tests.networks import randomized
from tests.traces import fingerprint

# the card


def checked(**verdicts: str) -> list[Check]:
    kinds = {"yes": (Verdict.HOLDS, 1.0), "no": (Verdict.FAILS, 0.0), "open": (Verdict.UNKNOWN, 0.5)}
    kinds["not made"] = (Verdict.UNKNOWN, math.nan)
    return [Check(name, kinds[v][1], kinds[v][0], "...") for name, v in verdicts.items()]


@pytest.mark.parametrize(
    ("verdicts", "word"),
    [
        ({}, "Not tested"),
        ({"activation": "not made", "transfer": "not made"}, "Not tested"),
        ({"robustness": "yes"}, "Partly"),  # nobody but the unit itself was asked
        ({"transfer": "yes"}, "Partly"),  # not moved
        ({"robustness": "yes", "transfer": "yes"}, "Believable"),
        ({"robustness": "yes", "path_agreement": "yes", "transfer": "not made"}, "Believable"),
        ({"robustness": "yes", "forced_choice": "yes", "spectrum": "open"}, "Believable"),
        ({"robustness": "yes", "transfer": "yes", "path_agreement": "open"}, "Partly"),
        ({"robustness": "open", "transfer": "yes"}, "Partly"),
        ({"robustness": "yes", "transfer": "yes", "spectrum": "no"}, "Partly"),
        ({"robustness": "yes", "transfer": "yes", "seeds": "no"}, "Partly"),
        *(
            (
                {**dict.fromkeys(("activation", "robustness", "transfer", "path_agreement"), "yes"), name: "no"},
                "Do not believe",
            )
            for name in ("activation", "robustness", "transfer", "path_agreement", "forced_choice")
        ),
    ],
)
def test_the_word_follows_from_rules_and_never_from_an_average(verdicts: dict[str, str], word: str) -> None:
    found = belief(checked(**verdicts))
    assert found.word == word and found.why.endswith(".") and found.why[0].isupper()


def test_the_card_holds_a_check_of_each_kind_for_each_picture_and_is_kept() -> None:
    net = prepared(Mean(), labels=("ant", "bee"))
    dream = dreamed(net, [pl.logit(0), pl.channel("units", 1)], steps=2)
    data = photographs_of_few_colors()
    card = dream_card(dream, data, [net], trust="thorough")
    names = ["activation", "robustness", "transfer", "path_agreement", "spectrum", "seeds", "forced_choice"]
    assert [[c.name for c in one] for one in card.checks] == [names, names]
    again = dream_card(dream, data, [net], trust="thorough")
    same = [[replace(c, seconds=0.0, passes=0) for c in one] for one in (*card.checks, *again.checks)]
    assert str(same[:2]) == str(same[2:])
    kept = dream_of(_archive(card))
    assert [[c.name for c in one] for one in kept.checks] == [names, names]
    assert [[c.why for c in one] for one in kept.checks] == [[c.why for c in one] for one in card.checks]


def _archive(dream: Dream):
    import tempfile
    from pathlib import Path

    path = Path(tempfile.mkdtemp()) / "dream.pellucid"
    path.write_bytes(to_bytes(dream))
    return unpacked(path)


def test_budgets_and_names_are_checked_beforehand() -> None:
    dream = dreamed(prepared(Linear()), pl.logit(0), steps=1)
    with pytest.raises(BadOption, match="without a name"):
        checks.activation(dream, natural())
    with pytest.raises(BadOption, match="no check of dreams 'nothing'"):
        dream_card(dream, which=["nothing"])
    with pytest.raises(BadOption, match="expected one of quick"):
        dream_card(dream, trust="much")
    assert [c.name for c in dream_card(dream, which=["spectrum"]).checks[0]] == ["spectrum"]


@pytest.mark.parametrize("data", [natural(FEWEST - 1), torch.rand(40, 3, 8, 8)], ids=["few", "another size"])
def test_natural_pictures_that_do_not_fit_are_told_and_cost_no_other_check(data: Tensor) -> None:
    dream = dreamed(prepared(Mean()), pl.channel("units", 0), steps=2)
    by = {c.name: c for c in dream_card(dream, data).checks[0]}
    for name in ("activation", "path_agreement", "forced_choice"):
        assert math.isnan(by[name].value) and "natural" in by[name].why
    assert math.isfinite(by["robustness"].value)


def test_the_network_is_left_as_it_was_and_a_stop_is_heard() -> None:
    model = Mean().train()
    net = Network(model, preparation=Preparation(size=SIDE))
    dream = dreamed(net, pl.channel("units", 0), steps=2)
    data = photographs_of_few_colors(40)
    before, state = fingerprint(model, data), torch.get_rng_state()
    dream_card(dream, data, [net], trust="thorough")
    assert fingerprint(model, data) == before and torch.equal(torch.get_rng_state(), state)
    for after in (0, 1, 3):
        asked = iter(range(10_000))
        with running(Run(stop=lambda asked=asked, after=after: next(asked) >= after)), pytest.raises(Stopped):
            dream_card(dream, data, [net])
        assert fingerprint(model, data) == before


def test_what_was_run_before_is_not_run_again() -> None:
    net, data = prepared(Linear()), natural()
    dream = dreamed(net, pl.logit(1), steps=1)
    known = naturals(dream, data)
    assert isinstance(known, Naturals) and len(known.names) == len(data)
    with running(Run()) as run:
        checks.activation(dream, natural=known)
    assert run.meter.forwards == 0


def test_a_dream_from_a_file_wants_its_network() -> None:
    net = prepared(Linear())
    dream = replace(dreamed(net, pl.logit(1), steps=1), net=None, saved_fingerprint=net.fingerprint)
    with pytest.raises(Missing, match="without its network"):
        pl.check_dream(dream)
    found = pl.check_dream(dream, net, natural=natural(), trust="quick")
    assert math.isfinite(found.checks[0][0].value)
    with pytest.raises(pl.BadModel, match="other weights"):
        pl.check_dream(dream, prepared(Mean()))


def test_the_route_ends_right_before_the_target() -> None:
    net = prepared(randomized(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(),
                                            nn.Linear(864, 5), nn.Softmax(1)), 0))  # fmt: skip
    dream = dreamed(net, pl.logit(1), steps=1)
    route = route_of(net, dream.canvas)
    assert [str(s) for s in route.to(pl.logit(1))] == ["0", "1", "2", "3", "4"] and str(route.last) == "4"
    assert [str(s) for s in route.to(pl.channel("2", 1))] == ["0", "1"]
    assert [str(s) for s in route.to(pl.channel("3", 1), count=2)] == ["0", "2"]
    assert route.to(pl.channel("0", 1)) == ()


def test_tokens_hold_channels_in_their_width_and_series_do_not() -> None:
    from pellucid.trials.route import channel_means

    tokens = torch.arange(24.0).view(1, 2, 12)
    assert channel_means(tokens, Network(nn.Linear(12, 3))).shape == (1, 12)
    assert channel_means(tokens, Network(nn.Conv1d(2, 3, 1))).shape == (1, 2)


def test_features_that_say_nothing_of_a_unit_make_no_forced_choice() -> None:
    class Blind(Mean):
        """What comes before the answer is of one color, the unit of another."""

        def forward(self, x: Tensor) -> Tensor:
            units = self.units(x).mean((2, 3))
            return self.answer(self.features(units * torch.tensor([0.0, 1.0, 1.0, 0.0])))

    net = prepared(Blind())
    dream = dreamed(net, pl.channel("units", 0), steps=1)
    (found,) = checks.forced_choice(dream, natural=photographs_of_few_colors(200))
    assert found.verdict is Verdict.UNKNOWN and math.isnan(found.value) and "not told by likeness" in found.why


@pytest.mark.slow
def test_noise_that_a_network_takes_for_a_zebra_is_not_believed(lite0) -> None:
    still = {"jitter": 0.0, "shrink": 1.0, "zoom": 1.0, "rotate": 0.0, "noise": 0.0}
    noise = pl.dream.maximize(lite0, pl.logit("zebra"), parametrization="pixels", steps=16, **still)
    assert noise.scores[0] > 8  # the network is sure of it
    (found,) = pl.check_dream(noise, trust="quick").checks
    by = {c.name: c for c in found}
    assert by["robustness"].verdict is Verdict.FAILS and by["spectrum"].verdict is Verdict.FAILS
    assert belief(found).word == "Do not believe"


class Tokens(nn.Module):
    """A small transformer on patches: its channels are the width of its tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, 4)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.answer = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.layer(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def series() -> Network:
    layers = [nn.Conv1d(2, 8, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 3)]
    return Network(nn.Sequential(*layers).double().eval())


def halves() -> Network:
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    return Network(nn.Sequential(*layers).bfloat16().eval(), preparation=Preparation(size=SIDE))


@pytest.mark.parametrize(
    ("made", "targets", "shape"),
    [
        (lambda: prepared(Tokens()), [pl.logit(1), pl.channel("layer", 3, axis=-1)], (3, SIDE, SIDE)),
        (series, [pl.logit(1), pl.channel("0", 3)], (2, 40)),
        (halves, [pl.logit(1), pl.channel("0", 3)], (3, SIDE, SIDE)),
    ],
    ids=["tokens", "series in double", "bfloat16"],
)
def test_tokens_series_and_other_precisions_are_measured_too(made, targets, shape) -> None:
    net, data = made(), torch.randn(60, *shape, generator=seeded(2)).mul(0.1).add(0.5)
    dream = pl.dream.maximize(net, targets, like=data.to(net.dtypes[0])[:8], steps=4, parametrization="pixels")
    for card in (dream_card(dream, data, trust="thorough"), dream_card(dream)):
        for one in card.checks:
            assert all(c.why.endswith(".") for c in one)
    of_class = {c.name: c for c in dream_card(dream, data, trust="thorough").checks[0]}
    for name in ("activation", "robustness", "path_agreement", "seeds"):
        assert math.isfinite(of_class[name].value), name
