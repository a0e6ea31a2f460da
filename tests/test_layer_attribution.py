"""Explaining the value at an inner site is explaining what lies behind the site, as a network of its own."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.saved import load
from pellucid.methods import all_methods
from pellucid.render.html import markup
from pellucid.surfaces.cli import main
from pellucid.views.attribution import attribution
from pellucid.views.view import Columns, Fold, Heat, Stack, Tokens, View
from tests.networks import Net, picture, randomized
from tests.promises import QUICK, close

METHODS = all_methods()
ALONG_THE_INPUT = ("conductance", "internal_influence")  # they walk a path of the network's own input


class Behind(Net):
    """What `Net` computes from its first activation on."""

    def __init__(self, style: str, activation: str, block: str, seed: int) -> None:
        super().__init__(style, activation, block, seed)
        self.conv1, self.norm, self.act1 = nn.Identity(), nn.Identity(), nn.Identity()


def split(block: str, style: str = "module", seed: int = 1, batch: int = 2) -> tuple[Net, Tensor, Behind, Tensor]:
    """A network and its input, what lies behind its first activation, and the value there."""
    net, x = Net(style, "gelu", block, seed).double(), picture(seed + 1, batch).double()
    rest = Behind("module", "gelu", block, seed).double()
    with torch.no_grad():
        value = net.act1(net.norm(net.conv1(x)))
    return net, x, rest, value


def applies(name: str, block: str, batch: int) -> bool:
    """Some methods need attention to read, or samples to compare."""
    needs_attention = METHODS[name].family == "attention" and block != "attention"
    return name not in ALONG_THE_INPUT and not needs_attention and not (METHODS[name].together and batch == 1)


KINDS = (("residual", 1), ("attention", 3))


@pytest.mark.parametrize(("name", "block", "batch"), [(n, *k) for n in METHODS for k in KINDS if applies(n, *k)])
def test_a_site_is_the_input_of_what_lies_behind_it(name: str, block: str, batch: int) -> None:
    net, x, rest, value = split(block, batch=batch)
    options = QUICK.get(name, {}) | ({"rectify": False} if "rectify" in (o.name for o in METHODS[name].options) else {})
    options |= {"fill": "constant"} if "fill" in (o.name for o in METHODS[name].options) else {}  # what a site has
    found, want = METHODS[name](net, x, 1, "act1", **options), METHODS[name](rest, value, 1, **options)
    close(found.values, want.values, 1e-9)
    assert bool(found.values.any()) or name == "excitation_backprop"  # nothing excites this class
    assert found.at == "act1" and list(found.maps) == ["act1"]
    torch.testing.assert_close(found.explained["act1"], value)  # another layout in memory, so another rounding
    assert found.gap is None or torch.allclose(torch.tensor(found.gap), torch.tensor(want.gap), atol=1e-9)


@pytest.mark.parametrize("name", ["saliency", "smooth_grad", "occlusion", "deep_lift", "lrp", "kernel_shap"])
@pytest.mark.parametrize("limits", [{"max_batch": 1}, {"memory": 1}, {"channels_last": False}], ids=str)
def test_neither_spelling_nor_the_size_of_passes_matters(name: str, limits: dict[str, Any]) -> None:
    for block, style in (("residual", "in place"), ("attention", "functional")):
        net, x, _, _ = split(block, batch=1)
        base = METHODS[name](net, x, 1, "norm", **QUICK.get(name, {})).values
        other = Net(style, "gelu", block, 1).double()
        with running(Run(**limits)):
            close(METHODS[name](other, x, 1, "norm", **QUICK.get(name, {})).values, base, 1e-9)


def test_a_class_for_each_sample() -> None:
    net, x, rest, value = split("residual", batch=4)
    target = pl.logit((0, 2, 1, 0))
    for name in ("integrated_gradients", "occlusion", "kernel_shap", "ablation_cam"):
        options = QUICK.get(name, {}) | ({"steps": None, "tolerance": 0.01} if name == "integrated_gradients" else {})
        options |= {"fill": "constant"} if name == "kernel_shap" else {}
        found, want = METHODS[name](net, x, target, "act1", **options), METHODS[name](rest, value, target, **options)
        close(found.values, want.values, 1e-9)


def test_a_linear_layer_s_shares_are_known() -> None:
    net = randomized(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), 3)
    x = torch.randn(3, 4)
    with torch.no_grad():
        hidden = torch.tanh(net[0](x))
    shares = hidden * net[2].weight[1]
    for name in ("input_x_gradient", "integrated_gradients", "deep_lift", "feature_ablation", "shapley_values"):
        torch.testing.assert_close(METHODS[name](net, x, 1, "1").values, shares, rtol=1e-4, atol=1e-5)


def test_a_neuron_is_explained_by_a_layer_before_it() -> None:
    net, x, _, _ = split("residual")
    found = METHODS["saliency"](net, x, pl.neuron("conv2", 1, 2, 3), "act1", absolute=False).values
    kernel = net.conv2.weight[1].detach()
    want = torch.zeros_like(found)
    want[:, :, 1:4, 2:5] = kernel
    torch.testing.assert_close(found, want)


class Words(nn.Module):
    """Words, embedded and mixed; the embedding is written into, as many networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(11, 6), nn.Parameter(torch.randn(1, 5, 6))
        self.mix, self.head = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        words = self.embed(ids)
        words += self.place
        out: Tensor = self.head(self.mix(words).mean(1))
        return out


def test_words_inside_a_network_are_positions() -> None:
    net, ids = randomized(Words(), 5).double(), torch.randint(0, 11, (2, 5), generator=torch.Generator().manual_seed(0))
    found = METHODS["feature_ablation"](net, ids, 1, "mix")
    assert found.values.shape == (2, 5, 1)
    with torch.no_grad():
        value = net.mix(net.embed(ids) + net.place)
        base = net.head(value.mean(1))[:, 1]
        for i in range(5):
            without = value.clone()
            without[:, i] = 0
            torch.testing.assert_close(found.values[:, i, 0], base - net.head(without.mean(1))[:, 1])
    at_table = METHODS["input_x_gradient"](net, ids, 1, "embed").values
    torch.testing.assert_close(at_table, METHODS["input_x_gradient"](net, ids, 1).values)


def test_an_operation_can_be_the_site() -> None:
    net, x, _, value = split("residual", "functional")
    found = METHODS["occlusion"](net, x, 1, ":gelu", **QUICK["occlusion"])
    assert found.at == ":gelu"
    torch.testing.assert_close(found.explained[":gelu"], value)
    close(found.values, METHODS["occlusion"](Net("module", "gelu", "residual", 1).double(), x, 1, "act1",
                                             **QUICK["occlusion"]).values, 1e-9)  # fmt: skip


# Only what lies behind the site is run


class Counted(nn.Module):
    """Counts the rows that go through it."""

    rows = 0

    def forward(self, x: Tensor) -> Tensor:
        Counted.rows += len(x)
        return x


def test_many_passes_run_only_what_lies_behind() -> None:
    front = nn.Conv2d(2, 4, 3, padding=1)
    net = randomized(nn.Sequential(front, Counted(), nn.Tanh(), nn.Flatten(), nn.Linear(120, 3)), 1)
    for name, options in {"occlusion": {"window": 1, "stride": 1}, "integrated_gradients": {"steps": 64}}.items():
        whole = METHODS[name](net, picture(0, 1), 1, **options).cost
        with pl.running(Run()):
            found = METHODS[name](net, picture(0, 1), 1, "2", **options)
        assert found.cost.forwards > whole.forwards - 2  # as many passes, and those that record the cut
    calls = []
    front.register_forward_hook(lambda *_: calls.append(1))
    METHODS["occlusion"](net, picture(0, 1), 1, "2", window=1, stride=1)
    assert len(calls) < 30, "the convolution is answered from a recording"


# What is refused


@pytest.mark.parametrize("at", ["nowhere", "conv9", "act1#3"])
def test_a_site_that_is_not_there_is_refused(at: str) -> None:
    with pytest.raises((BadInput, BadModel), match=r"nowhere|conv9|act1#3"):
        METHODS["saliency"](Net(), picture(0), 1, at)


def test_a_site_behind_the_target_has_no_gradient() -> None:
    with pytest.raises(BadModel, match="differentiabl"):
        METHODS["saliency"](Net(), picture(0), pl.channel("conv1", 1), "conv2")


# Nothing is left behind, and it comes back


def test_the_model_is_as_it_was_and_runs_again() -> None:
    net, x, _, _ = split("gate")
    before = copy.deepcopy(net.state_dict())
    found = METHODS["occlusion"](net, x, 1, "act1", **QUICK["occlusion"])
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.equal(found.rerun().values, found.values)


def test_it_is_saved_and_runs_again(tmp_path: Path) -> None:
    net, x, _, _ = split("gate")
    found = METHODS["occlusion"](net, x, 1, "act1", **QUICK["occlusion"])
    back = load(found.save(tmp_path / "a.pellucid"), METHODS)
    assert (
        back.at == "act1"
        and torch.equal(back.inner["act1"], found.inner["act1"])
        and torch.equal(back.values, found.values)
    )
    assert torch.equal(back.rerun(Network(net)).values, found.values)


# The report and the trust card


class Patches(nn.Module):
    """A picture's patches as tokens behind a class token, mixed by attention."""

    def __init__(self) -> None:
        super().__init__()
        self.cut, self.first = nn.Conv2d(2, 8, 2, 2), nn.Parameter(torch.zeros(1, 1, 8))
        self.mix, self.head = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.cut(x).flatten(2).mT
        tokens = self.mix(torch.cat([self.first.expand(len(x), -1, -1), patches], 1))
        out: Tensor = self.head(tokens.mean(1))
        return out


def heats(view: View) -> list[Heat]:
    if isinstance(view, Heat):
        return [view]
    parts = view.views if isinstance(view, Stack | Columns) else (view.child,) if isinstance(view, Fold) else ()
    return [heat for part in parts for heat in heats(part)]


def test_a_map_of_places_is_drawn_over_the_picture() -> None:
    x = torch.randn(1, 2, 8, 6)
    found = METHODS["input_x_gradient"](Net(), x, 1, "conv2")
    over = heats(attribution(found))[0]
    assert over.underlay is not None and over.values.shape == (8, 6) and over.resolution == (8, 6)
    places = found.values[0].sum(0).double()
    torch.testing.assert_close(torch.from_numpy(over.values), places)


def test_tokens_that_stand_for_patches_are_drawn_over_the_picture() -> None:
    net, x = randomized(Patches(), 2), torch.randn(1, 2, 8, 6)
    found = METHODS["input_x_gradient"](net, x, 1, "mix")
    over = heats(attribution(found))[0]
    assert over.underlay is not None and over.values.shape == (8, 6) and over.resolution == (4, 3)
    places = found.values[0, 1:].sum(1).view(1, 1, 4, 3).double()
    torch.testing.assert_close(
        torch.from_numpy(over.values), F.interpolate(places, (8, 6), mode="bilinear")[0, 0], rtol=0, atol=1e-6
    )


def test_words_inside_a_network_are_shown_as_words() -> None:
    found = METHODS["feature_ablation"](randomized(Words(), 5), torch.tensor([[3, 1, 4, 1, 5]]), 1, "mix")
    shown = attribution(found)
    assert isinstance(shown, Stack)
    (tokens,) = [v.views[0] for v in shown.views if isinstance(v, Stack) and isinstance(v.views[0], Tokens)]
    assert tokens.tokens == ("3", "1", "4", "1", "5")
    torch.testing.assert_close(torch.tensor(tokens.values), found.values[0, :, 0])


def test_neurons_are_shown_as_bars_and_the_report_says_where() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(60, 7), nn.ReLU(), nn.Linear(7, 3))
    found = METHODS["input_x_gradient"](net, picture(0, 1), 1, "2")
    page = markup(attribution(found))
    assert "What each column contributes" in page and "at the inner site 2" in page
    assert "at=&#x27;2&#x27;" in page or "at='2'" in page or "at=&#39;2&#39;" in page


def test_the_card_removes_what_is_at_the_site() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 64, 3))
    x = torch.randn(2, 2, 8, 8, generator=torch.Generator().manual_seed(1))
    found = pl.explain(net, x, pl.logit((1, 2)), method="input_x_gradient", at="1")
    named = {check.name: check for check in found.checks}
    # what lies behind is linear, so the map says what removing does (up to what is filled in)
    assert named["faithfulness"].value > 0.5 and "the value at 1" in named["faithfulness"].why
    assert named["stability"].value == named["stability"].value and named["randomization"].value < 0.95
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4] = True
    (where,) = [c for c in pl.check(found, mask=mask).checks if c.name == "localization"]
    assert where.verdict is pl.Verdict.UNKNOWN and "not of the marked picture" in where.why


def test_methods_are_compared_at_a_site() -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * 64, 3))
    found = pl.compare(net, torch.randn(1, 2, 8, 8), 1, at="1", methods=["saliency", "input_x_gradient"])
    assert {e.at for e in found.explanations} == {"1"} and not found.skipped
    assert pl.explain(net, torch.randn(1, 2, 8, 8), 1, at="1").at == "1"


@pytest.mark.parametrize("command", [["explain", "--method"], ["compare", "--methods"]], ids=str)
def test_the_command_line_hands_the_site_on(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    photo = Path(__file__).parent.parent / "examples" / "cat.jpg"
    assert main([command[0], str(photo), command[1], "saliency", "--at", "nowhere"]) != 0
    assert "There is no module at 'nowhere'" in capsys.readouterr().err
