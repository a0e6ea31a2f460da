"""Colors: from numbers to pixels, exactly, in every renderer."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from pellucid.render import colormap, raster
from pellucid.render.html import markup
from pellucid.render.png import png
from pellucid.render.svg import svg
from pellucid.views.view import (
    Heat,
)  # fmt: skip


@pytest.mark.parametrize("name", ["inferno", "viridis", "grey"])
def test_sequential_colors_get_lighter_all_the_way(name):
    lightness = rgb2lab(colormap.table(name)[None])[0, :, 0]
    assert np.all(np.diff(lightness) > -0.2)
    # As even as 8 bits allow: no part of the scale is told apart three times better than another.
    steps = np.diff(lightness[::17])
    assert steps.max() < 3 * steps.min()


@pytest.mark.parametrize(("name", "toward_center"), [("vik", 1), ("berlin", -1)])
def test_diverging_colors_are_symmetric_around_a_neutral_center(name, toward_center):
    lab = rgb2lab(colormap.table(name)[None])[0]
    rise = np.diff(lab[:, 0]) * toward_center
    assert np.all(rise[:120] > -0.3)
    assert np.all(rise[-120:] < 0.3)
    assert np.hypot(*lab[colormap.NEUTRAL, 1:]) < 10
    assert abs(lab[0, 0] - lab[-1, 0]) < 12
    assert lab[0, 2] < -10 < 0 < lab[-1, 1]  # Blue below zero, red above.


@pytest.mark.parametrize("name", ["inferno", "viridis"])
def test_tables_are_those_of_matplotlib(name):
    matplotlib = pytest.importorskip("matplotlib")
    peer = matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255
    at = np.linspace(0, 255, 255)
    expected = np.stack([np.interp(at, np.arange(256), peer[:, c]) for c in range(3)], 1)
    assert np.abs(colormap.table(name) - expected).max() <= 1


def test_vik_is_crameris():
    # The first and last rows of vik.txt, and the mean of rows 127 and 128, as published (times 255).
    assert colormap.table("vik")[0].tolist() == [0, 18, 97]
    assert np.abs(colormap.table("vik")[127] - np.array([235.7, 229.2, 225.2])).max() <= 1


@given(st.floats(-1e30, 1e30), st.floats(1e-30, 1e30))
def test_zero_is_neutral_whatever_the_limits(value, reach):
    values = np.array([0.0, value, -value])
    chosen = colormap.levels(values, (-reach, reach)).astype(int)
    assert chosen[0] == colormap.NEUTRAL
    assert abs((chosen[1] - 127) + (chosen[2] - 127)) <= 1


GRID = np.array([[-1.0, -0.5, 0.0], [0.5, 1.0, 9.0], [np.nan, -9.0, 0.25]])
EXPECTED = [[0, 64, 127], [191, 254, 254], [-1, 0, 159]]


def pictures(text: str) -> list[np.ndarray]:
    data = re.findall(r'href="data:image/png;base64,([^"]+)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(d))).convert("RGB")) for d in data]


@pytest.mark.parametrize(("place", "name"), [(0, "vik"), (1, "berlin")])
def test_every_cell_of_a_map_has_exactly_its_color_in_html(place, name):
    shown = pictures(markup(Heat(GRID, (-1.0, 1.0), True, smooth=False)))[place]
    assert shown.shape == (3, 3, 3)
    table = colormap.table(name)
    for row, column in np.ndindex(3, 3):
        level = EXPECTED[row][column]
        void = colormap.VOID["light" if name == "vik" else "dark"]
        assert shown[row, column].tolist() == (list(void) if level < 0 else table[level].tolist())


@pytest.mark.parametrize("render", ["png", "svg"])
def test_every_cell_has_exactly_its_color_in_pictures(render):
    heat = Heat(GRID, (-1.0, 1.0), True, smooth=False)
    if render == "svg":
        shown = pictures(svg(heat))[0]
        cells = shown
    else:
        sheet = np.asarray(Image.open(io.BytesIO(png(heat, width=364, scale=1.0))).convert("RGB"))
        cells = sheet[32 + 50 : 332 : 100, 32 + 50 : 332 : 100]
    assert cells[0, 2].tolist() == colormap.table("vik")[127].tolist()
    assert cells[1, 1].tolist() == colormap.table("vik")[254].tolist()
    assert cells[2, 1].tolist() == colormap.table("vik")[0].tolist()


def test_a_positive_map_takes_inferno_from_its_lower_limit():
    shown = pictures(markup(Heat(np.array([[0.0, 2.0]]), (0.0, 2.0), False, smooth=False)))[0]
    assert shown[0].tolist() == [colormap.table("inferno")[0].tolist(), colormap.table("inferno")[254].tolist()]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("signed", [True, False])
def test_where_the_map_is_zero_only_the_photo_is_seen(theme, signed):
    ground = np.arange(256, dtype=np.uint8).reshape(16, 16)
    heat = Heat(np.zeros((16, 16)), (-1.0 if signed else 0.0, 1.0), signed, underlay=ground)
    shown = raster.laid_over(heat, ground, theme)
    assert np.all(shown[..., 0] == shown[..., 1])
    assert np.all(shown[..., 1] == shown[..., 2])
    assert np.all(np.diff(shown[..., 0].ravel().astype(int)) >= 0)
    assert np.ptp(shown) > 100


def test_a_zero_map_is_drawn_neutral_not_as_noise():
    for signed, level in ((True, 127), (False, 0)):
        shown = colormap.colors(np.zeros((2, 2)), (0.0, 0.0), signed)
        name = colormap.name_for(signed, "light")
        assert (shown == colormap.table(name)[level]).all()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_enlarging_is_bilinear_between_cell_centers(height, width, tall, wide, seed):
    values = torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    peer = torch.nn.functional.interpolate(values, (tall, wide), mode="bilinear", align_corners=False)
    assert np.allclose(raster.enlarged(values[0, 0].numpy(), tall, wide, smooth=True), peer[0, 0].numpy(), atol=1e-12)


def test_png_bytes_keep_every_pixel():
    generator = torch.Generator().manual_seed(0)
    many = torch.randint(0, 256, (40, 30, 3), generator=generator, dtype=torch.uint8).numpy()
    few = many // 128 * 127
    for pixels in (many, few, many[..., 0]):
        back = Image.open(io.BytesIO(raster.png(pixels)))
        assert back.info == {}
        assert np.array_equal(np.asarray(back.convert("RGB" if pixels.ndim == 3 else "L")), pixels)


@pytest.mark.parametrize("signed", [True, False])
def test_a_map_over_its_photo_is_stored_small_and_close(signed):
    values = torch.randn(120, 120, generator=torch.Generator().manual_seed(0)).numpy()
    ground = (np.add.outer(np.arange(120), np.arange(120)) % 239).astype(np.uint8)
    pixels = raster.laid_over(Heat(values, (-2.0 if signed else 0.0, 2.0), signed, underlay=ground), ground)
    stored = raster.jpeg(pixels)
    back = np.asarray(Image.open(io.BytesIO(stored)).convert("RGB")).astype(int)
    assert len(stored) < 0.6 * len(raster.png(pixels))
    assert np.abs(back - pixels).mean() < 8
