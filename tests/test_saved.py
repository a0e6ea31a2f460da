"""An explanation in a file: it comes back whole, runs again to the bit, and nothing else gets in."""

from __future__ import annotations

import json
import struct
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from pellucid.core.archive import FORMAT, SUFFIX
from pellucid.core.check import Check, Verdict
from pellucid.core.errors import BadInput, BadModel, Missing
from pellucid.core.explanation import Explanation
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.saved import load, to_bytes
from pellucid.core.target import Target, channel, log_odds, logit, neuron, probability, region, scalar, token
from pellucid.methods import all_methods
from tests.networks import Net, picture

METHODS = all_methods()
NAN = float("nan")
CHECKS = (
    Check(
        "completeness", 0.01, Verdict.HOLDS, "It adds up.", 0.0, 0.02, (("random", NAN), ("ceiling", 1.0)), seconds=0.5
    ),
    Check("stability", NAN, Verdict.UNKNOWN, "It could not be told."),
)
LOST = ("net", "score", "again", "saved_fingerprint")  # what belongs to the living explanation, or names its network


class Pixels(nn.Module):
    """A class score at every place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Tokens(nn.Module):
    """A class score at every row."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x[:, 0])


def there_and_back(e: Explanation, folder: Path, name: str = "a" + SUFFIX) -> Explanation:
    return load(e.save(folder / name), METHODS)


def same(a: Any, b: Any) -> bool:
    """Equal, tensors bit for bit, NaN like NaN, and lists like tuples: JSON has one kind of sequence."""
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, Check):
        return isinstance(b, Check) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b or (isinstance(a, float) and isinstance(b, float) and a != a and b != b)


@pytest.mark.parametrize("name", METHODS)
def test_everything_but_the_network_comes_back(name: str, tmp_path: Path) -> None:
    net = Network(
        Net(block="attention"), labels=("ant", "bee", "c\u00e9dille \u2603"), name="of \U0001f41d", source="somewhere"
    )
    target = logit((1, 2)) if name == "finer_cam" else logit((1, 2)) - 0.5 * logit(0)  # it explains one class
    made = METHODS[name](net, picture(0), target)
    made = replace(made, checks=CHECKS, notes=(*made.notes, "a note"))
    back = there_and_back(made, tmp_path)
    for f in fields(Explanation):
        if f.name not in (*LOST, "of"):
            assert same(getattr(made, f.name), getattr(back, f.name)), f.name
    assert str(back.of) == str(made.of) and back.of == made.of
    assert back.fingerprint == made.fingerprint == net.fingerprint
    assert back.net is None and back.score is None


@pytest.mark.parametrize("name", METHODS)
def test_it_runs_again_on_the_same_network_bit_for_bit(name: str, tmp_path: Path) -> None:
    net, x = Net(block="attention"), picture(0, 3)
    with running(Run(seed=5)):
        made = METHODS[name](net, x, None)
    back = there_and_back(made, tmp_path)
    again = back.rerun(Network(net))
    assert torch.equal(again.values, made.values) and again.seed == 5 and again.of == made.of
    assert torch.equal(made.rerun().values, made.values)


def masked(*places: int) -> Tensor:
    mask = torch.zeros(30, dtype=torch.bool)
    mask[list(places)] = True
    return mask.view(6, 5)


@pytest.mark.parametrize(
    ("net", "target"),
    [
        (Net(), log_odds(2)),
        (Net(), probability((0, 2)) + logit(1)),
        (Net(), 2.0 * channel("conv2", 1) - neuron("conv1", 3, 2, 1)),
        (Net(style="reused"), channel("act1#1:input", 2)),
        (Net("functional"), channel(":relu.1", 0)),
        (Pixels(), region(1, masked(0, 7)) - region(2, masked(3, 4, 5))),
        (Tokens(), token(-1, 2)),
    ],
    ids=str,
)
def test_every_kind_of_target_comes_back(net: nn.Module, target: Target, tmp_path: Path) -> None:
    made = METHODS["saliency"](net, picture(0), target)
    back = there_and_back(made, tmp_path)
    assert str(back.of) == str(made.of) and same(back.of.terms[0].args, made.of.terms[0].args)
    assert torch.equal(back.rerun(Network(net)).values, made.values)


def test_many_masks_keep_their_order(tmp_path: Path) -> None:
    net, target = Pixels(), region(1, masked(0))
    for i in range(1, 12):
        target = target + float(i) * region(1, masked(i))
    made = METHODS["saliency"](net, picture(0), target)
    back = there_and_back(made, tmp_path)
    assert all(torch.equal(a.args[1], b.args[1]) for a, b in zip(made.of.terms, back.of.terms, strict=True))
    assert torch.equal(back.rerun(Network(net)).values, made.values)


def test_a_mask_that_is_used_twice(tmp_path: Path) -> None:
    mask = masked(0, 1)
    made = METHODS["saliency"](Pixels(), picture(0), region(1, mask) - region(2, mask))
    assert torch.equal(there_and_back(made, tmp_path).values, made.values)


def test_an_input_that_is_given_twice(tmp_path: Path) -> None:
    class Both(Net):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return super().forward(x + y)

    x = picture(0)
    made = METHODS["saliency"](Both(), (x, x), 1)
    assert same(there_and_back(made, tmp_path).maps, made.maps)


def test_a_function_as_target_loads_but_does_not_run_again(tmp_path: Path) -> None:
    def brightest(output: Tensor) -> Tensor:
        return output.amax(1)

    net = Net()
    made = METHODS["saliency"](net, picture(0), scalar(brightest))
    back = there_and_back(made, tmp_path)
    assert torch.equal(back.values, made.values) and str(back.of) == "scalar(brightest)"
    with pytest.raises(BadModel, match="The target was the Python function 'brightest', which a file cannot hold"):
        back.rerun(Network(net))


def test_another_network_is_refused(tmp_path: Path) -> None:
    back = there_and_back(METHODS["saliency"](Net(), picture(0), 1), tmp_path)
    with pytest.raises(BadModel, match="other weights than the Net that was explained"):
        back.rerun(Network(Net(seed=1)))
    with pytest.raises(BadModel, match="other weights"):
        back.rerun(Network(Net(block="gate")))
    with pytest.raises(Missing, match="without its network"):
        back.rerun()
    other = back.rerun(Network(Net(seed=1)), x=picture(1))  # meant: another network on another input
    assert torch.equal(other.values, METHODS["saliency"](Net(seed=1), picture(1), 1).values)


def test_a_method_that_is_no_longer_there_loads_but_does_not_run(tmp_path: Path) -> None:
    made = replace(METHODS["saliency"](Net(), picture(0), 1), method="phrenology")
    back = there_and_back(made, tmp_path)
    assert back.method == "phrenology" and torch.equal(back.values, made.values)
    with pytest.raises(Missing):
        back.rerun(Network(Net()))


# Files that are not, or not quite, an explanation


@pytest.fixture(scope="module")
def whole() -> bytes:
    return to_bytes(replace(METHODS["integrated_gradients"](Net(), picture(0), 1, steps=4), checks=CHECKS))


def content(data: bytes) -> dict[str, Any]:
    """The facts inside a file, read by hand: safetensors' header is a length and JSON."""
    (length,) = struct.unpack("<Q", data[:8])
    facts: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["pellucid"])
    return facts


def with_facts(facts: object) -> bytes:
    tensors = {"map x": torch.zeros(1, 2), "x x": torch.zeros(1, 2)}
    return to_safetensors(tensors, metadata={"pellucid": facts if isinstance(facts, str) else json.dumps(facts)})


def refused(data: bytes, folder: Path, match: str | None = None) -> None:
    file = folder / f"file{SUFFIX}"
    file.write_bytes(data)
    with pytest.raises(BadInput, match=match) as caught:
        load(file, METHODS)
    assert caught.value.hint and "file" + SUFFIX in caught.value.what


def test_what_is_no_explanation_is_refused(tmp_path: Path, whole: bytes) -> None:
    refused(b"", tmp_path)
    refused(b"PK\x03\x04 a zip", tmp_path)
    refused(b"\x80\x04\x95\x0e a pickle", tmp_path)
    refused(b"\xff" * 64, tmp_path)
    refused(to_safetensors({"weight": torch.ones(3)}), tmp_path, "not a result")
    for text in ("[]", "3", "null", '"x"', "{}", "", "{", "1" * 5000, "[" * 5000, "NaN"):
        refused(with_facts(text), tmp_path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.pellucid", tmp_path):
        with pytest.raises(BadInput):
            load(path, METHODS)


def test_a_newer_format_is_refused_by_number(tmp_path: Path, whole: bytes) -> None:
    for found in (FORMAT + 1, 0, "1", None):
        refused(with_facts({**content(whole), "format": found}), tmp_path, f"format {FORMAT}.*found: {found}")


@pytest.mark.parametrize("length", [1, 7, 8, 9, 100, 0.5, 0.9, -1])
def test_a_truncated_file_is_refused(length: float, tmp_path: Path, whole: bytes) -> None:
    refused(whole[: int(length * len(whole)) if 0 < length < 1 else int(length)], tmp_path)


def test_a_fact_that_is_missing_or_of_another_kind_is_refused(tmp_path: Path, whole: bytes) -> None:
    facts = content(whole)
    good = tmp_path / "good.pellucid"
    good.write_bytes(with_facts(facts))
    assert load(good, METHODS).method == "integrated_gradients"
    for name in facts.keys() - {"kind", "slopes"}:  # the first files did not have these
        refused(with_facts({k: v for k, v in facts.items() if k != name}), tmp_path)
    for name in ("terms", "cost", "checks", "labels"):
        refused(with_facts({**facts, name: 7}), tmp_path)
    for terms in ([[1.0]], [[1.0, "logit"]], [7]):
        refused(with_facts({**facts, "terms": terms}), tmp_path)
    refused(
        with_facts({**facts, "terms": [[1.0, "region", [1, {"mask": True}]]]}), tmp_path
    )  # a mask that is not there


def test_a_file_of_a_version_that_knew_no_slopes_loads_and_keeps_its_sign(tmp_path: Path) -> None:
    made = METHODS["guided_backprop"](nn.Linear(5, 1), torch.randn(1, 5), 0)
    assert made.slopes and there_and_back(made, tmp_path).slopes
    old = tmp_path / "old.pellucid"
    old.write_bytes(with_facts({k: v for k, v in content(to_bytes(made)).items() if k != "slopes"}))
    back = load(old, METHODS)
    assert back.signed and not back.by_size  # as its checks were made


@settings(max_examples=40)
@given(data=st.data())
def test_bytes_that_flipped_are_refused_or_harmless(
    data: st.DataObject, whole: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    spoiled = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        spoiled[place] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("flipped") / f"file{SUFFIX}"
    file.write_bytes(bytes(spoiled))
    try:
        assert isinstance(load(file, METHODS), Explanation)
    except BadInput as error:
        assert error.hint
