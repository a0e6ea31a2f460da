"""Hugging Face models of text: what is read, which tokens it becomes, and what is explained by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import pellucid as pl
from pellucid.core.errors import BadInput, BadTarget
from pellucid.doors.transformers.hugging_face import open_file
from pellucid.surfaces.cli import main
from tests.transformers_folders import TEXT, WORDS, bert, gpt2, saved

transformers: Any = pytest.importorskip("transformers")


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
