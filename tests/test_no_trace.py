"""The promise that a model is never changed, for every method in many circumstances; and who breaks it is refused."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pellucid.core.errors import BadInput, BadModel, Stopped
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.score import Score
from pellucid.core.site import Site
from pellucid.core.structure import leaves
from pellucid.core.target import channel
from pellucid.methods import all_methods
from tests.conditions import SCENES, Scene, cnn, picture
from tests.traces import content, fingerprint

METHODS = all_methods()
FEW: dict[str, dict[str, Any]] = {
    "integrated_gradients": {"steps": 3},
    "conductance": {"steps": 1},
    "internal_influence": {"steps": 3},
    "xrai": {"steps": 2},
    "integrated_hessians": {"steps": 2, "cells": 2},
    "gradient_shap": {"samples": 3},
    "smooth_grad": {"samples": 3},
    "occlusion": {"window": 4, "stride": 4},
    "feature_ablation": {"cells": 2},
    "feature_permutation": {"cells": 2},
    "shapley_values": {"cells": 2},
    "shapley_interactions": {"cells": 2},
    "kernel_shap": {"cells": 2, "samples": 30},
    "shapley_sampling": {"cells": 2, "pairs": 2},
    "partition_shap": {"cells": 2},
    "lime": {"cells": 2, "samples": 20},
    "rise": {"masks": 4, "cells": 2},
    "sobol": {"designs": 2, "cells": 2},
    "blur_integrated_gradients": {"steps": 3},
    "guided_integrated_gradients": {"steps": 3},
    "sequential_integrated_gradients": {"steps": 2, "cells": 2},
    "wavelet_integrated_gradients": {"steps": 3},
    "hsic": {"masks": 4, "cells": 2},
    "extremal_perturbation": {"steps": 2, "cells": 2},
}
AT_A_MAP = [name for name, method in METHODS.items() if method.family == "class activation"]
AT_ATTENTION = [name for name, method in METHODS.items() if method.family == "attention"]
EVERYWHERE = [name for name in METHODS if name not in AT_ATTENTION]
BY_SCORES = [n for n, m in METHODS.items() if m.family in ("perturbation", "coalition")]  # need no gradient
OVER_PLACES = (
    "rise",
    "sobol",
    "hsic",
    "extremal_perturbation",
    "xrai",
)  # what covers parts of a picture, and of nothing else
WITH_NEIGHBORS = ("blur_integrated_gradients", "wavelet_gradients", "wavelet_integrated_gradients")  # not for columns


def explain(name: str, scene: Scene) -> Any:
    with scene.around():
        return METHODS[name](scene.model, scene.x, 1, **FEW.get(name, {}))


def alone(name: str, scene: Scene) -> bool:
    """Is this a single sample for a method that compares several?  It is refused before anything runs."""
    return METHODS[name].together and len(next(iter(leaves(scene.x)))) == 1


def explain_or_refuse(name: str, scene: Scene) -> None:
    nothing_there = name in AT_ATTENTION or (scene.opaque and name in AT_A_MAP)
    refused: type[Exception] | None = BadModel if nothing_there and scene.raises is None else scene.raises
    refused = BadInput if alone(name, scene) else refused
    if refused is not None:
        with pytest.raises(refused):
            explain(name, scene)
        return
    maps = explain(name, scene).values
    assert isinstance(maps, Tensor) and bool(torch.isfinite(maps).all()) and not maps.requires_grad


@pytest.fixture(autouse=True)
def _old_ways() -> Iterator[None]:
    """Scripting and wrapping announce their own retirement."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch")
        warnings.filterwarnings("ignore", message=".*torch.jit.*")
        yield


@pytest.mark.parametrize("condition", SCENES)
@pytest.mark.parametrize("name", METHODS)
def test_no_trace(name: str, condition: str) -> None:
    scene = SCENES[condition]()
    before = fingerprint(scene.model, scene.x)
    explain_or_refuse(name, scene)
    assert fingerprint(scene.model, scene.x) == before
    assert alone(name, scene) or scene.after()


def test_there_are_many_combinations() -> None:
    assert len(SCENES) >= 10 and len(SCENES) * len(METHODS) >= 100


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("after", [0, 1, 2])
def test_no_trace_after_a_stop(name: str, after: int) -> None:
    scene, asked = SCENES["training"](), 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    before = fingerprint(scene.model, scene.x)
    with running(Run(stop=stop, max_batch=1)):
        try:
            known = explain(name, scene).stopped  # a method that averages returns what it has
        except Stopped:
            known = "nothing"
    assert known or asked <= after
    assert fingerprint(scene.model, scene.x) == before


def values(name: str, net: nn.Module | Network, x: Any) -> Tensor:
    found = METHODS[name](net, x, 1, **FEW.get(name, {})).values
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize("condition", ["stochastic", "own_generator"])
def test_a_model_that_draws_is_explained_from_the_same_numbers_each_time(condition: str) -> None:
    scene = SCENES[condition]()
    first = values("smooth_grad", scene.model, scene.x)
    torch.rand(5)
    assert torch.equal(values("smooth_grad", scene.model, scene.x), first)
    net = Network(scene.model)
    for _ in range(3):
        assert torch.equal(values("smooth_grad", net, scene.x), first)
    with running(Run(seed=1)):
        again = values("smooth_grad", scene.model, scene.x)
    assert not torch.equal(again, first)


@pytest.mark.parametrize("shared", [True, False], ids=["one network", "a network each"])
@pytest.mark.parametrize("condition", ["training", "closure", "stochastic"])
@pytest.mark.parametrize("pair", [("guided_backprop", "saliency"), ("deconvolution", "integrated_gradients")])
def test_two_threads_on_one_model_get_their_own_maps(pair: tuple[str, str], condition: str, shared: bool) -> None:
    scene = SCENES[condition]()
    target = Network(scene.model) if shared else scene.model
    alone = {name: values(name, scene.model, scene.x) for name in pair}
    before = fingerprint(scene.model, scene.x)
    wrong, ready = list[str](), threading.Barrier(2)

    def work(name: str) -> None:
        ready.wait()
        for _ in range(10):
            try:
                if not torch.equal(values(name, target, scene.x), alone[name]):
                    wrong.append(f"{name}: another map")
            except Exception as error:
                wrong.append(f"{name}: {error!r}")

    threads = [threading.Thread(target=work, args=(name,)) for name in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert fingerprint(scene.model, scene.x) == before


@pytest.mark.parametrize(
    ("name", "condition"),
    [(name, condition) for name in AT_A_MAP for condition in ("training", "stochastic", "edits_itself", "closure")],
)
def test_a_network_that_remembers_where_its_map_is_gives_the_same_map_again(name: str, condition: str) -> None:
    scene = SCENES[condition]()
    net = Network(scene.model)
    first = values(name, net, scene.x)
    assert torch.equal(values(name, net, scene.x), first)


def edit_in_place(linear: nn.Linear) -> None:
    linear.weight.mul_(0.9)


def edit_data(linear: nn.Linear) -> None:
    linear.weight.data.mul_(0.9)


def edit_by_out(linear: nn.Linear) -> None:
    torch.mul(linear.weight, 0.9, out=linear.weight)


def edit_many(linear: nn.Linear) -> None:
    torch._foreach_mul_([linear.bias, linear.weight], 0.9)


def edit_a_view(linear: nn.Linear) -> None:
    linear.weight.view(-1)[0] = 5.0


def edit_by_initializing(linear: nn.Linear) -> None:
    nn.init.zeros_(linear.weight)


class Edits(nn.Module):
    def __init__(self, edit: Callable[[nn.Linear], None], listed: bool = False) -> None:
        super().__init__()
        linear = nn.Linear(4, 3)
        self.held: Any = [linear] if listed else nn.ModuleList([linear])
        self.first, self.edit = nn.Linear(4, 4), edit

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        with torch.no_grad():
            self.edit(self.held[0])
        out: Tensor = self.held[0](x)
        return out


EDITS = (edit_in_place, edit_data, edit_by_out, edit_many, edit_a_view, edit_by_initializing)


@pytest.mark.parametrize("listed", [False, True], ids=["registered", "in a list"])
@pytest.mark.parametrize("edit", EDITS)
def test_a_model_that_edits_its_parameters_is_refused_before_it_does(
    edit: Callable[[nn.Linear], None], listed: bool
) -> None:
    model, x = Edits(edit, listed).train(), torch.ones(2, 4)
    before = fingerprint(model, x)
    for name in ("saliency", "occlusion"):
        with pytest.raises(BadModel, match="edits its own parameter"):
            METHODS[name](model, x, 1)
        assert fingerprint(model, x) == before


def test_a_pass_that_was_cut_short_proves_nothing() -> None:
    model, x = Edits(edit_in_place), torch.ones(2, 4)
    net, before = Network(model), fingerprint(model, x)
    score = Score(net, channel("first", 0))
    assert score.values({"x": x}, Site("first"))[Site("first")].shape == (2, 4)
    with pytest.raises(BadModel, match="edits its own parameter"):
        METHODS["saliency"](net, x, 1)
    assert fingerprint(model, x) == before


def test_a_pass_that_was_cut_short_does_not_hide_that_the_model_draws() -> None:
    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(nn.functional.dropout(self.first(x), 0.5, training=True))
            return out

    net, x = Network(Late()), torch.ones(2, 4)
    Score(net, channel("first", 0)).values({"x": x}, Site("first"))
    state = torch.get_rng_state()
    first = values("saliency", net, x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(values("saliency", net, x), first)


def test_hooks_of_the_user_see_every_pass_and_stay() -> None:
    model, seen = cnn().eval(), list[tuple[int, ...]]()
    handle = model[0].register_forward_hook(lambda _m, x, _out: seen.append(tuple(x[0].shape)))
    found = METHODS["saliency"](model, picture(2), 1)
    assert sum(shape[0] for shape in seen) == found.cost.forwards == 2
    handle.remove()
    assert not model[0]._forward_hooks


def test_a_hook_that_changes_values_changes_the_explanation() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).eval()
    model[0].register_forward_hook(lambda _m, _x, out: 2 * out)
    x = torch.ones(1, 3)
    expected = 2 * (model[1].weight @ model[0].weight)[1]
    torch.testing.assert_close(values("input_x_gradient", model, x)[0], expected.detach())


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]) -> None:
        super().__init__()
        self.table, self.cell, self.end = nn.Embedding(11, 5), kind(5, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.end(self.cell(self.table(ids))[0][:, -1])
        return out


FOR_SEQUENCES = [name for name in EVERYWHERE if name not in (*AT_A_MAP, *OVER_PLACES)]


@pytest.mark.parametrize("name", FOR_SEQUENCES)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_models(kind: type[nn.LSTM], name: str) -> None:
    model, ids = Recurrent(kind).train(), torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    before = fingerprint(model, ids)
    options = {"window": 1, "stride": 1} if name == "occlusion" else FEW.get(name, {})
    found = METHODS[name](model, ids, 1, **options).values
    assert isinstance(found, Tensor) and found.shape[:2] == (2, 4)
    assert fingerprint(model, ids) == before


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", [n for n in FOR_SEQUENCES if n not in WITH_NEIGHBORS])  # of a table
def test_a_dynamically_quantized_model_is_borrowed_and_put_back(name: str) -> None:
    if not {"qnnpack", "fbgemm"} & set(torch.backends.quantized.supported_engines):
        pytest.skip("this torch was built without quantized operations")
    plain = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    model, x = torch.ao.quantization.quantize_dynamic(plain.eval(), {nn.Linear}), torch.ones(2, 4)
    before = fingerprint(model, x)
    if name in BY_SCORES:
        found = METHODS[name](model, x, 1, **({"window": 1} if name == "occlusion" else FEW.get(name, {})))
        assert any("borrowed" in note for note in found.notes)
    else:
        with pytest.raises(BadModel, match="differentiabl"):
            METHODS[name](model, x, 1, **FEW.get(name, {}))
    assert fingerprint(model, x) == before


@pytest.mark.parametrize("name", EVERYWHERE)
def test_keras_models(name: str) -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((3, 8, 8)), layers.Conv2D(4, 3, data_format="channels_first"), layers.BatchNormalization(axis=1),
         layers.ReLU(), layers.Dropout(0.5), layers.Flatten(), layers.Dense(3)]
    )  # fmt: skip
    assert isinstance(model, nn.Module)
    x, before = picture(2), [(w.path, content(w.value)) for w in model.weights]
    trace = fingerprint(model, x)
    found = METHODS[name](model, x, 1, **FEW.get(name, {})).values
    assert isinstance(found, Tensor) and found.shape[2:] == (8, 8)
    assert [(w.path, content(w.value)) for w in model.weights] == before
    assert fingerprint(model, x) == trace


@pytest.mark.parametrize("name", [*FOR_SEQUENCES, *AT_ATTENTION])
def test_a_transformer_is_explained_at_its_embedding(name: str) -> None:
    transformers = pytest.importorskip("transformers")
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=30, num_labels=3, **size))
    ids = {"input_ids": torch.tensor([[2, 7, 9, 11, 3], [2, 5, 8, 6, 3]]), "attention_mask": torch.ones(2, 5).long()}
    before = fingerprint(model, ids)
    options = {"window": 1, "stride": 1} if name == "occlusion" else FEW.get(name, {})
    found = METHODS[name](model, ids, 1, **options).values
    assert isinstance(found, Tensor)
    by_position = (*BY_SCORES, *AT_ATTENTION, "integrated_hessians")
    assert found.shape == ((2, 5, 1) if name in by_position else (2, 5, 16))
    assert fingerprint(model, ids) == before
