"""Reports for screen readers and keyboards: headings in order, columns with names, wide tables reached by Tab."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

import pellucid as pl
from pellucid.render.html import MANY, markup
from pellucid.views.view import Table


def levels(path: Path) -> list[int]:
    """The levels of the headings of a page, in order."""
    return [int(level) for level in re.findall(r"<h(\d)>", path.read_text("utf-8"))]


def in_order(found: list[int]) -> bool:
    """Does a page begin at the top, and go down one level at a time (WCAG 1.3.1, H42)?"""
    return found[:1] == [1] and all(after <= before + 1 for before, after in pairwise(found))


def test_no_level_of_headings_is_left_out(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    asked = {"input_x_gradient": {}, "saliency": {}}
    compared = levels(Path(pl.compare(net, x, 0, methods=asked, probes=32).save(tmp_path / "compared.html")))
    other = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 3))
    differing = levels(Path(pl.map_difference(net, other, (1, 3, 8, 8)).save(tmp_path / "differing.html")))
    assert len(compared) >= 3 and in_order(compared)
    assert len(differing) >= 3 and in_order(differing)


def test_only_columns_with_a_name_are_headed():
    html = markup(Table(("", "value"), (("a", 1.0),)))
    assert re.findall("<th scope=.col.[^>]*>([^<]*)</th>", html) == ["value"]
    assert html.count("<td></td>") == 1


def test_a_table_that_scrolls_is_reached_with_the_keyboard_and_named():
    wide = markup(Table(tuple(f"c{i}" for i in range(MANY + 1)), (tuple(range(MANY + 1)),), '"Price" & more'))
    assert 'class="wide" tabindex="0" role="group" aria-label="&quot;Price&quot; &amp; more"' in wide
    assert "tabindex" not in markup(Table(("a",), ((1,),)))
