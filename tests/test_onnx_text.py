"""Strings, sequences, and what is refused in ONNX files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pellucid.core.errors import BadModel
from pellucid.doors.onnx import open_file
from tests.onnx_files import written
from tests.onnx_single import answer, answers

WORDS = np.array(["one", "two"], dtype=object)


@pytest.mark.parametrize(
    ("op", "domain", "said"),
    [("ImageDecoder", "", "picture"), ("ATen", "org.pytorch.aten", "torch"),
     ("Gradient", "ai.onnx.preview.training", "training")],
)  # fmt: skip
def test_what_is_refused_says_why(op: str, domain: str, said: str):
    options = {"operator": "where"} if op == "ATen" else {"xs": ["x"], "y": "y"} if op == "Gradient" else {}
    with pytest.raises(BadModel, match=said):
        answers(op, np.zeros(3, np.uint8), domain=domain, version=20, **options)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(x*)*", "(a|b+)*c", "(", "a" * 2000])
def test_patterns_that_might_take_for_ever_are_refused(pattern: str):
    with pytest.raises(BadModel, match="pattern"):
        answer("RegexFullMatch", WORDS, version=20, pattern=pattern)


def test_patterns_that_are_plain_are_matched():
    assert answer("RegexFullMatch", WORDS, version=20, pattern=r"t[(+)*w]+o").tolist() == [False, True]


def test_a_sequence_is_changed_where_it_is_said(tmp_path):
    text = """
    agraph (float[2,3] x) => (float[k,3] y) <int64 front = {0}, int64 last = {-1}> {
      parts = SplitToSequence <axis = 0> (x)
      more = SequenceInsert (parts, twice, front)
      less = SequenceErase (more, last)
      y = ConcatFromSequence <axis = 0> (less)
    }
    """.replace("parts = ", "twice = Add (x, x)\n      parts = ")
    net = open_file(written(text, tmp_path / "parts.onnx"))
    x = torch.arange(6.0).reshape(2, 3)
    torch.testing.assert_close(net.model(x), torch.cat([2 * x, x[:1]]))


def test_grams_with_gaps_are_counted():
    options = {
        "mode": "TF", "min_gram_length": 2, "max_gram_length": 2, "ngram_counts": [0, 0], "ngram_indexes": [0, 1],
        "pool_int64s": [1, 2, 1, 3],
    }  # fmt: skip
    x = np.array([1, 2, 3, 1, 2], np.int64)
    assert answer("TfIdfVectorizer", x, max_skip_count=0, **options).tolist() == [2, 0]
    assert answer("TfIdfVectorizer", x, max_skip_count=1, **options).tolist() == [2, 1]
