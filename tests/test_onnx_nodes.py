"""The official cases of the ONNX standard: each passes, or is named in onnx_nodes.json with the reason."""

from __future__ import annotations

import zlib

import pytest

from tests.onnx_cases import cases, outcome, reason

SHARDS = 16
LEAST = 1840


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
