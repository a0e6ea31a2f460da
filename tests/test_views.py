"""What a report says is true: limits, clipping, resolution, areas, verdicts; and it names no place and no person."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.check import Check, Verdict
from pellucid.core.explanation import Explanation
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.render.html import page
from pellucid.render.png import png
from pellucid.render.terminal import terminal
from pellucid.views.attribution import attribution, figure
from pellucid.views.comparison import comparison
from pellucid.views.methods import method_view, methods_view
from pellucid.views.number import percent
from pellucid.views.picture import cells_of, grey_of, photo_of
from pellucid.views.provenance import python_again, target_code
from pellucid.views.trust import card_of, ruler_of, verdict_of
from pellucid.views.view import Bars, Curve, Fold, Heading, Heat, Photo, Table, Text, Tokens, View


def parts(view: object):
    """The view and everything in it."""
    yield view
    for field in fields(view) if is_dataclass(view) else ():
        value = getattr(view, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if is_dataclass(item):
                yield from parts(item)


def all_of(view: View, kind: type) -> list:
    return [part for part in parts(view) if isinstance(part, kind)]


def words(view: View) -> str:
    return " ".join(text.text for text in parts(view) if isinstance(text, Text | Heading))


# Pictures.


def test_the_photo_is_what_the_network_saw():
    preparation = Preparation(8, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))
    pixels = torch.randint(0, 256, (3, 8, 8), generator=torch.Generator().manual_seed(1)).float() / 255
    net = Network(nn.Flatten(), preparation=preparation)
    photo = photo_of(net, preparation.normalize(pixels[None])[0])
    assert np.array_equal(photo.pixels, (pixels * 255).round().permute(1, 2, 0).byte().numpy())
    assert np.allclose(grey_of(photo), photo.pixels @ np.array([0.299, 0.587, 0.114]), atol=0.51)


def test_values_of_unknown_scale_are_stretched_and_the_caption_says_so():
    photo = photo_of(None, torch.tensor([[[-3.0, 1.0]]]))
    assert photo.pixels[0, :, 0].tolist() == [0, 255]
    assert "Values from −3 (dark) to 1 (bright)" in photo.caption


def test_true_cells_are_the_means_of_what_was_enlarged():
    cells = torch.arange(6.0).reshape(2, 3)
    large = cells.repeat_interleave(4, 0).repeat_interleave(5, 1).double()
    assert np.array_equal(cells_of(large, (2, 3)), cells.numpy())


# Cards.


def faithful(why: str, verdict: Verdict) -> Check:
    references = (("random", 0.2), ("edges", 0.3), ("center", 0.1), ("ceiling", 0.8))
    return Check("faithfulness", 0.6, verdict, why, 0.5, 0.7, references, seconds=1.5)


@pytest.mark.parametrize(
    ("why", "verdict", "word", "tone"),
    [
        ("Supported. It does.", Verdict.HOLDS, "Supported", "good"),
        ("Weak. It may.", Verdict.UNKNOWN, "Weak", "weak"),
        ("Not supported. No.", Verdict.FAILS, "Not supported", "bad"),
        ("Can't tell. Why not.", Verdict.UNKNOWN, "Can't tell", "unknown"),
        ("Not tested. No picture.", Verdict.UNKNOWN, "Can't tell", "unknown"),
    ],
)
def test_the_four_words_of_the_trust_card(why, verdict, word, tone):
    found = verdict_of(faithful(why, verdict))
    assert found[:2] == (word, tone)
    assert found[2] == (why if why.startswith("Not tested") else why.split(". ", 1)[1])


def test_the_ruler_shows_chance_and_references():
    ruler = ruler_of(faithful("Supported. It does.", Verdict.HOLDS))
    assert ruler is not None
    assert ruler.null == (0.0, 0.2)
    assert dict(ruler.ticks) == {"random": 0.2, "edges": 0.3, "center": 0.1, "best known": 0.8}
    assert ruler.limits == (0.0, 1.0)
    assert ruler_of(Check("stability", float("nan"), Verdict.UNKNOWN, "Not tested.")) is None


def test_a_ruler_has_one_unit():
    ruler = ruler_of(Check("randomization", 0.4, Verdict.HOLDS, "Fine.", references=(("change of entropy", 7.0),)))
    assert ruler is not None
    assert ruler.limits == (0.0, 1.0)
    assert ruler.ticks == (("alarm at", 0.95),)


def test_a_check_that_nobody_named_still_has_a_card():
    card = card_of(Check("new_check", 0.5, Verdict.FAILS, "It failed."))
    assert (card.name, card.verdict, card.tone, card.sentence) == ("New check", "Fails", "bad", "It failed.")


# Whole reports.


@pytest.fixture(scope="module")
def net() -> Network:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 7)
    )  # fmt: skip
    return Network(model.eval(), labels=[f"animal {i}" for i in range(7)], name="Small net")


def picture(count: int = 1, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(2))


def test_the_first_words_say_what_the_network_says(net):
    why = pl.methods.input_x_gradient(net, picture())
    logits = net.model(picture())[0].detach()
    top, share = int(logits.argmax()), float(logits.softmax(0).max())
    view = attribution(why)
    heading = all_of(view, Heading)[0]
    assert heading.text == f"Small net says: animal {top} ({top}), {percent(share)}"
    lead = next(t for t in all_of(view, Text) if t.kind == "lead").text
    assert lead.startswith("The map shows what raised (red) and what lowered (blue) that score")
    assert "Not tested" in lead
    bars = all_of(view, Bars)[0]
    assert [b.value for b in bars.bars] == pytest.approx(sorted(logits.softmax(0).tolist(), reverse=True)[:5], abs=1e-6)
    assert [b.strong for b in bars.bars] == [True, False, False, False, False]


def test_slopes_are_not_said_to_have_raised_anything(net):
    for method, said in (("guided_backprop", "where larger values would raise (red)"), ("saliency", "a small change")):
        shown = words(attribution(getattr(pl.methods, method)(net, picture())))
        assert said in shown and "what raised" not in shown and "slopes" in shown


def test_another_class_than_the_first_is_named(net):
    logits = net.model(picture())[0].detach()
    last = int(logits.argmin())
    lead = words(attribution(pl.methods.saliency(net, picture(), last)))
    assert f"animal {last} ({last}), which is not the network's first answer" in lead


def test_a_signed_map_is_summed_over_channels_and_symmetric(net):
    why = pl.methods.input_x_gradient(net, picture())
    over, bare = all_of(attribution(why), Heat)[:2]
    expected = why.maps["input"][0].double().sum(0).numpy()
    assert np.allclose(bare.values, expected)
    assert np.allclose(over.values, expected)
    assert bare.limits == over.limits
    assert bare.limits[0] == -bare.limits[1]
    assert over.underlay is not None
    assert "The 3 channels were summed" in bare.caption


def test_a_coarse_map_always_says_so_and_can_be_drawn_as_its_cells(net):
    why = pl.methods.grad_cam(net, picture())
    size = f"{why.resolution[0]}×{why.resolution[1]}"
    view = attribution(why)
    for heat in all_of(view, Heat):
        assert heat.resolution == why.resolution
    assert any(fold.title == f"The same map as its true {size} cells" for fold in all_of(view, Fold))
    drawn = all_of(attribution(why, cells=True), Heat)[1]
    assert drawn.values.shape == why.resolution
    assert not drawn.smooth
    for text in (page(view, "t"), terminal(view), terminal(attribution(why, cells=True))):
        assert f"rue resolution {size}" in text or f"Resolution {size}" in text


def test_of_several_samples_the_first_is_shown_and_others_are_folded(net):
    why = pl.methods.saliency(net, picture(11))
    view = attribution(why)
    folded = next(fold for fold in all_of(view, Fold) if fold.title.startswith("The other samples"))
    assert folded.title == "The other samples (10)"
    assert len(all_of(folded, Heat)) == 4
    assert "6 samples more" in words(folded)


def test_text_is_shown_as_its_tokens(net):
    model = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(20, 3))
    why = pl.methods.input_x_gradient(model, torch.tensor([[3, 1, 4, 1, 5]]), 0)
    named = replace(why, facts={"tokens": ("the", "cat", "<script>", "sat", "")})
    for found, expected in ((why, ("3", "1", "4", "1", "5")), (named, ("the", "cat", "<script>", "sat", ""))):
        (tokens,) = all_of(attribution(found), Tokens)
        assert tokens.tokens == expected
        assert np.allclose(tokens.values, why.maps["input"][0].sum(1))
    assert "<script>" not in page(attribution(named), "t")
    for shown in (named, pl.methods.saliency(net, picture())):
        assert "Can this map be trusted?" in page(attribution(shown), "t")


@pytest.mark.parametrize(
    ("model", "shape", "kind"),
    [
        (nn.Sequential(nn.Conv1d(2, 3, 5), nn.Flatten(), nn.Linear(84, 3)), (1, 2, 32), Curve),
        (nn.Sequential(nn.Linear(6, 3)), (1, 6), Bars),
        (nn.Sequential(nn.Flatten(), nn.Linear(2 * 4 * 5 * 6, 3)), (1, 2, 4, 5, 6), Heat),
        (nn.Sequential(nn.Flatten(), nn.Linear(2**6, 3)), (1, 2, 2, 2, 2, 2, 2), Table),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), (1, 1, 8, 8), Photo),
    ],
)
def test_every_kind_of_input_has_a_picture(model, shape, kind):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    why = pl.methods.input_x_gradient(model, x, 1)
    view = attribution(why)
    assert all_of(view, kind)
    assert page(view, "t")
    assert terminal(view)
    assert png(figure(why), scale=0.5)


def test_a_table_shows_its_strongest_columns_first():
    model = nn.Linear(40, 2)
    why = pl.methods.input_x_gradient(model, torch.randn(1, 40, generator=torch.Generator().manual_seed(4)), 0)
    bars = next(b for b in all_of(attribution(why), Bars) if b.caption.startswith("What each column"))
    expected = sorted(why.maps["input"][0].tolist(), key=abs, reverse=True)[:24]
    assert [b.value for b in bars.bars] == pytest.approx(expected)
    assert "the strongest 24 of 40" in bars.caption


def test_notes_stops_and_missing_rules_reach_the_reader(net):
    why = pl.methods.saliency(net, picture())
    marked = replace(why, notes=("Mind the gap.",), stopped="after 12 of 50", without_rule=("gelu",))
    text = page(attribution(marked), "t")
    stopped = "stopped after 12 of 50: the map is unfinished"
    for said in ("Mind the gap.", stopped, "Operations without a rule (1)", "gelu"):
        assert said in text


def test_a_report_names_no_path_and_no_person():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    secret = Network(model, source="/home/alice/patients/secret.onnx", name="net")
    why = pl.methods.saliency(secret, picture(side=8), 0)
    text = page(attribution(why), "t")
    for planted in ("alice", "patients", "/home"):
        assert planted not in text


def test_an_explanation_without_its_network_is_still_shown(net):
    why = replace(pl.methods.saliency(net, picture()), net=None, score=None, again=None, saved_fingerprint="abc")
    view = attribution(why)
    assert not all_of(view, Bars)
    assert page(view, "t")
    assert all_of(view, Heading)[0].text.startswith("Small net: logit of animal")


def test_a_large_noisy_report_stays_under_two_megabytes():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    why = pl.methods.input_x_gradient(Network(model), picture(9, 512))
    text = page(attribution(why), "t")
    assert len(text.encode()) < 2_000_000
    assert "True resolution 512×512, drawn at 288×288" in text


def test_a_comparison_of_all_methods_stays_under_two_megabytes():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    grainy = torch.linspace(0, 1, 224) + 0.1 * picture(9, 224)  # as a photograph is, with a map that is not
    why = checked(pl.methods.input_x_gradient(Network(model), grainy), "Weak", 0.3)
    text = page(comparison([why] * len(pl.methods.all_methods())), "t")
    assert text.count("<figure>") == len(pl.methods.all_methods()) + 1  # and where they disagree
    assert len(text.encode()) < 2_000_000


def test_the_python_makes_the_same_map_again(net):
    why = pl.methods.integrated_gradients(net, picture(), pl.logit(2) - pl.logit(3), steps=5)
    code = python_again(why)
    assert target_code(why.of) == "pl.logit(2) - pl.logit(3)"
    code = code.replace("pl.open(...)", "net0").replace("\nx = ...", "\nx = x0").replace('why.save("why.html")', "")
    room: dict[str, object] = {"net0": net, "x0": picture()}
    exec(code, room)  # noqa: S102  # our own text
    again = room["why"]
    assert isinstance(again, Explanation)
    assert torch.equal(again.maps["input"], why.maps["input"])


def checked(why: Explanation, word: str, value: float) -> Explanation:
    check = Check("faithfulness", value, Verdict.UNKNOWN, f"{word}. Said.", value - 0.1, value + 0.1)
    return why.with_checks((check,))


def test_a_comparison_keeps_the_order_and_names_the_scales(net):
    first = checked(pl.methods.saliency(net, picture()), "Supported", 0.7)
    second = checked(pl.methods.grad_cam(net, picture()), "Weak", 0.3)
    view = comparison((first, second), (("guided_backprop", "No <ReLU> here."),))
    table = all_of(view, Table)[0]
    assert [row[2] for row in table.rows] == [0.7, 0.3]
    assert [row[4] for row in table.rows] == ["Supported", "Weak"]
    assert table.rows[0][3] == "[0.6, 0.8]"
    assert "its own scale" in words(view)
    assert "No &lt;ReLU&gt; here." in page(view, "t")
    assert comparison(())


def test_methods_are_listed_with_their_options():
    found = (pl.methods.integrated_gradients, pl.methods.saliency)
    listed = page(methods_view(found), "Methods")
    assert all(part in listed for m in found for part in (m.name, m.paper, *(o.name for o in m.options)))
    options = all_of(method_view(found[0]), Table)[0]
    assert [row[0] for row in options.rows] == [o.name for o in found[0].options]
