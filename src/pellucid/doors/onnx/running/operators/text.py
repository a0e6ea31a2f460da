"""Strings, which are NumPy arrays of objects, and counts of what they hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.onnx.running.module import Node
from pellucid.doors.onnx.running.registry import operator

_LONGEST_PATTERN = 1000


def texts(x: Any) -> list[str]:
    """All strings of an array, in order."""
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in np.asarray(x).reshape(-1)]


def array(found: Sequence[str], shape: Sequence[int]) -> Any:
    """Strings as an array of that shape."""
    out = np.empty(len(found), dtype=object)
    out[:] = found
    return out.reshape(tuple(shape))


@operator("StringConcat")
def concat(node: Node, a: Any, b: Any) -> Any:
    """Each string followed by the other one."""
    left, right = np.broadcast_arrays(np.asarray(a, dtype=object), np.asarray(b, dtype=object))
    return array([x + y for x, y in zip(texts(left), texts(right), strict=True)], left.shape)


@operator("StringSplit")
def split(node: Node, x: Any) -> Any:
    """The parts of each string on a new last axis, filled up with empty ones; and how many there are."""
    shape = np.asarray(x).shape
    parts = [t.split(node.get("delimiter") or None, node.get("maxsplit", -1)) for t in texts(x)]
    longest = max(map(len, parts), default=0)
    filled = [part for found in parts for part in (*found, *[""] * (longest - len(found)))]
    counts = torch.tensor([len(found) for found in parts], dtype=torch.int64).reshape(shape)
    return array(filled, (*shape, longest)), counts


@operator("StringNormalizer")
@operator("StringNormalizer", domain="com.microsoft")
def normalize(node: Node, x: Any) -> Any:
    """Strings without stop words, in upper or lower case where that is asked for."""
    fold: Callable[[str], str] = str if node.get("is_case_sensitive", 0) else str.lower
    change = {"LOWER": str.lower, "UPPER": str.upper}.get(node.get("case_change_action", "NONE"), str)
    stop = {fold(word) for word in node.get("stopwords", ())}
    kept = [change(t) for t in texts(x) if fold(t) not in stop] or [""]
    return array(kept, (len(kept),) if np.asarray(x).ndim == 1 else (1, len(kept)))


@operator("RegexFullMatch")
def full_match(node: Node, x: Any) -> Tensor:
    """Which strings a pattern matches as a whole."""
    pattern = node.get("pattern", "")
    try:
        found = re.compile(pattern[: _LONGEST_PATTERN + 1])
    except re.error as error:
        raise BadModel(f"The pattern {printable(pattern, 60)!r} is none: {error}.", "Export the model again.") from None
    if len(pattern) > _LONGEST_PATTERN or _runs_away(pattern):
        raise BadModel(f"The pattern {printable(pattern, 60)!r} might take for ever.", "Match the strings outside.")
    matched = [found.fullmatch(t) is not None for t in texts(x)]
    return torch.tensor(matched, dtype=torch.bool).reshape(np.asarray(x).shape)


def _runs_away(pattern: str) -> bool:
    """Does it repeat something repeated, for which Python's matcher may need exponential time?"""
    plain = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", pattern)
    return bool(re.search(r"\([^()]*[*+}][^()]*\)\s*[*+{]", plain))


@operator("TfIdfVectorizer")
def count_grams(node: Node, x: Any) -> Tensor:
    """How often each n-gram of a list comes up, also with gaps: `[batch, n-grams]`, weighted as the mode says."""
    rows: list[list[Any]] = _rows(x)
    places, weights = _grams(node), node.get("weights", ())
    width = max(node.get("ngram_indexes", ()), default=-1) + 1
    out = torch.zeros(len(rows), width)
    for i, row in enumerate(rows):
        for gram in _read(row, node):
            if gram in places:
                out[i, places[gram][0]] += 1
    mode, factor = node.get("mode", "TF"), torch.ones(width)
    for place, entry in places.values():
        factor[place] = weights[entry] if weights else 1.0
    if mode == "IDF":
        out = out.clamp(max=1) * factor
    elif mode == "TFIDF":
        out = out * factor
    single = (x.dim() if isinstance(x, Tensor) else np.asarray(x).ndim) == 1
    return out[0] if single else out


def _rows(x: Any) -> list[list[Any]]:
    if isinstance(x, Tensor):
        return (x if x.dim() == 2 else x.unsqueeze(0)).tolist()
    known = np.asarray(x)
    return [texts(row) for row in (known if known.ndim == 2 else known[None])]


def _grams(node: Node) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Each n-gram with its place in the output and its number in the list; they are sorted by length."""
    pool = list(node.get("pool_strings") or node.get("pool_int64s", ()))
    starts = [*node.get("ngram_counts", ()), len(pool)]
    found = list[tuple[Any, ...]]()
    for n, (start, stop) in enumerate(pairwise(starts), start=1):
        found.extend(tuple(pool[i : i + n]) for i in range(start, stop, n))
    indexes = node.get("ngram_indexes", ())
    return {gram: (indexes[i], i) for i, gram in enumerate(found)}


def _read(row: Sequence[Any], node: Node) -> Iterator[tuple[Any, ...]]:
    """The n-grams in a row, with every gap allowed; single items have none, so they are read once."""
    for n in range(node.get("min_gram_length", 1), node.get("max_gram_length", 1) + 1):
        for gap in range(1, (1 if n == 1 else node.get("max_skip_count", 0) + 1) + 1):
            for start in range(len(row) - gap * (n - 1)):
                yield tuple(row[start : start + gap * n : gap])
