"""Hugging Face folders: what they hold is what opens, as transformers itself runs it, and nothing of theirs is run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import pellucid as pl
from pellucid.core.errors import BadInput, BadModel, BadTarget, Missing, PellucidError
from pellucid.core.recording.record import record_module
from pellucid.doors.pictures.prepare import prepare
from pellucid.doors.transformers.hugging_face import blueprint, open_file, open_name
from pellucid.doors.transformers.preparation import preparation_of, stated_in
from pellucid.surfaces.cli import main

transformers: Any = pytest.importorskip("transformers")

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "good", "bad", "very", "##ly", "not"]
TEXT = "the film was very good"


def saved(folder: Path, config: Any, kind: str, **more: Any) -> Any:
    torch.manual_seed(0)
    model = getattr(transformers, kind)(config).eval()
    for p in model.parameters():  # what is drawn for a transformer is too small to tell one input from another
        p.data.normal_(0, 0.3)
    model.save_pretrained(folder, **more)
    return model


def bert(folder: Path, **more: Any) -> Any:
    config = transformers.BertConfig(vocab_size=len(WORDS), num_labels=2, id2label={0: "bad", 1: "good"},
                                     max_position_embeddings=12, **SMALL)  # fmt: skip
    model = saved(folder, config, "BertForSequenceClassification", **more)
    tokenizer(folder)
    return model


def tokenizer(folder: Path) -> None:
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    made = transformers.BertTokenizer(vocab={w: i for i, w in enumerate(WORDS)})
    made.save_pretrained(folder)


VISION: dict[str, tuple[Callable[[], Any], str]] = {
    "vit": (
        lambda: transformers.ViTConfig(image_size=16, patch_size=4, num_labels=3, **SMALL),
        "ViTForImageClassification",
    ),
    "resnet": (
        lambda: transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=3,
                                          layer_type="basic"),
        "ResNetForImageClassification",
    ),
    "convnext": (
        lambda: transformers.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, num_labels=3,
                                            image_size=16),
        "ConvNextForImageClassification",
    ),
    "swin": (
        lambda: transformers.SwinConfig(image_size=16, patch_size=2, embed_dim=8, depths=[1, 1], num_heads=[1, 2],
                                        window_size=4, num_labels=3),
        "SwinForImageClassification",
    ),
}  # fmt: skip
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "do_rescale": True, "do_normalize": True,
    "size": {"height": 16, "width": 16}, "resample": 2, "rescale_factor": 1 / 255,
    "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4],
}  # fmt: skip


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


def test_text_is_read_and_its_words_are_in_the_report(tmp_path: Path) -> None:
    model = bert(tmp_path)
    net = open_file(tmp_path)
    x = net.read(TEXT)
    assert {k: tuple(v.shape) for k, v in x.items()} == {"input_ids": (1, 7), "attention_mask": (1, 7)}
    why = pl.explain(net, TEXT, "good", method="input_x_gradient", trust="quick")
    assert why.facts["tokens"] == (("[CLS]", "the", "film", "was", "very", "good", "[SEP]"),)
    assert why.target == "logit of good (1)"
    with torch.no_grad():
        assert torch.allclose(net.pick(net.model(**x)), model(**x).logits)
    page = why.save(tmp_path / "why.html").read_text(encoding="utf-8")
    assert "film" in page and "[SEP]" in page


def test_texts_of_several_lengths_are_padded_and_kept_apart(tmp_path: Path) -> None:
    bert(tmp_path)
    net = open_file(tmp_path)
    both, one = net.read([TEXT, "the film"]), net.read("the film")
    with torch.no_grad():
        assert torch.allclose(net.model(**both).logits[1], net.model(**one).logits[0], atol=1e-5)
    why = pl.methods.input_x_gradient(net, both, 0)
    assert [len(t) for t in why.facts["tokens"]] == [7, 7] and why.facts["tokens"][1][4:] == ("[PAD]",) * 3


@pytest.mark.parametrize("text", ["", 3, ["good", ""], "good " * 40])
def test_what_is_no_text_for_it_is_refused(text: Any, tmp_path: Path) -> None:
    bert(tmp_path)
    with pytest.raises(BadInput):
        open_file(tmp_path).read(text)


@pytest.mark.parametrize("kind", ["GPT2LMHeadModel", "GPT2ForSequenceClassification"])
def test_arguments_between_the_inputs_are_left_out(kind: str, tmp_path: Path) -> None:
    """GPT-2's forward has a cache between the token ids and their mask."""
    config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=30, n_positions=9, num_labels=3,
                                     pad_token_id=0)  # fmt: skip
    model = saved(tmp_path, config, kind)
    net = open_file(tmp_path)
    x = {"input_ids": torch.tensor([[4, 9, 7, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.long)}
    target = pl.token(-1, 5) if "LM" in kind else pl.logit(2)
    why = pl.methods.integrated_gradients(net, x, target, steps=8)
    with torch.no_grad():
        out = model(**x).logits
    score = pl.methods.input_x_gradient(net, x, target).score
    assert score is not None and net.inputs == ("input_ids", "attention_mask")
    assert float(score(net_input(why))) == pytest.approx(float(out[0, -1, 5] if "LM" in kind else out[0, 2]), abs=1e-4)
    assert "no tokenizer" in " ".join(net.notes)
    with pytest.raises(BadInput, match="its tokenizer is not in the folder"):
        net.read("a text")


def net_input(why: Any) -> Any:
    """What the score is a function of: the embedded tokens."""
    from pellucid.core.embedding import embedded

    with why.net.lease() as model:
        return embedded(why.net, model, why.x)[0]


def clip(folder: Path) -> Any:
    text = {"vocab_size": len(WORDS), "max_position_embeddings": 12, "eos_token_id": 3, **SMALL}
    vision = {"image_size": 16, "patch_size": 8, **SMALL}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    model = saved(folder, config, "CLIPModel")
    tokenizer(folder)
    settings = {**PROCESSOR, "image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 16},
                "crop_size": {"height": 16, "width": 16}, "do_center_crop": True}  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return model


def gpt2(folder: Path) -> Any:
    config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=len(WORDS), n_positions=9,
                                     pad_token_id=0)  # fmt: skip
    model = saved(folder, config, "GPT2LMHeadModel")
    tokenizer(folder)
    return model


def test_without_a_target_the_next_token_is_explained(tmp_path: Path) -> None:
    model = gpt2(tmp_path)
    net = open_file(tmp_path)
    with torch.no_grad():
        x = net.read([TEXT, "the film"])
        out = model(**x).logits
        alone = model(**net.read(TEXT)).logits[0, -1]
    best = [int(out[0, -1].argmax()), int(out[1, 3].argmax())]  # [CLS] the film [SEP], then three of padding
    why = pl.methods.input_x_gradient(net, x)
    assert why.target == f"each(token(-1, {best[0]}), token(-4, {best[1]}))"
    one = pl.explain(net, TEXT, method="input_x_gradient", trust="quick")
    assert one.target == f"token(-1, {int(alone.argmax())}), which is {WORDS[int(alone.argmax())]!r}"
    good = pl.methods.input_x_gradient(net, net.read(TEXT), "good")
    assert good.target == f"token(-1, {WORDS.index('good')}), which is 'good'"
    assert pl.methods.input_x_gradient(net, net.read(TEXT), WORDS.index("good")).target == good.target
    again = pl.open(net, name="of another name")
    assert pl.methods.input_x_gradient(again, again.read(TEXT), "good").target == good.target
    for wrong in ("no such word", len(WORDS), -1):
        with pytest.raises(BadTarget):
            pl.methods.input_x_gradient(net, net.read(TEXT), wrong)


def test_the_command_explains_a_text_and_no_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model").mkdir()
    bert(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    for given, name in (("cat.jpg", "a picture"), ("said.txt", TEXT)):
        (tmp_path / given).write_text(name, encoding="utf-8")
    quick = ("--model", "model", "--quiet", "--trust", "quick", "--method", "input_x_gradient", "--json")
    assert main(["explain", "cat.jpg", *quick]) == 1
    assert "cat.jpg is a file; model explains a text" in capsys.readouterr().err
    assert main(["explain", "said.txt", *quick]) == 0
    of_file = json.loads(capsys.readouterr().out)
    assert main(["explain", TEXT, *quick]) == 0
    of_text = json.loads(capsys.readouterr().out)
    assert [c["value"] for c in of_text["checks"]] == [c["value"] for c in of_file["checks"]]


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


def changed(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda config: config.update(values)


CONFIGS = {
    "own code": (changed(auto_map={"AutoModel": "evil.Model"}), "needs Python code of its own"),
    "an unknown class": (changed(architectures=["EvilModel"]), "does not have"),
    "a name that is no model": (changed(architectures=["logging"]), "does not have"),
    "a path": (changed(architectures=["os.system"]), "does not have"),
    "quantized": (changed(quantization_config={"quant_method": "gptq", "bits": 4}), r"quantized by gptq \(4 bits\)"),
    "quantized when it is loaded": (
        changed(quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}),
        r"quantized by bitsandbytes \(8 bits\)",
    ),
    "no type": (lambda c: c.pop("model_type"), "names no model_type"),
    "a head that was never trained": (changed(architectures=["BertForQuestionAnswering"]), "weights of"),
    "another size": (changed(vocab_size=20), r"have another shape there: bert.embeddings.word_embeddings.weight"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_that_are_refused(name: str, tmp_path: Path) -> None:
    change, sentence = CONFIGS[name]
    bert(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(BadModel, match=sentence):
        open_file(tmp_path)


FOLDERS = {
    "adapter_config.json": "adapter",
    "model_index.json": "pipeline of several networks",
    "modules.json": "sentence-transformers",
    "nothing": "no config.json",
}


@pytest.mark.parametrize("name", FOLDERS)
def test_folders_of_other_kinds(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}", encoding="utf-8")
    with pytest.raises(BadModel, match=FOLDERS[name]):
        open_file(tmp_path)


def test_an_adapter_says_of_which_model(tmp_path: Path) -> None:
    said = {"peft_type": "LORA", "base_model_name_or_path": "someone/film"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(said), encoding="utf-8")
    with pytest.raises(
        BadModel, match=r"adapter \(LORA\), which changes someone/film and is none itself.*merge_and_unload"
    ):
        pl.open(tmp_path)


def test_a_quantized_network_is_drawn_as_it_was_before(tmp_path: Path) -> None:
    bert(tmp_path)
    plain = pl.map(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["quantization_config"] = {"quant_method": "awq", "bits": 4}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    found = pl.map(tmp_path)
    assert found.graph.nodes == plain.graph.nodes and "quantized by awq (4 bits)" in found.notes[0]


@pytest.mark.parametrize("name", ["tf_model.h5", "flax_model.msgpack"])
def test_weights_of_other_frameworks(name: str, tmp_path: Path) -> None:
    bert(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / name)
    with pytest.raises(BadModel, match=r"from_(tf|flax)=True"):
        open_file(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(Missing, match="no weights"):
        open_file(tmp_path)


def test_pickled_code_beside_the_weights_is_not_run(tmp_path: Path) -> None:
    bert(tmp_path)
    mark = tmp_path / "ran"
    (tmp_path / "model.safetensors").unlink()
    torch.save({"a": Evil(str(mark))}, tmp_path / "pytorch_model.bin")
    with pytest.raises(PellucidError):
        open_file(tmp_path)
    assert not mark.exists()


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_a_name_is_looked_up_in_the_cache_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--someone--film" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    bert(snapshot)
    net = open_name("hf:someone/film")
    assert net.name == net.source == "hf:someone/film"
    with pytest.raises(Missing, match="hf download someone/other"):
        open_name("hf:someone/other")
    for name in ("hf:../../etc", "hf:a/b/c", "hf:"):
        with pytest.raises(BadModel):
            open_name(name)


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


# Preparation, against the processors themselves (Pillow's, which round to whole 0..255 twice while resizing)

PROCESSORS = {
    "ViTImageProcessorPil": {"size": {"height": 16, "width": 16}},
    "DeiTImageProcessorPil": {"size": {"height": 20, "width": 20}, "crop_size": {"height": 16, "width": 16}},
    "CLIPImageProcessorPil": {"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}},
    "ConvNextImageProcessorPil": {"size": {"shortest_edge": 16}, "crop_pct": 0.8},
    "BitImageProcessorPil": {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}, "resample": 1},
    "PvtImageProcessorPil": {"size": {"height": 16, "width": 16}, "do_normalize": False},
    "MobileViTImageProcessorPil": {"size": {"shortest_edge": 18}, "crop_size": {"height": 16, "width": 16}},
}


@pytest.mark.parametrize("shape", [(40, 40), (31, 50), (62, 33)], ids=str)
@pytest.mark.parametrize("name", PROCESSORS)
def test_preparation_is_the_processors(name: str, shape: tuple[int, int], tmp_path: Path) -> None:
    kind = getattr(transformers, name, None)
    if kind is None:
        pytest.skip(f"this transformers has no {name}")
    processor = kind(**PROCESSORS[name])
    processor.save_pretrained(tmp_path)
    preparation, why = stated_in(tmp_path, transformers)
    assert preparation is not None, why
    smooth = np.random.default_rng(0).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    picture = Image.fromarray(smooth).resize(shape[::-1], Image.Resampling.BICUBIC)
    wanted = torch.as_tensor(np.asarray(processor(picture, return_tensors="np")["pixel_values"]))
    rgb = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255
    found = prepare(rgb, preparation)
    unit = 1 / 255 / min(preparation.std)
    assert found.shape == wanted.shape and float((found - wanted).abs().max()) <= 2 * unit


UNSTATED = {
    "padding": {**PROCESSOR, "do_pad": True},
    "splitting": {**PROCESSOR, "do_image_splitting": True},
    "its own arithmetic": {**PROCESSOR, "image_processor_type": "EfficientNetImageProcessor"},
    "no mean": {k: v for k, v in PROCESSOR.items() if k != "image_mean"},
    "not square": {**PROCESSOR, "size": {"height": 16, "width": 20}},
    "any size": {**PROCESSOR, "size": {"shortest_edge": 800, "longest_edge": 1333}},
    "offset": {**PROCESSOR, "offset": True},
    "a filter that there is not": {**PROCESSOR, "resample": 5},
    "no resizing": {**PROCESSOR, "do_resize": False},
    "words": {**PROCESSOR, "image_mean": "half"},
}


@pytest.mark.parametrize("name", UNSTATED)
def test_what_cannot_be_carried_out_is_not_guessed(name: str) -> None:
    found, why = preparation_of(UNSTATED[name], "preprocessor_config.json")
    assert found is None and "give tensors" in why


def test_an_encoder_with_a_decoder(tmp_path: Path) -> None:
    config = transformers.T5Config(vocab_size=30, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2,
                                   decoder_start_token_id=0)  # fmt: skip
    model = saved(tmp_path, config, "T5ForConditionalGeneration")
    net, ids = open_file(tmp_path), torch.tensor([[3, 4, 5]])
    x = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": torch.zeros_like(ids[:, :1])}
    assert net.inputs == tuple(x)
    with torch.no_grad():
        assert torch.allclose(net.pick(net.model(**x)), model(**x).logits, atol=1e-5)
    assert set(pl.methods.input_x_gradient(net, x, pl.token(-1, 4)).maps) == {"input_ids", "decoder_input_ids"}


def test_siglip_scores_pairs_with_its_bias(tmp_path: Path) -> None:
    text = {"vocab_size": 30, "max_position_embeddings": 8, "bos_token_id": 1, "eos_token_id": 2, **SMALL}
    config = transformers.SiglipConfig(text_config=text, vision_config={"image_size": 16, "patch_size": 8, **SMALL})
    model = saved(tmp_path, config, "SiglipModel")
    ids, picture = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 1]]), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        wanted = model(input_ids=ids, pixel_values=picture).logits_per_image
        assert torch.allclose(open_file(tmp_path).model(ids, picture), wanted, atol=1e-4)
