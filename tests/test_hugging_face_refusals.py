"""Hugging Face folders that are refused or looked at in another way: code, other kinds, other frameworks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pellucid as pl
from pellucid.core.errors import BadModel, Missing, PellucidError
from pellucid.doors.transformers.hugging_face import open_file, open_name
from tests.transformers_folders import bert

transformers: Any = pytest.importorskip("transformers")


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
    "a head that was never trained": (changed(architectures=["BertForQuestionAnswering"]), "2 weights of"),
    "another size": (
        changed(vocab_size=20),
        r"another shape in the file: 1 weight of BertF.* \(bert.embeddings.word_embeddings",
    ),
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
