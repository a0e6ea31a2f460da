"""The official cases of the ONNX standard: each passes, or is named in onnx_nodes.json with the reason."""

from __future__ import annotations

import zlib

import pytest

from tests.onnx_cases import PAGE, cases, folders, outcome, page, reason, stored_outcome

SHARDS = 16
LEAST = 1850


@pytest.mark.parametrize("shard", range(SHARDS))
def test_official_cases_pass_but_for_those_with_a_reason(shard: int):
    mine = [name for name in cases() if zlib.crc32(name.encode()) % SHARDS == shard]
    wrong = {}
    for name in mine:
        happened = outcome(cases()[name])
        if bool(happened) != bool(reason(name)):
            wrong[name] = happened or "passes, and should no longer be in onnx_nodes.json"
    assert not wrong


def test_number_that_passes():
    assert sum(not reason(name) for name in cases()) >= LEAST


def test_the_page_says_how_many_pass():
    assert PAGE.read_text() == page(PAGE.read_text()), "run python -m tests.onnx_cases --write"


@pytest.mark.parametrize("kind", ["pytorch-converted", "pytorch-operator"])
def test_official_models_of_torch_pass(kind: str):
    wrong = {folder.name: why for folder in folders(kind) if (why := stored_outcome(folder))}
    assert not wrong
