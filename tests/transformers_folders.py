"""Folders of small Hugging Face models with drawn weights, as save_pretrained writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

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
