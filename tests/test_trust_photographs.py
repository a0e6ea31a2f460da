"""Which methods have a row in the table of the photographs, and how they are compared there."""

from __future__ import annotations

import json

import pytest
import torch

import pellucid as pl
from benchmarks.trust import photographs, rig
from benchmarks.trust.every_method import OPTIONS, REFUSED
from pellucid.core.errors import PellucidError
from pellucid.core.option import checked


def test_every_method_has_its_row_or_the_reason_why_it_has_none() -> None:
    """A new method goes into one of the two lists; `--only photographs --methods NAME` finds its row."""
    methods = pl.methods.all_methods()
    assert sorted([*OPTIONS, *REFUSED]) == sorted(methods)
    for name, options in OPTIONS.items():
        checked(methods[name].options, options, name)  # raises BadOption
    kept = json.loads(photographs.STORE.read_text(encoding="utf-8"))
    written = (rig.ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    table = written.partition("### EfficientNet-Lite0 on labelled photographs")[2]
    for name in methods:
        assert bool(kept.get(name, {}).get("rows")) == (name in OPTIONS), name
        assert f"\n| {name} " in table, name


@pytest.mark.parametrize("name", [name for name, why in REFUSED.items() if "pair" not in why])
def test_a_method_without_a_row_refuses_one_picture_of_such_a_network(name: str) -> None:
    torch.manual_seed(0)
    with pytest.raises(PellucidError):
        getattr(pl.methods, name)(rig.small_network().eval(), torch.rand(1, 3, rig.SIDE, rig.SIDE), 0)


def test_methods_are_compared_photograph_by_photograph() -> None:
    steady, first = [0.1, 0.9, 0.4, 0.6], [0.3, 0.2]
    same = {"word": "Weak", "gap": None, "passes": 1, "seconds": 1.0, "spent": 1.0, "size": 0.0}
    guess = {"edges": 0.0, "center": 0.0, "ceiling": 1.0, "left": 0.9, "area": 0.3, "spent": 1.0}
    rows = {
        "guesses": [guess] * 4,
        "grad_cam": [same | {"r": r} for r in steady],
        "saliency": [same | {"r": r + 0.05} for r in steady],  # however photographs differ, always as much ahead
        "lime": [same | {"r": r} for r in first],  # run on two, where Grad-CAM's mean is .5 too
    }
    found = photographs.averages(rows)["methods"]
    assert found["saliency"]["ahead"] == pytest.approx((0.05, 0.05, 0.05))
    mean, low, high = found["saliency"]["r"]
    assert mean == pytest.approx(0.55) and low < 0.5 and high > 0.6
    assert found["lime"]["ahead"][0] == pytest.approx(0.25 - 0.5) and found["lime"]["pictures"] == 2
