"""Doubles, structured outputs, named inputs, changes at sites, number formats: what an opened model does."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from functools import partial
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pellucid.architecture.map import map as architecture_of
from pellucid.core.double import double, why_not_doubled
from pellucid.core.embedding import embedded
from pellucid.core.errors import BadModel
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.target import logit, probability
from pellucid.methods import all_methods
from tests.conditions import SCENES, Bound, Odd, cnn, picture

METHODS = all_methods()


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.again = self.first
        self.register_buffer("steps", torch.zeros(2))
        self.kept = self.steps


def test_a_double_shares_parameters_and_nothing_else() -> None:
    model = Tied().train()
    twin: Any = double(model)
    assert twin.first.weight.data_ptr() == model.first.weight.data_ptr()
    assert twin.first.weight is twin.second.weight and twin.again is twin.first and twin.kept is twin.steps
    assert twin.first is not model.first and twin.first.weight is not model.first.weight
    assert twin.steps.data_ptr() != model.steps.data_ptr()
    assert not any(p.requires_grad for p in twin.parameters()) and not any(m.training for m in twin.modules())
    assert all(p.requires_grad for p in model.parameters()) and all(m.training for m in model.modules())
    twin.first.register_forward_hook(lambda *_: None)
    twin.steps += 1
    assert not model.first._forward_hooks and not model.steps.any()


Two = namedtuple("Two", "a b")


def test_a_double_has_containers_of_its_own() -> None:
    model: Any = nn.Module()
    linear, shared = nn.Linear(2, 2), dict[str, Tensor]()
    model.shared, model.alias = shared, shared
    model.kinds = [
        [linear], (linear,), {"a": linear}, {linear}, frozenset([linear]), OrderedDict(a=linear), deque([linear], 3),
        defaultdict(list, a=[linear]), Two(linear, 1), partial(linear.forward),
    ]  # fmt: skip
    model.kinds.append(model.kinds)  # a list that holds itself
    twin: Any = double(model)
    assert twin.shared is twin.alias is not shared
    inner = twin.kinds[0][0]
    assert inner is not linear and inner.weight.data_ptr() == linear.weight.data_ptr()
    assert twin.kinds[1] == (inner,) and twin.kinds[2] == {"a": inner} and twin.kinds[3] == {inner}
    assert twin.kinds[4] == {inner} and twin.kinds[5]["a"] is inner and list(twin.kinds[6]) == [inner]
    assert twin.kinds[6].maxlen == 3 and twin.kinds[7]["new"] == [] and twin.kinds[8].a is inner
    assert twin.kinds[9].func.__self__ is inner and twin.kinds[10] is twin.kinds
    assert [type(v) for v in twin.kinds] == [type(v) for v in model.kinds]
    twin.kinds[0].append(1)
    assert len(model.kinds[0]) == 1 and "new" not in model.kinds[7]


def test_a_doubles_bound_methods_are_its_own() -> None:
    model = Bound()
    twin: Any = double(model)
    assert twin.forward.__self__ is twin and twin.stages[0].__self__ is twin.body
    assert twin.stages[1].func.__self__ is twin
    torch.testing.assert_close(twin(picture()), model.eval()(picture()))


def test_hooks_of_the_user_are_in_the_double() -> None:
    model, ran = cnn().eval(), list[str]()
    model[0].register_forward_pre_hook(lambda *_: ran.append("before"))
    double(model)(picture())
    assert ran == ["before"]


def test_a_generator_is_copied_where_it_stands() -> None:
    model: Any = nn.Linear(2, 2)
    model.draws = torch.Generator().manual_seed(3)
    torch.rand(3, generator=model.draws)
    state, twin = model.draws.get_state(), double(model)
    first = torch.rand(5, generator=twin.draws)
    assert torch.equal(model.draws.get_state(), state) and torch.equal(first, torch.rand(5, generator=model.draws))


# These give another answer each time, or none; and `eval()` does not reach what is in plain lists.
CHANGING = ("breaking", "stochastic", "own_generator", "edits_itself", "closure", "helper_object", "plain_lists")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("condition", [name for name in SCENES if name not in CHANGING])
def test_a_network_computes_what_its_model_does(condition: str) -> None:
    scene = SCENES[condition]()
    net = Network(scene.model)
    with scene.around():
        found = Score(net, logit(0)).outputs({net.inputs[0]: scene.x.detach()})
    scene.model.eval()
    with torch.no_grad():
        torch.testing.assert_close(found, scene.model(scene.x.detach()))


def test_why_a_model_is_borrowed_is_said() -> None:
    assert why_not_doubled(cnn()) == "" and why_not_doubled(Odd("plain")) == ""
    assert "function" in why_not_doubled(Odd("closure")) and "Keeper" in why_not_doubled(Odd("object"))
    notes = METHODS["saliency"](Odd("object"), picture(2), 0).notes
    assert any("borrowed and put back" in note and "Keeper" in note for note in notes)


def test_a_function_whose_variable_was_never_set_is_no_reason_to_borrow() -> None:
    def late() -> Any:
        return unset

    if False:
        unset = 1
    model: Any = nn.Linear(2, 2)
    model.extra = late
    assert why_not_doubled(model) == ""


@dataclass
class Record:
    loss: Tensor | None
    scores: Tensor


Named = namedtuple("Named", "scores count")
TENSOR, WHOLE = torch.ones(2, 3), torch.zeros(2, dtype=torch.long)
PICKED: list[tuple[str, Any, str | int | None]] = [
    ("a tensor", TENSOR, None),
    ("one in a tuple", (TENSOR,), None),
    ("one floating in a tuple", (TENSOR, WHOLE, None, "text"), None),
    ("a list, by number", [WHOLE.float(), TENSOR], 1),
    ("a mapping with logits", {"loss": torch.zeros(1), "logits": TENSOR}, None),
    ("a mapping, by name", OrderedDict(a=torch.zeros(2), b=TENSOR), "b"),
    ("a data class", Record(None, TENSOR), None),
    ("a named tuple", Named(TENSOR, WHOLE), None),
    ("a named tuple, by name", Named(TENSOR, torch.zeros(2)), "scores"),
]


@pytest.mark.parametrize(("output", "which"), [p[1:] for p in PICKED], ids=[p[0] for p in PICKED])
def test_the_part_that_targets_speak_of(output: Any, which: str | int | None) -> None:
    assert Network(nn.Linear(1, 1), output=which).pick(output) is TENSOR


def test_the_output_of_transformers() -> None:
    outputs = pytest.importorskip("transformers").modeling_outputs
    net = Network(nn.Linear(1, 1))
    assert net.pick(outputs.SequenceClassifierOutput(loss=torch.zeros(()), logits=TENSOR)) is TENSOR
    assert net.pick(outputs.ImageClassifierOutput(logits=TENSOR, hidden_states=(WHOLE, WHOLE))) is TENSOR
    two = outputs.BaseModelOutputWithPooling(last_hidden_state=torch.zeros(1), pooler_output=TENSOR)
    with pytest.raises(BadModel, match=r"last_hidden_state.*pooler_output"):
        net.pick(two)
    assert Network(nn.Linear(1, 1), output="pooler_output").pick(two) is TENSOR


class Pair(nn.Module):
    """One linear layer for each input; the second may be left out, and only by name."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(2, 3)

    def forward(self, left: Tensor, *, right: Tensor | None = None) -> Tensor:
        out: Tensor = self.a(left)
        return out if right is None else out + self.b(right)


class Both(Pair):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(left, right=right)


@pytest.mark.parametrize("name", ["saliency", "input_x_gradient", "integrated_gradients", "occlusion", "smooth_grad"])
@pytest.mark.parametrize("given", ["in order", "by name", "turned round"])
def test_several_inputs_are_explained_at_once(name: str, given: str) -> None:
    model, left, right = Both(), torch.ones(2, 4), torch.full((2, 2), 2.0)
    options = {"window": 1, "stride": 1} if name == "occlusion" else {}
    x: Any = {"in order": (left, right), "by name": {"left": left, "right": right},
              "turned round": {"right": right, "left": left}}[given]  # fmt: skip
    maps = METHODS[name](model, x, 1, **options).values
    assert isinstance(maps, dict) and set(maps) == {"left", "right"}
    for key, layer, v in (("left", model.a, left), ("right", model.b, right)):
        slope = layer.weight[1].detach().expand_as(v)
        share = {"saliency": slope.abs(), "smooth_grad": slope.abs()}.get(name, slope * v)
        torch.testing.assert_close(maps[key], share, rtol=1e-4, atol=1e-5)


def test_inputs_by_name_only_and_left_out() -> None:
    model, left = Pair(), torch.ones(2, 4)
    net = Network(model, inputs=("left", "right"))
    assert Network(model).inputs == ("left",)
    alone = METHODS["input_x_gradient"](net, left, 0).values
    torch.testing.assert_close(alone, (model.a.weight[0] * left).detach())
    assert isinstance(alone, Tensor)


def test_token_ids_are_explained_at_their_table() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))
    net, ids = Network(model), torch.tensor([[1, 2, 3], [4, 5, 5]])
    with net.lease() as leased:
        x, sites = embedded(net, leased, {"input": ids})
    assert list(sites) == ["input"] and sites["input"].path == "0"
    torch.testing.assert_close(x["input"], model[0](ids).detach())
    found = METHODS["input_x_gradient"](net, ids, 1).values
    expected = model[0](ids) * model[2].weight[1].view(3, 4)
    torch.testing.assert_close(found, expected.detach())


def test_a_change_at_a_site_changes_what_follows() -> None:
    net, x = Network(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))), {"input": torch.randn(2, 3)}
    plain = Score(net, logit(0))
    without = plain.do({Site("1"): torch.zeros_like})
    torch.testing.assert_close(without(x), net.model[2].bias[0].detach().expand(2))
    doubled = plain.do({Site("1"): lambda a: 2 * a})
    bias = net.model[2].bias[0].detach()
    torch.testing.assert_close(doubled(x) - bias, 2 * (plain(x) - bias))
    first = plain.do({Site("0", at="input"): lambda a: a.flip(1)})
    torch.testing.assert_close(first(x), plain({"input": x["input"].flip(1)}))
    both = doubled.do({Site("1"): torch.zeros_like})
    torch.testing.assert_close(both(x), without(x))
    torch.testing.assert_close(plain(x), (net.model(x["input"])[:, 0]).detach())


def test_what_is_watched_is_what_autograd_finds() -> None:
    model, x = cnn(inplace=True).eval(), picture(2)
    seen = Score(Network(model), probability(1)).watch({"input": x}, Site("1"), Site("4"))
    inner = model[1](model[0](x)).detach().requires_grad_()
    later = model[4](model[3](model[2](inner.clone())))
    later.retain_grad()
    score = nn.Sequential(*model[5:])(later.clone()).softmax(1)[:, 1].sum()
    score.backward()
    for site, value in ((Site("1"), inner), (Site("4"), later)):
        torch.testing.assert_close(seen[site].value, value.detach())
        torch.testing.assert_close(seen[site].grad, value.grad)
    assert all(p.grad is None for p in model[:1].parameters())


FORMATS = {torch.float64: 1e-10, torch.float32: 1e-5, torch.bfloat16: 0.1, torch.float16: 0.02}


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", ["saliency", "input_x_gradient", "occlusion", "grad_cam", "guided_backprop"])
def test_the_input_follows_the_models_number_format(name: str, dtype: torch.dtype) -> None:
    model, x = cnn().double().eval(), picture().double()
    options = {"window": 4, "stride": 4} if name == "occlusion" else {}
    exact = METHODS[name](model, x, 1, **options).values
    found = METHODS[name](model.to(dtype), x.float(), 1, **options).values
    assert isinstance(exact, Tensor) and isinstance(found, Tensor) and bool(torch.isfinite(found).all())
    tolerance = max(FORMATS[dtype], 1e-6) * float(exact.abs().max())  # x.float() has already lost digits
    if name != "occlusion" or dtype in (torch.float64, torch.float32):  # small falls of a large score drown in rounding
        assert float((found.double() - exact).abs().max()) <= tolerance


def test_a_model_of_several_formats_says_so() -> None:
    class Converts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3).to(torch.bfloat16)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(self.first(x).to(torch.bfloat16))
            return out

    found = METHODS["saliency"](Converts(), torch.ones(1, 4), 0)
    assert any("float32" in note and "bfloat16" in note for note in found.notes)
    assert isinstance(found.values, Tensor) and found.values.dtype == torch.float32


@pytest.mark.parametrize("wrap", [nn.DataParallel, partial(torch.compile, backend="eager")])
def test_wrappers_are_taken_off_and_said(wrap: Any) -> None:
    model, x = cnn().eval(), picture()
    found = METHODS["grad_cam"](wrap(model), x, 1)
    assert torch.equal(found.values, METHODS["grad_cam"](model, x, 1).values)
    assert any(note.startswith("The model inside of") for note in found.notes)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("finish", [torch.jit.freeze, torch.jit.optimize_for_inference], ids=lambda f: f.__name__)
def test_a_frozen_script_which_has_no_training_flag_is_the_network(finish: Any) -> None:
    """Its weights are constants of its code, optimized ones in a layout that few operations know."""
    plain, x = cnn().eval(), picture(2)
    frozen = finish(torch.jit.script(plain))
    wanted, found = (METHODS["occlusion"](m, x, 1) for m in (plain, frozen))
    torch.testing.assert_close(found.values, wanted.values, rtol=1e-4, atol=1e-5)
    seen, whole = architecture_of(frozen, x), architecture_of(plain, x)
    if finish is torch.jit.freeze:
        assert seen.totals.flops == whole.totals.flops
    else:
        convolutions = whole.graph.nodes.op.count("conv2d")
        assert any(f"optimized: {convolutions} convolutions of it run out of sight" in note for note in seen.notes)


def test_an_empty_map_is_said_to_be_empty() -> None:
    model = nn.Linear(3, 2)
    nn.init.zeros_(model.weight)
    found = METHODS["saliency"](model, torch.ones(1, 3), 0)
    assert not bool(found.values.any())
    assert "The map is zero everywhere: the method found no evidence." in found.notes


def test_unprepared_pixels_are_remarked_on() -> None:
    preparation = Preparation(8, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    net, pixels = Network(cnn(), preparation=preparation), (picture() + 1) * 127.5
    said = [n for n in METHODS["saliency"](net, pixels, 0).notes if "net.read" in n]
    assert len(said) == 1 and f"{float(pixels.max()):.3g}" in said[0] and "-2.12 to 2.64" in said[0]
    for fine in (preparation.normalize(pixels / 255), torch.randn(1, 3, 8, 8)):
        assert not any("net.read" in n for n in METHODS["saliency"](net, fine, 0).notes)


@pytest.mark.parametrize("which", [np.int64(1), torch.tensor(1), torch.tensor([1, 1]), np.array([1, 1]), [1, 1]])
def test_a_class_may_be_a_whole_number_of_any_library(which: Any) -> None:
    model = nn.Linear(4, 3)
    jaxtyping.config.update("jaxtyping_disable", True)
    target = logit(which)
    jaxtyping.config.update("jaxtyping_disable", False)
    found = METHODS["saliency"](model, torch.ones(2, 4), target).values
    torch.testing.assert_close(found, model.weight[1].abs().detach().expand(2, 4))
