"""The copies in a report are the ones that the network was shown, and a dot is where its two numbers are."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput
from pellucid.core.explanation import Explanation
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.render.html import markup, page
from pellucid.render.json import json
from pellucid.render.svg import svg
from pellucid.render.terminal import terminal
from pellucid.trials import copies as copies_file
from pellucid.trials.copies import copies_of
from pellucid.views import probes
from pellucid.views.attribution import attribution, figure
from pellucid.views.probes import copies_view, fitted, ran_fold
from pellucid.views.trust import card_of, ruler_of, trust_view, verdict_of
from pellucid.views.view import Curve, Fold, Scatter, Sheet, Text, View

faithfulness = pl.checks.faithfulness


class Watched(nn.Module):
    """A network that keeps what it was shown; all copies of it write into one list."""

    seen: ClassVar[list[Tensor]] = []

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        self.seen.extend(x.detach().clone())
        return self.inner(x)


def net_of(channels: int = 3) -> Network:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(channels, 6, 5, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 4)
    )
    return Network(Watched(model.eval()))


def picture(count: int = 1, height: int = 32, width: int = 32, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(2))


def all_of(view: object, kind: type) -> list:
    found = [view] if isinstance(view, kind) else []
    for field in fields(view) if is_dataclass(view) else ():
        value = getattr(view, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            found += all_of(item, kind) if is_dataclass(item) else []
    return found


def cells(sheet: Sheet) -> list[np.ndarray]:
    grid = sheet.pixels.reshape(sheet.rows, sheet.height, sheet.columns, sheet.width, 3).swapaxes(1, 2)
    return list(grid.reshape(-1, sheet.height, sheet.width, 3)[: sheet.count])


def log_odds(net: Network, x: Tensor, which: int) -> Tensor:
    scores = net.model.inner(x).double()
    others = torch.cat([scores[:, :which], scores[:, which + 1 :]], 1)
    return scores[:, which] - others.logsumexp(1)


# The pictures.


@pytest.mark.parametrize(("height", "width", "block"), [(32, 32, 1), (96, 128, 2)])
def test_each_dot_has_the_picture_that_the_network_was_shown_and_the_fall_that_it_caused(height, width, block):
    net, x = net_of(), picture(height=height, width=width)
    why = pl.methods.input_x_gradient(net, x, 1)
    Watched.seen.clear()
    view = copies_view(faithfulness(why, count=32), why)
    shown = torch.stack(Watched.seen)
    small = shown.unflatten(2, (-1, block)).unflatten(4, (-1, block)).mean((3, 5)).permute(0, 2, 3, 1)
    falls = (log_odds(net, x, 1) - log_odds(net, shown, 1)).tolist()
    taken = []
    assert view.sheet is not None
    assert view.sheet.count == len(view.x) == 32
    for picture_shown, fall in zip(cells(view.sheet), view.y, strict=True):
        far = (small * 255 - torch.from_numpy(picture_shown.astype(np.float32))).abs().amax((1, 2, 3))
        (at,) = (far <= 0.501).nonzero().flatten().tolist()
        assert fall == pytest.approx(falls[at], abs=1e-5)
        taken.append(at)
    assert taken == sorted(set(taken))  # all different, in the order in which they were run


def test_prepared_values_are_turned_back_to_colors():
    net, preparation = net_of(), Preparation(32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))
    net = Network(net.model, preparation=preparation)
    why = pl.methods.input_x_gradient(net, preparation.normalize(picture()), 1)
    check = faithfulness(why, count=16)
    sheet = copies_view(check, why).sheet
    assert sheet is not None
    copies = copies_of(why, check)
    assert copies is not None
    kept = ~copies.masks[3]
    expected = (picture()[0] * 255).round().permute(1, 2, 0).byte()
    assert torch.equal(torch.from_numpy(cells(sheet)[3])[kept], expected[kept])


def test_all_copies_of_values_without_colors_share_one_scale():
    why = pl.methods.input_x_gradient(net_of(1), 5 * picture(channels=1) - 3, 1)
    check = faithfulness(why, count=16)
    copies, sheet = copies_of(why, check), copies_view(check, why).sheet
    assert copies is not None
    assert sheet is not None
    low, high = float(copies.original.min()), float(copies.original.max())
    for copy, drawn in zip(copies.made(), cells(sheet), strict=True):
        assert np.abs((copy[0, 0].numpy() - low) / (high - low) * 255 - drawn[..., 0]).max() <= 0.51


def test_a_loaded_explanation_makes_the_same_pictures_without_its_network(tmp_path: Path):
    why = pl.methods.input_x_gradient(net_of(), picture(2), 1)
    why = why.with_checks((faithfulness(why, count=40),))
    loaded = pl.load(why.save(tmp_path / "why.pellucid"))
    assert loaded.net is None
    ours, theirs = copies_view(why.checks[0], why), copies_view(loaded.checks[0], loaded)
    assert ours.sheet is not None
    assert theirs.sheet is not None
    assert np.array_equal(ours.sheet.pixels, theirs.sheet.pixels)
    assert f"of sample {why.checks[0].facts['sample'] + 1} " in theirs.caption


def test_copies_that_were_added_later_have_their_pictures_too():
    x, weight = picture() / 4, torch.zeros(2, 3, 32, 32)
    x[..., 6:20, 6:20] += 0.7
    weight[1, :, 6:20, 6:20] = 0.02
    model = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2))
    model[1].load_state_dict({"weight": weight.flatten(1), "bias": torch.tensor([0.0, -6.0])})
    why = pl.methods.input_x_gradient(Watched(model), x, 1)
    Watched.seen.clear()
    check = faithfulness(why, count=16, most=80, within=0.001)
    assert len(check.curves[0][1]) == 80
    sheet = copies_view(check, why).sheet
    assert sheet is not None
    last = torch.from_numpy(cells(sheet)[-1]).permute(2, 0, 1) / 255
    assert float((Watched.seen[-1] - last).abs().max()) <= 0.51 / 255


def test_pictures_that_cannot_be_made_again_are_not_made_up():
    why = pl.methods.input_x_gradient(net_of(), picture(), 1)
    check = faithfulness(why, count=32)
    assert copies_of(why, check) is not None
    for facts in ({"seed": 7}, {"area": 0.5}, {"area": 7.0}, {"sample": 1}, {"sample": -1}, {"seed": "0"}):
        assert copies_of(why, replace(check, facts={**check.facts, **facts})) is None
    assert copies_of(why, replace(check, facts={})) is None
    assert copies_of(why, replace(check, curves=())) is None
    other = pl.methods.input_x_gradient(why.net, picture() + 0.01, 1)
    assert copies_of(other, check) is None
    another_map = pl.methods.saliency(why.net, picture(), 1)
    assert copies_of(another_map, check) is None
    view = copies_view(replace(check, facts={}), why)
    assert (view.sheet, len(view.x)) == (None, 32)


def test_an_inner_site_has_dots_and_no_pictures():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64, 3))
    why = pl.methods.input_x_gradient(model, picture(), 1, at="1")
    view = copies_view(faithfulness(why, count=32), why)
    assert (view.sheet, len(view.x)) == (None, 32)


def test_of_many_copies_the_first_have_pictures(monkeypatch):
    monkeypatch.setattr(probes, "MOST_PICTURES", 20)
    why = pl.methods.input_x_gradient(net_of(), picture(), 1)
    check = faithfulness(why, count=32)
    view = copies_view(check, why)
    assert view.sheet is not None
    assert (view.sheet.count, view.sheet.columns, view.sheet.rows, len(view.x)) == (20, 5, 4, 32)
    assert "Of the first 20 of 32 copies" in view.caption
    assert (markup(view).count("<input"), markup(view).count("<i ")) == (32, 20)
    monkeypatch.setattr(copies_file, "MOST_PLACES", 5 * 32 * 32)
    few = copies_view(check, why).sheet
    assert few is not None
    assert few.count == 5
    assert np.array_equal(np.stack(cells(few)), np.stack(cells(view.sheet)[:5]))


def hidden(word: str) -> list[str]:
    return word.partition(" without ")[2].split(", ")


def test_of_a_table_the_hidden_columns_are_named():
    x = torch.arange(1.0, 10.0)[None]
    why = pl.methods.input_x_gradient(Watched(nn.Linear(9, 2)), x, 1)
    why = replace(why, facts={**why.facts, "columns": ("age", "height")})
    Watched.seen.clear()
    view = copies_view(faithfulness(why, count=32), why)
    names = ["age", "height", *(f"column {i}" for i in range(2, 9))]
    shown = [[name for name, v in zip(names, copy.tolist(), strict=True) if v == 0] for copy in Watched.seen]
    assert all(hidden(word) in shown for word in view.words)
    assert len({word.partition(" without ")[2] for word in view.words}) > 10
    assert view.sheet is None


def test_of_a_text_the_hidden_words_are_named_where_the_network_is_at_hand(tmp_path: Path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(40, 4), nn.Flatten(), nn.Linear(80, 3))
    ids = torch.randperm(40, generator=torch.Generator().manual_seed(1))[:20][None]
    why = pl.methods.input_x_gradient(model, ids, 0)
    why = replace(why, facts={**why.facts, "tokens": tuple(f"<{i}>" for i in ids[0].tolist())})
    why = why.with_checks((faithfulness(why, count=32),))
    view, copies = copies_view(why.checks[0], why), copies_of(why, why.checks[0])
    assert copies is not None
    for word, mask in zip(view.words, copies.masks, strict=True):
        assert hidden(word) == [f"<{i}>" for i in ids[0][mask].tolist()]
    loaded = pl.load(why.save(tmp_path / "why.pellucid"))
    assert copies_view(loaded.checks[0], loaded).words[0] == "Copy 1"


# The plot.


@pytest.fixture(scope="module")
def why() -> Explanation:
    found = pl.methods.input_x_gradient(net_of(), picture(), 1)
    return found.with_checks((faithfulness(found, count=48),))


def test_a_report_has_a_dot_for_each_probe_and_a_figure_has_none(why):
    view = attribution(why)
    (scatter,) = all_of(view, Scatter)
    assert np.array_equal(scatter.x, why.checks[0].curves[0][1])
    assert np.array_equal(scatter.y, why.checks[0].curves[1][1])
    assert np.corrcoef(scatter.x, scatter.y)[0, 1] == pytest.approx(why.checks[0].value)
    assert any(fold.title == "Every masked copy that was shown to the network" for fold in all_of(view, Fold))
    assert not all_of(figure(why), Scatter)
    assert "log-odds" in scatter.y_name
    score = pl.methods.input_x_gradient(why.net, why.x, pl.logit(1) - pl.logit(2))
    assert "(score)" in copies_view(faithfulness(score, count=16), score).y_name


def test_the_line_is_the_least_squares_line(why):
    (scatter,) = all_of(attribution(why), Scatter)
    assert scatter.line == pytest.approx(tuple(np.polyfit(scatter.x, scatter.y, 1)[::-1]))
    assert fitted(np.array([1.0, 1.0]), np.array([0.0, 1.0])) is None


def test_buttons_lie_on_their_dots_and_show_their_own_picture_and_numbers(why):
    (scatter,) = all_of(attribution(why), Scatter)
    text = markup(scatter)
    frame = [float(v) for v in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()]
    dots = {(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', text)}
    assert len(dots) == text.count('type="radio"') == 48
    (stored,) = re.findall(r"url\(data:image/jpeg;base64,([A-Za-z0-9+/=]+)\)", text)
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(stored)))).astype(int)
    assert scatter.sheet is not None
    assert sheet.shape == scatter.sheet.pixels.shape
    across, down = scatter.sheet.columns, scatter.sheet.rows
    assert f"--grid:{across}00% {down}00%" in text
    pictures, height, width = np.stack(cells(scatter.sheet)).astype(int), scatter.sheet.height, scatter.sheet.width
    for label in re.findall(r"<label>.*?</label>", text):
        x, y = (float(v) for v in re.search(r"--x:([\d.]+);--y:([\d.]+)", label).groups())
        assert min(np.hypot(x * frame[0] - a, y * frame[1] - b) for a, b in dots) < 0.1
        number = int(re.search(r"<b>Copy (\d+)</b>", label)[1]) - 1
        right, below = (float(v) for v in re.search(r"background-position:([\d.]+)% ([\d.]+)%", label).groups())
        column, row = round(right / 100 * (across - 1)), round(below / 100 * (down - 1))
        cell = sheet[row * height : (row + 1) * height, column * width : (column + 1) * width]
        assert int(np.abs(pictures - cell).mean((1, 2, 3)).argmin()) == number
        said = [v.replace("−", "-") for v in re.findall(r": ([+−]?[\d.e−]+)</span>", label)]
        assert [float(v) for v in said] == pytest.approx([scatter.x[number], scatter.y[number]], rel=0.006)


def test_right_is_more_and_up_is_more():
    view = Scatter(np.array([0.0, 1.0, 2.0]), np.array([0.0, 5.0, np.nan]))
    (low, high) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg(view))
    assert float(high[0]) > float(low[0])
    assert float(high[1]) < float(low[1])
    assert markup(view).count("<label>") == 2
    top, *_, bottom = [line for line in terminal(view).split("\n") if line.startswith("│")]
    assert top.rstrip("│ ")
    assert bottom.startswith("│@")
    assert len(top) > len(bottom)


def test_a_page_stays_quiet_and_small_with_many_noisy_copies():
    noise = torch.randint(0, 256, (16 * 64, 16 * 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    points = torch.randn(2, 4096, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    words = tuple(f"Copy {i}" for i in range(4096))
    view = Scatter(*points, "evidence removed", "fall", "", "", (0.0, 1.0), words, Sheet(noise.numpy(), 64, 64, 256))
    text = page(view, "t")
    assert len(text.encode()) < 1_900_000
    few = Scatter(*points[:, :256], "evidence removed", "fall", sheet=view.sheet)
    assert len(markup(few).encode()) < 700_000
    assert text.count("data:image") == 1
    assert not re.search(r"<script| on[a-z]+=|https?://", text)
    assert "pixels" not in json(few)["sheet"]


def test_sheets_and_scatters_that_do_not_fit_are_refused():
    grid = np.zeros((8, 12, 3), np.uint8)
    for wrong in ((grid[..., 0], 4, 4, 1), (grid, 5, 4, 1), (grid, 4, 5, 1), (grid, 4, 4, 7), (grid, 4, 4, 0)):
        with pytest.raises(BadInput):
            Sheet(*wrong)
    with pytest.raises(BadInput):
        Scatter(np.zeros(3), np.zeros(2))
    with pytest.raises(BadInput):
        Scatter(np.zeros(3), np.zeros(3), words=("a",))
    with pytest.raises(BadInput):
        Scatter(np.zeros(3), np.zeros(3), sheet=Sheet(grid, 4, 4, 6))


# Other checks.


def measured(curves: tuple, name: str = "deletion") -> Check:
    return Check(name, -3.2, Verdict.MEASURED, "It fell.", curves=curves, passes=200, seconds=4.2)


def test_lists_are_drawn_as_lines_over_the_first():
    fold = ran_fold(measured((("places", (0.0, 2.0, 4.0)), ("map", (6.0, 3.0, 1.0)), ("random", (6.0, 5.0, 2.0)))))
    assert fold is not None
    curve = fold.child
    assert isinstance(curve, Curve)
    assert [s.name for s in curve.series] == ["map", "random"]
    assert all(s.x.tolist() == [0, 2, 4] for s in curve.series)
    assert (curve.series[1].y.tolist(), curve.x_name) == ([6, 5, 2], "places")


def test_of_lists_of_unequal_length_the_first_two_are_drawn():
    alarms, found = (0.0, 1.0, 4.0), (0.2, 0.5, 0.9)
    fold = ran_fold(measured((("false alarms", alarms), ("share found", found), ("rate", (0.5,))), "free_response"))
    assert fold is not None
    assert isinstance(fold.child, Curve)
    assert [(s.x.tolist(), s.y.tolist()) for s in fold.child.series] == [(list(alarms), list(found))]
    assert (fold.child.x_name, fold.child.y_name) == ("false alarms", "share found")


def test_lists_without_an_order_are_drawn_as_dots():
    fold = ran_fold(measured((("predicted", (0.0, 2.0, 1.0)), ("drop", (1.0, 5.0, 3.0))), "infidelity"))
    assert fold is not None
    assert isinstance(fold.child, Scatter)
    assert (fold.child.x_name, fold.child.y_name, fold.child.line) == ("predicted", "drop", (1.0, 2.0))


@pytest.mark.parametrize(
    "curves",
    [
        (),
        (("share", (1.0, 2.0)),),
        (("share", (1.0, 2.0)), ("left", (1.0,))),
        (("share", (1.0,)), ("left", (1.0,))),
        (("map removed", (float("nan"),) * 2), ("drop", (1.0, 2.0))),
    ],
)
def test_what_cannot_be_drawn_is_left_out(curves):
    assert ran_fold(measured(curves)) is None
    assert ran_fold(measured(curves, "faithfulness")) is None


def test_a_measured_number_is_neither_good_nor_bad():
    check = measured(())
    assert verdict_of(check) == ("Measured", "unknown", "It fell.")
    ruler = ruler_of(check)
    assert ruler is not None
    assert ruler.limits == (-3.2, 1.0)
    assert card_of(measured((), "new_check")).name == "New check"


def test_references_in_another_unit_are_left_off_the_ruler():
    gain = replace(measured((), "pixel_flipping"), value=4.0, references=(("random", 0.5), ("R-OMS", 0.7)))
    ruler = ruler_of(gain)
    assert ruler is not None
    assert (ruler.ticks, ruler.limits) == ((("random", 0.5),), (0.0, 4.0))


def test_every_measure_has_a_question_or_its_title():
    for name, made in pl.checks.all_checks().items():
        asked = card_of(Check(name, 0.5, Verdict.MEASURED, "It is.")).name
        assert asked == made.title or asked.endswith("?")


def test_the_card_tells_time_and_passes():
    def said(view: View) -> str:
        return next(t.text for t in all_of(view, Text) if t.kind == "quiet")

    assert "The tests took 8.4 s and 400 passes." in said(trust_view((measured(()), measured(()))))
    assert "took" not in said(trust_view((replace(measured(()), passes=0, seconds=0.0),)))
