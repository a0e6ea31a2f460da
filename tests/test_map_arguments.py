"""What `forward` takes, as it takes it: lists, mappings, objects and settings enter a map, and are recorded."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.architecture.given import call_of
from tests.networks import randomized


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(8, 8)
        self.b = nn.Linear(8, 3)

    def head(self, x: Tensor) -> Tensor:
        return self.b(self.a(x).relu())


@dataclass
class Sample:
    x: Tensor
    weight: Tensor
    name: str = "one"


class Data:
    """An object that is no container, as graph libraries have them."""

    def __init__(self, x: Tensor, edges: Tensor) -> None:
        self.x, self.edges, self.cached = x, edges, None


class OfList(Base):
    def forward(self, xs: list[Tensor]) -> Tensor:
        return self.head(torch.stack([x.mean(0) for x in xs]))


class OfUnannotated(Base):
    def forward(self, xs):
        return self.head(torch.stack(xs).sum(0))


class OfDict(Base):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.head(batch["x"] * batch["w"])


class OfDataclass(Base):
    def forward(self, sample: Sample) -> Tensor:
        return self.head(sample.x * sample.weight)


class OfData(Base):
    def forward(self, data: Data) -> Tensor:
        return self.head(torch.zeros_like(data.x).index_add(0, data.edges[1], data.x[data.edges[0]]))


class OfSettings(Base):
    def forward(
        self, x: Tensor, mode: str = "plain", scale: float = 1.0, twice: bool = False, no: Any = None
    ) -> Tensor:
        y = self.head(x) * scale
        return self.head(x + self.a(x)) + y if twice and mode == "deep" and no is None else y


class OfKeywords(Base):
    def forward(self, x: Tensor, *, extra: Tensor | None = None) -> Tensor:
        return self.head(x if extra is None else x + 2 * extra)


class OfAnything(Base):
    def forward(self, *args: Tensor, **more: Tensor) -> Tensor:
        return self.head(args[0] + more.get("extra", 0))


V, W = torch.linspace(-1, 1, 16).view(2, 8), torch.linspace(2, 0, 16).view(2, 8)
PICTURES = [torch.rand(3, 8), torch.rand(5, 8)]
CASES: dict[str, tuple[type[Base], Any, tuple[Any, ...]]] = {
    "a list, as it is said": (OfList, PICTURES, (PICTURES,)),
    "a list in a tuple": (OfList, (PICTURES,), (PICTURES,)),
    "a list by name": (OfList, {"xs": PICTURES}, (PICTURES,)),
    "a list of one": (OfList, [PICTURES[0]], ([PICTURES[0]],)),
    "a list that is too long for places": (OfUnannotated, [V, W], ([V, W],)),
    "a mapping as the argument": (OfDict, {"x": V, "w": W}, ({"x": V, "w": W},)),
    "a mapping by name": (OfDict, {"batch": {"x": V, "w": W}}, ({"x": V, "w": W},)),
    "a dataclass": (OfDataclass, Sample(V, W), (Sample(V, W),)),
    "an object": (OfData, Data(V, torch.tensor([[0, 1], [1, 0]])), (Data(V, torch.tensor([[0, 1], [1, 0]])),)),
    "settings by place": (OfSettings, (V, "deep", 2.0, True), (V, "deep", 2.0, True)),
    "settings by name": (OfSettings, {"x": V, "mode": "deep", "twice": True, "no": None}, (V, "deep", 1.0, True)),
    "any number of arguments": (OfAnything, V, (V,)),
}


@pytest.mark.parametrize("case", CASES)
def test_arguments_enter_as_forward_takes_them(case):
    kind, x, args = CASES[case]
    model = randomized(kind(), 0)
    before = {name: (v.clone(), v._version) for name, v in model.named_parameters()}
    given = copy.deepcopy(x)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        expected = model(*args)
    found = pl.map(model, x)
    assert found.totals.flops == counter.get_total_flops()
    assert found.totals.parameters == sum(p.numel() for p in model.parameters())
    assert found.notes == ()
    last = found.graph.nodes.op.index("output") - 1
    assert found.overlay.measures["high"].nodes[last] == pytest.approx(float(expected.max()), rel=1e-6)
    assert all(torch.equal(v, before[n][0]) and v._version == before[n][1] for n, v in model.named_parameters())
    assert torch.equal(*(torch.cat([t.flatten() for t in _tensors(v)]) for v in (x, given)))  # and so is the input


def _tensors(v: Any) -> list[Tensor]:
    if isinstance(v, Tensor):
        return [v.float()]
    held = v if isinstance(v, list | tuple) else (v if isinstance(v, dict) else getattr(v, "__dict__", {})).values()
    return [t for part in held for t in _tensors(part)]


def test_shapes_may_stand_in_lists_and_beside_settings():
    call = call_of(([(3, 8), (5, 8)],), OfList())
    assert [tuple(v.shape) for v in call.args[0]] == [(3, 8), (5, 8)] and not call.real
    found = pl.map(OfSettings(), {"x": (2, 8), "mode": "deep", "twice": True})
    assert found.totals.flops == 2 * 2 * (3 * 8 * 8 + 2 * 8 * 3)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ((V, W), "2 inputs were given; the network takes 1"),
        ({"xs": "abc"}, "no input for a map"),
        ({"sx": V}, "no argument of these names: 'sx'"),
        ((-1, 8), "is no shape"),
    ],
)
def test_what_is_none_is_refused_without_a_number_of_it(x, words):
    with pytest.raises(pl.PellucidError, match=words) as said:
        pl.map(OfUnannotated(), x)
    assert "tensor(" not in str(said.value) and len(str(said.value)) < 300


def test_keyword_only_arguments_are_given_by_name():
    model = randomized(OfKeywords(), 0)
    for net in (pl.open(model, inputs=["x", "extra"]), pl.open(model)):
        x, extra = V.clone().requires_grad_(), W.clone().requires_grad_()
        score = model(x, extra=extra)[:, 1]
        expected = torch.autograd.grad(score.sum(), (x, extra))
        found = pl.methods.saliency(net, {"x": V, "extra": W}, 1)
        for name, grad in zip(("x", "extra"), expected, strict=True):
            torch.testing.assert_close(found.maps[name], grad.abs(), rtol=1e-5, atol=1e-6)
    with pytest.raises(pl.BadInput, match=r"no input 'more'. It takes: x, extra"):
        pl.methods.saliency(pl.open(model), {"x": V, "more": W}, 1)
    assert pl.map(model, {"x": V, "extra": W}).graph.nodes.op[:4] == ("input", "input", "mul", "add")
