"""What every method promises, on networks that have attention; then on those of transformers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid as pl
from pellucid.core.errors import Stopped
from pellucid.core.network import Network
from pellucid.core.run import Run, running
from pellucid.core.target import logit, scalar
from pellucid.core.tensors import Tensors
from tests.attention_methods import METHODS, every_method, patches, relevance_of_one, values
from tests.attention_models import ALIKE, Two, ViT, pictures, words
from tests.traces import fingerprint

# What every method promises, here on networks that have attention (tests/test_promises.py holds the others to it)


def test_a_class_activation_map_beside_words() -> None:
    model, x = Two(), {"words": words(), "picture": pictures()}
    found = pl.methods.grad_cam(model, x, 1)
    seen: list[Tensor] = []
    handle = model.get_submodule(found.facts["site"]).register_forward_hook(lambda _m, _x, out: seen.append(out))
    (slope,) = torch.autograd.grad(model(**x)[:, 1].sum(), seen)
    handle.remove()
    assert seen[0].shape == (2, 6, 8) and bool(slope.any()), "the last patches that the score depends on"
    cam = torch.einsum("bc,bpc->bp", slope.mean(1), seen[0].detach()).relu()
    torch.testing.assert_close(patches(found.maps["picture"]), cam, rtol=1e-3, atol=1e-5)


def close(a: Tensor, b: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance * max(float(b.abs().max()), 1e-4))


@every_method
@pytest.mark.parametrize("spelling", [*ALIKE, "mha"])
def test_spelling_does_not_matter(name: str, spelling: str) -> None:
    x = pictures()
    close(values(name, ViT(spelling), x), values(name, ViT("by_matmul"), x), 1e-4)


@every_method
@pytest.mark.parametrize("read", ["first", "all"])
def test_a_sample_does_not_see_its_neighbors(name: str, read: str) -> None:
    net, x, classes = Network(ViT(read=read, layers=2).double()), pictures(4).double(), (0, 1, 2, 1)
    together = values(name, net, x, logit(classes))
    alone = [values(name, net, v[None], c) for v, c in zip(x, classes, strict=True)]
    close(torch.cat(alone), together, 1e-9)
    for limits in ({"max_batch": 1}, {"memory": 1}, {"max_batch": 3}, {"channels_last": False}):
        with running(Run(**limits)):
            close(values(name, net, x, logit(classes)), together, 1e-9)


@every_method
def test_same_bits_again_and_in_three_threads(name: str) -> None:
    net, x = Network(ViT("mha", layers=1)), [pictures(seed=s) for s in range(3)]
    want = [values(name, net, v) for v in x]
    got: list[list[Tensor]] = [[], [], []]

    def work(i: int) -> None:
        got[i].extend(values(name, net, x[i]) for _ in range(2))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(g) == 2 and all(torch.equal(v, w) for v in g) for g, w in zip(got, want, strict=True))


@every_method
def test_a_stop_raises_stopped_and_progress_reaches_its_total(name: str) -> None:
    heard: list[Any] = []
    with running(Run(progress=heard.append)):
        whole = METHODS[name](ViT(), pictures(), 1)
    assert heard and heard[-1].done == heard[-1].total and whole.cost.forwards == whole.cost.backwards == 2
    with running(Run(stop=lambda: True)), pytest.raises(Stopped):
        METHODS[name](ViT(), pictures(), 1)


@every_method
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_the_map_has_the_models_type(name: str, kind: torch.dtype) -> None:
    x = pictures()
    found = values(name, ViT().to(kind), x)
    assert found.dtype == kind
    whole = values(name, ViT(), x)
    close(found.float(), whole, {torch.float16: 0.05, torch.bfloat16: 0.3}.get(kind, 1e-5))


@every_method
def test_an_explanation_says_where_it_comes_from_and_saves(name: str, tmp_path: Any) -> None:
    found = METHODS[name](ViT(), pictures(), None)
    assert found.method == name and set(found.options) == {o.name for o in METHODS[name].options}
    assert found.values.shape == (2, 1, 6, 4) and not found.signed and found.facts["layers"] == 3
    again = pl.load(found.save(tmp_path / "why.pellucid")).rerun(Network(ViT()))
    assert torch.equal(again.values, found.values)


@every_method
def test_the_trust_card_tests_it(name: str) -> None:
    found = pl.explain(ViT(), pictures(1), 1, method=name)
    assert [c for c in found.checks if c.value == c.value], "at least one check measured something"


def test_the_chain_of_a_model_that_draws_is_the_same_again() -> None:
    class Draws(ViT):
        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = F.dropout(super().forward(x), 0.5, training=True)
            return out

    net, x = Network(Draws().train()), pictures()
    before = fingerprint(net.model, x)
    first = METHODS["attention_relevance"](net, x, 1).values
    assert torch.equal(METHODS["attention_relevance"](net, x, 1).values, first)
    assert fingerprint(net.model, x) == before


# Transformers of the transformers package, against the attention that it puts out itself


TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


def bert(kind: str) -> tuple[nn.Module, Tensors, Callable[[Any], Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(vocab_size=30, num_labels=3, attn_implementation=kind, **TINY)
    torch.manual_seed(0)
    mask = torch.ones(2, 6, dtype=torch.long)
    mask[1, 4:] = 0
    x = {"input_ids": torch.randint(3, 30, (2, 6)), "attention_mask": mask}
    return transformers.BertForSequenceClassification(config).eval(), x, lambda y: y.logits[:, 1]


def gpt2(kind: str) -> tuple[nn.Module, Tensors, Callable[[Any], Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=30, attn_implementation=kind,
                                     bos_token_id=1, eos_token_id=2)  # fmt: skip
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config).eval()
    return model, {"input_ids": torch.randint(0, 30, (2, 6))}, lambda y: y.logits[:, -1, 3]


def llama(kind: str) -> tuple[nn.Module, Tensors, Callable[[Any], Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(**TINY | {"num_attention_heads": 4}, num_key_value_heads=2, vocab_size=30,
                                      attn_implementation=kind)  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).eval()
    return model, {"input_ids": torch.randint(0, 30, (2, 6))}, lambda y: y.logits[:, -1, 3]


def hf_vit(kind: str) -> tuple[nn.Module, Tensors, Callable[[Any], Tensor]]:
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(**TINY, image_size=16, patch_size=4, num_labels=3, attn_implementation=kind)
    torch.manual_seed(0)
    x = {"pixel_values": torch.randn(2, 3, 16, 16)}
    return transformers.ViTForImageClassification(config).eval(), x, lambda y: y.logits[:, 1]


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
@pytest.mark.parametrize("build", [bert, gpt2, llama, hf_vit])
def test_transformers_attention_and_its_relevance(build: Any, kind: str) -> None:
    model, x, score = build(kind)
    oracle, _, _ = build("eager")
    out = oracle(**x, output_attentions=True)
    grads = torch.autograd.grad(score(out).sum(), out.attentions, retain_graph=True)
    arrays = [a.detach().numpy() for a in out.attentions]
    r = relevance_of_one(arrays, [g.numpy() for g in grads])
    at = -1 if build in (gpt2, llama) else 0
    net, own = Network(model), build is hf_vit

    def tokens(name: str) -> Any:
        found = next(iter(METHODS[name](net, x, scalar(score)).maps.values()))
        return patches(found, (4, 4)).numpy() if own else found[:, :, 0].numpy()

    identity = np.eye(r.shape[-1])[at]
    np.testing.assert_allclose(tokens("attention_relevance"), (r[:, at] - identity)[:, own:], rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(tokens("raw_attention"), arrays[-1].mean(1)[:, at, own:], rtol=1e-4, atol=1e-6)
    product = np.eye(r.shape[-1])
    for a in arrays:
        product = (0.5 * a.mean(1) + 0.5 * np.eye(r.shape[-1])) @ product
    np.testing.assert_allclose(tokens("attention_rollout"), product[:, at, own:], rtol=1e-4, atol=1e-6)


def test_clip_has_a_map_of_words_and_one_of_patches() -> None:
    from tests.zoo_of_kinds import build, clip

    model, _, x = build(clip)

    def score(out: Any) -> Tensor:
        similarity: Tensor = out.logits_per_image.diagonal()
        return similarity

    model.set_attn_implementation("eager")
    out = model(**x, output_attentions=True)
    found = METHODS["attention_relevance"](Network(model), x, scalar(score)).maps
    end = int(x["input_ids"].argmax(1))  # where this version of CLIP reads the words
    for name, part, at in (("input_ids", out.text_model_output, end), ("pixel_values", out.vision_model_output, 0)):
        grads = torch.autograd.grad(score(out).sum(), part.attentions, retain_graph=True, allow_unused=True)
        r = relevance_of_one([a.detach().numpy() for a in part.attentions], [g.numpy() for g in grads])
        row = (r[:, at] - np.eye(r.shape[-1])[at])[:, name == "pixel_values" :]
        own = patches(found[name], (4, 4)) if name == "pixel_values" else found[name][:, :, 0]
        np.testing.assert_allclose(own, row, rtol=1e-3, atol=1e-6)
