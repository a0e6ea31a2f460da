"""The page of a map as text: what its policy allows, and that no name can become markup or script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import get_args

import pytest

from pellucid.architecture.graph import Family
from pellucid.architecture.text import to_text
from pellucid.render.graph import page as pages
from pellucid.render.graph.page import MISSING, data, page
from pellucid.render.marks import DARK, LIGHT
from tests import graphs

WEB = Path(__file__).resolve().parent.parent / "web"
HOSTILE = to_text(graphs.words())


@pytest.fixture
def assets(monkeypatch):
    """A script and a style that are easy to find again."""
    monkeypatch.setattr(pages, "built", lambda: ("let a = 1", "p{color:red}"))


def test_the_policy_lets_its_own_script_run_and_no_other(assets):
    text = page(HOSTILE, "map")
    digest = base64.b64encode(hashlib.sha256(b"let a = 1").digest()).decode()
    policy = re.search('Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy[1].split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in policy[1]
    assert "connect-src" not in rules


def test_names_stay_data(assets):
    title = "</title><script>alert(1)</script>"
    text = page(HOSTILE, title)
    assert len(re.findall("<script", text)) == 2  # the data and the script of the page
    assert "<img" not in text
    assert title not in text
    inside = text.split('id="graph">')[1].split("</script>")[0]
    assert "<" not in inside
    assert "\u2028" not in inside
    assert json.loads(inside) == json.loads(HOSTILE)


@pytest.mark.parametrize("text", ["<!--", "</script", "<script", "\u2028\u2029", "<" * 5])
def test_data_keep_their_meaning(text: str):
    assert json.loads(data(json.dumps([text], ensure_ascii=False))) == [text]
    assert not re.search("[<\u2028\u2029]", data(json.dumps([text], ensure_ascii=False)))


def test_without_the_script_the_page_is_a_drawing_that_says_so(monkeypatch):
    monkeypatch.setattr(pages, "built", lambda: None)
    text = page(to_text(graphs.residual(2)), "a <b>residual</b> network")
    assert MISSING in text
    assert "<script" not in text
    assert text.count("<svg") == 1
    assert "a &lt;b&gt;residual" in text
    assert "script-src" not in text


@pytest.mark.parametrize("colors", [LIGHT, DARK], ids=["light", "dark"])
def test_families_have_the_colors_that_drawings_give_them(colors):
    theme = (WEB / "src" / "page" / "theme.ts").read_text(encoding="utf-8")
    for role in (*get_args(Family), "group"):
        assert f'{role}: "{colors[role]}"' in theme
