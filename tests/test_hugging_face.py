"""Hugging Face folders: what they hold is what opens, as transformers itself runs it, and nothing of theirs is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pellucid as pl
from pellucid.core.errors import BadInput, BadModel
from pellucid.core.recording.record import record_module
from pellucid.doors.transformers.hugging_face import blueprint, open_file
from tests.transformers_folders import PROCESSOR, SMALL, VISION, bert, clip, gpt2, saved

transformers: Any = pytest.importorskip("transformers")


@pytest.mark.parametrize("name", VISION)
def test_vision(name: str, tmp_path: Path) -> None:
    config, kind = VISION[name]
    model = saved(tmp_path, config(), kind)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR), encoding="utf-8")
    net = open_file(tmp_path)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    x = net.read(picture)
    with torch.no_grad():
        wanted = model(pixel_values=x).logits
        assert torch.allclose(net.pick(net.model(x)), wanted, atol=1e-6)
    assert net.inputs == ("pixel_values",) and x.shape == (1, 3, 16, 16)
    why = pl.methods.integrated_gradients(net, x, 1, steps=4)
    assert float(why.values.abs().sum()) > 0
    assert net.labels == ()  # LABEL_0 says nothing


def test_a_network_of_sounds_asks_for_tensors(tmp_path: Path) -> None:
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
             "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}  # fmt: skip
    config = transformers.WhisperConfig(vocab_size=30, d_model=16, pad_token_id=0, bos_token_id=0, eos_token_id=0,
                                        decoder_start_token_id=0, max_source_positions=8, **sizes)  # fmt: skip
    saved(tmp_path, config, "WhisperForConditionalGeneration")
    with pytest.raises(BadInput, match="takes input_features and decoder_input_ids, and nothing here makes those"):
        pl.explain(open_file(tmp_path), "speech.wav")


def test_clip_as_pairs_towers_and_a_classifier(tmp_path: Path) -> None:
    model = clip(tmp_path)
    picture = Image.fromarray(np.random.default_rng(1).integers(0, 255, (20, 16, 3), dtype=np.uint8))
    texts = ("the film was good", "bad film")
    choice = open_file(tmp_path, texts=texts)
    x = choice.read(picture)
    words = [open_file(tmp_path, tower="text").read(t) for t in texts]
    with torch.no_grad():
        wanted = torch.cat([model(pixel_values=x, **w).logits_per_image for w in words], 1)
        assert torch.allclose(choice.model(x), wanted, atol=1e-4)
        pair = open_file(tmp_path)
        given = pair.read((picture, texts[1]))
        assert torch.allclose(pair.model(**given), wanted[:, 1:], atol=1e-4)
        features = open_file(tmp_path, tower="image").model(x)
        assert torch.allclose(features @ choice.model.texts.T * model.logit_scale.exp(), wanted, atol=1e-4)
    assert choice.labels == texts
    stated = pl.open(tmp_path, labels=texts)
    with torch.no_grad():
        assert stated.labels == texts and torch.equal(stated.model(x), choice.model(x))
    assert not any("training" in note for note in pl.methods.saliency(stated, x, 0).notes)
    with pytest.raises(BadInput, match=r"scores a picture and a text together; a str was given.*labels="):
        pl.explain(pair, "cat.jpg")
    two = {k: torch.cat([v, v]) for k, v in given.items()}
    why = pl.methods.input_x_gradient(pair, two, 0)  # samples do not meet
    assert torch.allclose(why.maps["pixel_values"][0], why.maps["pixel_values"][1], atol=1e-5)
    assert why.facts["tokens"][0][1:3] == ("bad", "film")


def test_shards(tmp_path: Path) -> None:
    model = bert(tmp_path, max_shard_size="4KB")
    assert not (tmp_path / "model.safetensors").exists()
    net = open_file(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(net.model.parameters(), model.parameters(), strict=True))
    index = tmp_path / "model.safetensors.index.json"
    weights = json.loads(index.read_text(encoding="utf-8"))
    first = next(iter(weights["weight_map"]))
    for name, sentence in (("../other.safetensors", "outside"), ("gone.safetensors", "lacks")):
        weights["weight_map"][first] = name
        index.write_text(json.dumps(weights), encoding="utf-8")
        with pytest.raises(BadModel, match=sentence):
            open_file(tmp_path)


def test_opening_draws_no_random_number(tmp_path: Path) -> None:
    bert(tmp_path)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    open_file(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_blueprint_needs_no_weights(tmp_path: Path) -> None:
    model = bert(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    for path in (tmp_path, tmp_path / "config.json"):
        plan, x = blueprint(path)
        assert all(p.is_meta for p in plan.parameters())
        assert {k: v.shape for k, v in plan.named_parameters()} == {k: v.shape for k, v in model.named_parameters()}
        with torch.no_grad():
            assert model(**x).logits.shape == (1, 2)


def test_without_a_head_the_pooled_features_are_explained(tmp_path: Path) -> None:
    config = transformers.Dinov2Config(image_size=28, patch_size=14, **SMALL)
    model = saved(tmp_path, config, "Dinov2Model")
    net, x = open_file(tmp_path), torch.rand(1, 3, 28, 28)
    with torch.no_grad():
        assert torch.allclose(net.pick(net.model(x)), model(x).pooler_output, atol=1e-6)


@pytest.mark.parametrize("name", VISION)
def test_a_blueprint_is_mapped_without_numbers(name: str, tmp_path: Path) -> None:
    config, kind = VISION[name]
    model = saved(tmp_path, config(), kind)
    plan, x = blueprint(tmp_path)
    fake, real = (record_module(m, (), x, fake=m is plan) for m in (plan, model))
    assert [op.name for op in fake.operations] == [op.name for op in real.operations]


def ends(found: Any) -> list[Any]:
    """The shapes of what it was run on."""
    nodes = found.graph.nodes
    return sorted(shape for op, shape in zip(nodes.op, nodes.shape, strict=True) if op == "input")


@pytest.mark.parametrize("make", [bert, gpt2, clip])
def test_an_opened_model_is_mapped_on_the_stand_ins_of_its_folder(make: Any, tmp_path: Path) -> None:
    make(tmp_path)
    stored, opened = pl.map(tmp_path), pl.map(open_file(tmp_path))
    assert ends(stored) == ends(opened) and len(ends(opened)) > 1
    assert stored.totals.flops is not None and opened.totals.flops is not None
    if make is not clip:  # a pair's score is worked out in another way than all pairs' scores
        assert stored.totals.flops == opened.totals.flops
    compared = pl.map_difference(tmp_path, open_file(tmp_path))
    assert compared.a.totals.flops == compared.b.totals.flops == opened.totals.flops


def test_siglip_scores_pairs_with_its_bias(tmp_path: Path) -> None:
    text = {"vocab_size": 30, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2, **SMALL}
    config = transformers.SiglipConfig(text_config=text, vision_config={"image_size": 16, "patch_size": 8, **SMALL})
    model = saved(tmp_path, config, "SiglipModel")
    ids, picture = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 1]]), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        wanted = model(input_ids=ids, pixel_values=picture).logits_per_image
        assert torch.allclose(open_file(tmp_path).model(ids, picture), wanted, atol=1e-4)
