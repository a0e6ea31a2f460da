"""Outlines, limits and their words: what a heat map says of its own numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pellucid.views.heat import described, heat_of, limits_of, statement
from pellucid.views.number import number, percent
from pellucid.views.outline import contour, level_of, outlines


def bump(height: int, width: int, y: float, x: float, sigma: float) -> np.ndarray:
    rows, columns = np.indices((height, width)) + 0.5
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))


def area(line: list | tuple) -> float:
    """The area that a closed line encloses (the shoelace formula)."""
    x, y = np.array(line).T
    return abs(float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2


def test_the_outline_of_a_gaussian_is_the_circle_that_holds_the_mass():
    # Of a Gaussian, the disc of radius r holds 1 - exp(-r^2 / 2 sigma^2): its area is -2 pi sigma^2 log(1 - mass).
    sigma = 9.0
    found, block = outlines(bump(96, 96, 50.31, 44.17, sigma))
    assert block == 1
    for outline in found:
        (line,) = outline.lines
        assert line[0] == line[-1]
        assert area(line) == pytest.approx(-2 * np.pi * sigma**2 * np.log(1 - outline.mass), rel=0.03)
        assert np.mean(line[1:], 0) == pytest.approx((44.17, 50.31), abs=0.2)


def test_the_outline_of_a_block_runs_around_its_pixels():
    field = np.zeros((8, 8))
    field[2:5, 3:7] = 1
    (line,) = contour(field, 0.5)
    x, y = np.array(line).T
    assert (x.min(), x.max(), y.min(), y.max()) == pytest.approx((3, 7, 2, 5))
    assert area(line) == pytest.approx(12 - 4 * 0.125)  # The corners are cut at half a pixel.


@given(st.integers(4, 12), st.integers(4, 12), st.integers(0, 999), st.floats(0.05, 0.95))
def test_contours_close_and_part_what_is_above_from_what_is_below(height, width, seed, level):
    field = torch.rand(height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).numpy()
    lines = contour(field, level)
    assert all(line[0] == line[-1] for line in lines)
    crossings = np.zeros(field.shape, int)
    for line in lines:
        for (x0, y0), (x1, y1) in pairwise(line):
            for row in range(height):
                y = row + 0.5 + 1e-9  # A ray to the right from each pixel's center: inside if it crosses an odd number.
                if (y0 > y) != (y1 > y):
                    at = x0 + (x1 - x0) * (y - y0) / (y1 - y0)
                    crossings[row] += np.arange(width) + 0.5 < at
    clear = np.abs(field - level) > 1e-6
    assert np.array_equal((crossings % 2 == 1)[clear], (field >= level)[clear])


@given(st.lists(st.floats(0.01, 9), min_size=1, max_size=30), st.floats(0.01, 0.99))
def test_the_level_is_the_highest_that_holds_the_mass(values, mass):
    field = np.array(values)
    level = level_of(field, mass)
    assert field[field >= level].sum() >= mass * field.sum() * (1 - 1e-9)
    assert field[field > level].sum() < mass * field.sum() * (1 + 1e-9)


def test_scattered_maps_are_averaged_and_say_so():
    noise = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).numpy()
    noise[20:40, 20:40] *= 6
    heat = heat_of(noise, True)
    assert heat.outlines
    assert sum(len(o.lines) for o in heat.outlines) <= 14
    assert "after averaging over" in heat.caption
    for outline in heat.outlines:
        assert np.array([p for line in outline.lines for p in line]).mean(0) == pytest.approx((30, 30), abs=6)


def test_nothing_is_outlined_where_nothing_stands_out():
    for values in (np.zeros((9, 9)), np.ones((9, 9)), np.full((9, 9), np.nan), np.ones((2, 9))):
        assert outlines(values)[0] == ()


# Limits and their words.


@given(st.integers(0, 99), st.integers(5, 60), st.booleans())
def test_the_limits_hold_all_but_half_a_percent(seed, side, signed):
    values = torch.randn(side, side, generator=torch.Generator().manual_seed(seed)).numpy()
    values = values if signed else np.abs(values)
    low, high = limits_of(values, signed)
    assert low == (-high if signed else 0)
    assert (np.abs(values) > high).mean() <= (0.005 + 1 / values.size if values.size >= 1000 else 0)


def test_the_statement_tells_limits_clipping_and_maximum():
    values = np.linspace(-1, 1, 10_000).reshape(100, 100)
    values[0, 0] = 31.0
    limits = limits_of(values, True)
    said = statement(values, limits, True)
    share = (np.abs(values) > limits[1]).mean()
    assert said == (
        f"Limits ±{number(limits[1])}; the strongest {percent(share)} of pixels are clipped to the end colors. "
        "Zero is the neutral color. max |a| = 31."
    )
    assert percent(share) == "0.5 %"


def test_a_zero_map_says_that_nothing_was_found():
    assert "zero everywhere" in statement(np.zeros((5, 5)), (0.0, 0.0), True)
    assert heat_of(np.zeros((5, 5)), True).alt == "Heat map: zero everywhere."


@pytest.mark.parametrize(("y", "x", "place"), [(5, 5, "upper left"), (20, 20, "center"), (35, 20, "lower middle")])
def test_the_words_for_a_map_tell_where_it_is_strong(y, x, place):
    assert f"strongest at the {place};" in described(bump(40, 40, y, x, 3), False)


@given(st.floats(-1e9, 1e9))
def test_numbers_keep_three_digits(value):
    read = float(number(value).replace("−", "-").replace(" ", ""))
    assert read == pytest.approx(value, rel=0.00501, abs=0)


@given(st.floats(0, 1))
def test_percentages_never_claim_none_or_all(value):
    shown = percent(value)
    assert (shown == "0 %") == (value == 0)
    assert (shown == "100 %") == (100 * value >= 100)
