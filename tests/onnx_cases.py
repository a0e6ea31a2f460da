"""The official cases of the ONNX standard, which the onnx package brings along, run through Pellucid's importer.

python -m tests.onnx_cases [PATTERN]      says how many pass, and why the others do not
python -m tests.onnx_cases --write        writes the table in docs/onnx.md, out of the reasons in onnx_nodes.json
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from collections import Counter
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx.backend.test
import torch
from onnx import TensorProto
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests
from torch import Tensor

from pellucid.doors.onnx import functions, support
from pellucid.doors.onnx.file import parse, stored
from pellucid.doors.onnx.graph import DTYPES
from pellucid.doors.onnx.running import build
from pellucid.doors.onnx.running.values import from_array

REASONS = Path(__file__).with_name("onnx_nodes.json")
PAGE = Path(__file__).parent.parent / "docs" / "onnx.md"
_MARK = "<!-- coverage -->"


@cache
def cases(kind: str = "node") -> dict[str, Any]:
    """Every case by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy's, from computing what is expected
        return {case.name: case for case in load_model_tests(kind=kind)}


@cache
def reasons() -> dict[str, str]:
    """Why a case does not pass, by pattern of its name."""
    stated: dict[str, list[str]] = json.loads(REASONS.read_text())
    return {pattern: reason for reason, patterns in stated.items() for pattern in patterns}


def reason(name: str) -> str:
    """What is written about a case that is not expected to pass; else nothing."""
    return next((text for pattern, text in reasons().items() if fnmatch(name, pattern)), "")


def folders(kind: str) -> list[Path]:
    """The cases of a kind that are stored as files: a model, inputs and outputs."""
    found = Path(onnx.backend.test.__file__).parent / "data" / kind
    return sorted(path for path in found.iterdir() if (path / "model.onnx").is_file())


def stored_outcome(folder: Path) -> str:
    """Nothing when such a case passes, else what happened."""
    sets = []
    for place in sorted(folder.glob("test_data_set_*")):
        sets.append(tuple(_stored(place, name) for name in ("input", "output")))
    model = onnx.load(folder / "model.onnx")
    return outcome(TestCase(folder.name, folder.name, None, None, model, sets, "stored", 1e-3, 1e-5))


def _stored(place: Path, name: str) -> list[TensorProto]:
    count = len(list(place.glob(f"{name}_*.pb")))
    return [TensorProto.FromString((place / f"{name}_{i}.pb").read_bytes()) for i in range(count)]


def outcome(case: Any) -> str:
    """Nothing when the case passes, else what happened."""
    try:
        model = functions.inlined(parse.model(case.model, case.name))
        support.refuse_unknown(model)
        module = build.module(model)
        for given, expected in case.data_sets:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                out = module(*map(as_tensor, given))
            agree(list(out.values()) if isinstance(out, dict) else [out], list(expected), case.rtol, case.atol)
    except Exception as error:
        if "-v" in sys.argv:
            traceback.print_exc()
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return ""


def as_tensor(value: Any) -> Any:
    """What the importer takes for a value of the standard's cases."""
    if value is None or isinstance(value, list | tuple):
        return None if value is None else [as_tensor(v) for v in value]
    if isinstance(value, TensorProto):
        return from_array(stored.array(value), DTYPES[value.data_type])
    return from_array(np.asarray(value))


def agree(found: Any, expected: Any, relative: float, absolute: float) -> None:
    """Raise AssertionError unless kind, shape and numbers are as expected."""
    if expected is None or isinstance(expected, list | tuple):
        assert (found is None) if expected is None else len(found) == len(expected), "another number of values"
        for a, b in zip(found or (), expected or (), strict=True):
            agree(a, b, relative, absolute)
        return
    if isinstance(expected, TensorProto) and expected.data_type == TensorProto.STRING:
        expected = stored.array(expected)
    expected = expected if isinstance(expected, TensorProto) else np.asarray(expected)
    if isinstance(expected, np.ndarray) and expected.dtype.kind in "OUST":
        assert [text(v) for v in np.asarray(found).reshape(-1)] == [text(v) for v in expected.reshape(-1)]
        return
    wanted = as_tensor(expected)
    assert isinstance(found, Tensor), type(found)
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), f"{found.dtype} {tuple(found.shape)}"
    wide = torch.complex128 if found.is_complex() else torch.float64
    torch.testing.assert_close(found.to(wide), wanted.to(wide), rtol=relative, atol=absolute, equal_nan=True)


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def report() -> str:
    """How many of the standard's cases pass, and why the others do not, for docs/onnx.md."""
    why = Counter(reason(name) for name in cases())
    total, passed = sum(why.values()), why.pop("")
    lines = [f"Of the {total} cases for operators that come with onnx {onnx.__version__}, {passed} pass"]
    lines[0] += f" ({passed / total:.1%}), at the tolerances that the standard states. The others:"
    return "\n".join(
        [*lines, "", "| cases | why not |", "|---|---|", *(f"| {n} | {r} |" for r, n in why.most_common())]
    )


def page(text: str) -> str:
    """The page with today's report in it."""
    before, mark, after = text.partition(_MARK)
    return f"{before}{mark}\n{report()}\n\n## {after.partition('## ')[2]}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(PAGE.read_text()))
        sys.exit()
    pattern = f"*{sys.argv[1]}*" if sys.argv[1:] else "*"
    chosen = {name: case for name, case in cases().items() if fnmatch(name, pattern)}
    failed = {name: why for name, case in chosen.items() if (why := outcome(case))}
    for name, why in sorted(failed.items()):
        print(f"{name:60} {why}")
    print(f"{len(chosen) - len(failed)} of {len(chosen)} pass")
    print(Counter(why.split(":")[0] for why in failed.values()))
