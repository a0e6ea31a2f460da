"""The pages on the methods are what the methods say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from pellucid.methods import all_methods

DOCS = Path(__file__).parent.parent / "docs"


def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = list(build().pages())


@pytest.mark.parametrize(("place", "text"), PAGES, ids=[place.stem for place, _ in PAGES])
def test_a_page_is_what_would_be_written_now(place: Path, text: str) -> None:
    assert place.read_text(encoding="utf-8") == text, "run docs/build.py"


def test_every_method_is_on_a_page_and_in_the_guide() -> None:
    written, guide = "\n".join(text for _, text in PAGES), (DOCS / "methods.md").read_text(encoding="utf-8")
    for name in all_methods():
        assert f"\n## {name}\n" in written and f"`{name}`" in guide
