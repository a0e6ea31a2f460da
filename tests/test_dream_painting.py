"""Ways to write a picture: what each promises of the pictures it makes, at any size, and of those it begins at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadOption
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.dream.painting.canvas import Canvas, canvas_of, canvas_under
from pellucid.dream.painting.painting import WAYS, parametrized, refuse_unsuited
from pellucid.dream.painting.parametrizations.color import bounded, unbounded
from pellucid.dream.painting.parametrizations.opacity import over
from pellucid.dream.painting.photographs import photographs, spectrum
from pellucid.dream.recipe import Recipe, knobs
from tests.networks import seeded

SIZES = [(16, 16), (9, 14), (13, 7), (11,), (32,), (5, 6, 7), (2, 2), (1, 8)]


def canvas(channels: int = 3, *size: int, dtype: torch.dtype = torch.float32) -> Canvas:
    x = torch.rand(2, channels, *size, generator=seeded(1), dtype=dtype)
    return canvas_of(Network(nn.Flatten()), x)


def generators(*seeds: int) -> Sequence[torch.Generator]:
    return [seeded(s) for s in seeds]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_paints_every_size_within_its_bounds(way: str, size: tuple[int, ...]) -> None:
    on, recipe = canvas(3, *size, dtype=torch.float64), Recipe(parametrization=way)
    made = parametrized(on, recipe, generators(1, 2))
    drawn = made.paint(made.start)
    assert drawn.shape == (2, 3, *size) and drawn.dtype == torch.float64
    assert bool(((drawn > 0) & (drawn < 1)).all())
    if way != "cppn":  # whose colors begin at the mean
        assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_frequencies_hold_their_contrast(size: tuple[int, ...]) -> None:
    on, recipe = canvas(2, *size), Recipe(contrast=0.6)
    made = WAYS["fourier"](on, recipe, generators(1, 2))
    for leaves in (made.start, {k: 7 * v + 1 for k, v in made.start.items()}):
        u = made.paint(leaves).flatten(1)
        assert torch.allclose(u.square().mean(1).sqrt(), torch.full((2,), 0.6), atol=1e-4)
        assert torch.allclose(u.mean(1), torch.zeros(2), atol=1e-5)


@pytest.mark.parametrize("decorrelated", [True, False])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("way", ["fourier", "phase", "laplacian", "pixels"])
def test_a_dream_begins_at_the_picture_it_was_given(way: str, size: tuple[int, ...], decorrelated: bool) -> None:
    on = canvas(3, *size, dtype=torch.float64)
    begins = 0.03 + 0.94 * torch.rand(2, 3, *size, generator=seeded(5), dtype=torch.float64)
    if size == (2, 2) and way == "phase":
        begins = begins.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    for turned in ({}, {"shared": 0.7}, {"contrast": 0.0} if way != "phase" else {}):
        recipe = Recipe(parametrization=way, decorrelated=decorrelated, **turned)
        made = parametrized(on, recipe, generators(1, 2), begins)
        assert torch.allclose(made.paint(made.start), begins, atol=1e-5)


def test_black_and_white_are_begun_at_within_the_stated_clipping() -> None:
    on = canvas(1, 8, 8)
    begins = (torch.arange(64).view(1, 1, 8, 8) % 2).float()
    made = parametrized(on, Recipe(parametrization="pixels"), generators(1), begins)
    assert torch.allclose(made.paint(made.start), begins.clamp(0.02, 0.98), atol=1e-6)


@pytest.mark.parametrize("way", ["fourier", "phase"])
def test_one_color_has_no_contrast_to_hold(way: str) -> None:
    with pytest.raises(BadInput, match="one color"):
        parametrized(canvas(3, 8, 8), Recipe(parametrization=way), generators(1), torch.full((1, 3, 8, 8), 0.3))
    grey = torch.full((1, 3, 8, 8), 0.3)
    made = parametrized(canvas(3, 8, 8), Recipe(parametrization="laplacian"), generators(1), grey)
    assert torch.allclose(made.paint(made.start), grey, atol=1e-5)


def test_a_pattern_network_begins_at_no_picture() -> None:
    with pytest.raises(BadOption, match="cannot begin at a picture"):
        parametrized(canvas(3, 8, 8), Recipe(parametrization="cppn"), generators(1), torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize("size", [(16, 16), (15, 22), (9, 9)], ids=str)
def test_phases_keep_the_amplitudes_of_photographs(size: tuple[int, int]) -> None:
    on = canvas(3, *size, dtype=torch.float64)
    made = WAYS["phase"](on, Recipe(parametrization="phase", contrast=1.0), generators(1))
    for leaves in (made.start, {k: 3 * v + 2 for k, v in made.start.items()}):
        found = torch.fft.rfft2(made.paint(leaves), norm="ortho").abs()[0]
        inner = slice(1, (size[1] + 1) // 2)  # but for the columns whose frequencies come in pairs
        assert torch.allclose(found[:, :, inner], spectrum(*size).double()[:, :, inner], atol=1e-6)


def test_a_spectrum_is_of_the_scene_and_not_of_the_pixels() -> None:
    """Twice the pixels on a side show the same scene: |FFT| (orthonormal) of the same cycles is twice as large."""
    small, large = spectrum(32, 32), spectrum(64, 64)
    assert torch.allclose(large[:, 1:12, 1:12], 2 * small[:, 1:12, 1:12], rtol=1e-4)
    tall = spectrum(48, 32)
    assert torch.allclose(tall[:, 1:12, 1:12], (48 * 32) ** 0.5 / 32 * small[:, 1:12, 1:12], rtol=1e-4)
    known = photographs()
    ring = int((known.cycles - 6).abs().argmin())
    if float(known.cycles[ring]) == 6:  # along the axes the table itself is read
        assert torch.allclose(spectrum(known.side, known.side)[:, 0, 6], known.amplitude[:, ring, 0], rtol=1e-4)


def test_mixing_and_unmixing_colors_are_inverses() -> None:
    on = canvas(3, 6, 7)
    u = 0.5 * torch.randn(2, 3, 6, 7, generator=seeded(2))
    for decorrelated in (True, False):
        assert torch.allclose(unbounded(bounded(u, on, decorrelated), on, decorrelated), u, atol=1e-3)
    known = photographs()
    colors = torch.sigmoid(torch.einsum("ij,njhw->nihw", known.mix, u) + known.mean[:, None, None])
    assert torch.allclose(bounded(u, on, True), colors, atol=1e-6)
    signal = canvas(3, 20)  # three channels, and no picture
    assert torch.equal(bounded(u[..., 0], signal, True), u[..., 0].sigmoid())


def test_opacity_is_composited_over_the_background() -> None:
    painted, background = torch.rand(2, 4, 5, 6, generator=seeded(1)), torch.rand(2, 3, 5, 6, generator=seeded(2))
    a = painted[:, 3:]
    assert torch.allclose(over(painted, background), a * painted[:, :3] + (1 - a) * background)
    made = parametrized(canvas(3, 9, 12), Recipe(opacity=True), generators(1, 2))
    drawn = made.paint(made.start)
    assert drawn.shape == (2, 4, 9, 12) and torch.allclose(drawn[:, 3], torch.tensor(0.5), atol=0.02)


def test_what_is_shared_is_one_part_for_all() -> None:
    made = parametrized(canvas(3, 16, 16), Recipe(shared=0.3, contrast=0.2), generators(1, 2, 3))
    assert len(made.start["common"]) == 1 and len(made.start["coefficients"]) == 3
    alone = WAYS["fourier"](canvas(3, 16, 16), Recipe(contrast=0.2), generators(1, 2, 3))
    on = canvas(3, 16, 16)
    common = unbounded(made.paint(made.start), on, True) - alone.paint(alone.start)
    assert torch.allclose(common[0], common[1], atol=0.02) and float(common[0].abs().max()) > 0.2


@pytest.mark.parametrize("way", WAYS)
def test_gradients_reach_every_leaf(way: str) -> None:
    made = parametrized(canvas(3, 12, 12), Recipe(parametrization=way, shared=0.5, opacity=True), generators(1))
    leaves = {k: v.detach().clone().requires_grad_() for k, v in made.start.items()}
    if way == "cppn":  # its colors begin at zero, which stops what is before them at the first step
        leaves["colors"] = torch.full_like(leaves["colors"], 0.1).requires_grad_()
    weights = torch.rand(1, 4, 12, 12, generator=seeded(9))
    (made.paint(leaves) * weights).sum().backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None and bool(leaf.grad.any()) and bool(leaf.grad.isfinite().all()), name


@pytest.mark.parametrize("way", ["fourier", "phase", "laplacian", "cppn"])
def test_ways_through_space_refuse_tables(way: str) -> None:
    with pytest.raises(BadOption, match=r"no space.*pixels"):
        parametrized(canvas(4), Recipe(parametrization=way), generators(1))


@pytest.mark.parametrize(
    "knobs",
    [{"shared": 1.0}, {"blur": 1.0}, {"total_variation": 1.0}, {"blur_each": 2}, {"bilateral_each": 1},
     {"small_norm": 5.0}, {"small_share": 5.0}, {"opacity": True}, {"spectrum": 1.0}],
    ids=str,
)  # fmt: skip
def test_knobs_that_mean_nothing_to_tables_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(BadOption, match=next(iter(knobs))):
        refuse_unsuited(Recipe(parametrization="pixels", **knobs), canvas(4))


def test_a_spectrum_wants_pictures_that_have_one() -> None:
    refuse_unsuited(Recipe(spectrum=1.0), canvas(3, 16, 20))
    for on in (canvas(3, 15, 30), canvas(3, 40), canvas(3, 20, 20, 20)):
        with pytest.raises(BadOption, match="spectrum"):
            refuse_unsuited(Recipe(spectrum=1.0), on)


def test_every_knob_says_what_it_is_and_refuses_what_it_cannot_be() -> None:
    for knob in knobs():
        assert knob.doc
        wrong = "none such" if knob.choices else -1 if knob.type is not bool else 3
        with pytest.raises(BadOption, match=knob.name):
            Recipe(**{knob.name: wrong})
    for given, words in (({"shrink": 3.0}, "above the largest"), ({"blur_each": 2}, "blur_each"), ({"hue": 1}, "hue")):
        with pytest.raises(BadOption, match=words):
            Recipe().but(**given)


def test_every_knob_is_read_somewhere() -> None:
    """No dead option: each is an attribute that some other file of the package asks for."""
    folder = Path(__file__).parent.parent / "src" / "pellucid" / "dream"
    text = "".join(p.read_text() for p in folder.rglob("*.py") if p.name != "recipe.py")
    named = ("total_variation", "l1", "l2", "lp", "spectrum")  # penalties, by name
    unread = [k.name for k in knobs() if f"recipe.{k.name}" not in text and k.name not in named]
    assert unread == []


def test_a_canvas_in_front_of_a_preparation_is_the_networks_own() -> None:
    """Not torchvision's for every network: (x - mean) / std of this one, channels turned round where it wants that."""
    p = Preparation(8, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), bgr=True)
    on = canvas_of(Network(nn.Conv2d(3, 1, 1), preparation=p), size=10)
    drawn = torch.rand(2, 3, 10, 10, generator=seeded(1))
    expected = ((drawn - Tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / Tensor([0.5, 0.6, 0.7]).view(3, 1, 1)).flip(1)
    assert torch.allclose(on.fed(drawn)["input"], expected) and on.size == (10, 10) and on.native == (8, 8)
    assert torch.allclose(on.drawn(expected), drawn, atol=1e-6)


@pytest.mark.parametrize("size", [0, -1, 1, 2.5, True, 100_000])
def test_sizes_that_are_none_are_refused(size: int) -> None:
    with pytest.raises(BadOption, match=f"size={size!r}: expected a whole number from 2"):
        canvas_of(Network(nn.Flatten()), torch.rand(1, 3, 8, 8), size)


def test_an_example_may_require_gradients() -> None:
    x = torch.rand(2, 3, 8, 8, requires_grad=True)
    on = canvas_of(Network(nn.Flatten()), x)
    assert not on.fed(torch.rand(1, 3, 8, 8))["input"].requires_grad and not on.drawn(x).requires_grad


def test_other_inputs_are_held_each_to_its_picture() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x

    x = {"x": torch.rand(2, 3, 8, 8), "y": torch.tensor([[1], [2]])}
    drawn = torch.rand(3, 3, 8, 8)
    assert canvas_of(Network(Two()), x).fed(drawn)["y"].tolist() == [[1], [1], [1]]
    under = canvas_under(Network(Two()), x)
    assert under.fed(drawn[:2])["y"].tolist() == [[1], [2]] and under.fed(drawn[:1])["y"].tolist() == [[1]]


def test_a_size_is_of_the_shorter_side() -> None:
    assert canvas_of(Network(nn.Flatten()), torch.rand(1, 3, 8, 16), 12).size == (12, 24)
    with pytest.raises(BadOption, match="no space"):
        canvas_of(Network(nn.Flatten()), torch.rand(2, 4), 12)


BAD_EXAMPLES = {
    "no numbers that can be dreamed": (torch.ones(2, 3, dtype=torch.long), "no floating input"),
    "one value": (torch.full((2, 3, 8, 8), 4.0), "4 everywhere"),
    "too many axes": (torch.rand(1, 2, 3, 3, 3, 3), "three axes"),
    "NaN": (torch.tensor([[float("nan"), 1.0]]), "NaN"),
}


@pytest.mark.parametrize("what", BAD_EXAMPLES)
def test_examples_that_say_nothing_are_refused(what: str) -> None:
    x, words = BAD_EXAMPLES[what]
    with pytest.raises(BadInput, match=words):
        canvas_of(Network(nn.Flatten()), x)
    with pytest.raises(BadInput, match="like=x"):
        canvas_of(Network(nn.Flatten()))
