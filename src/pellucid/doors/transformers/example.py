"""What a transformers model takes, and inputs of such shapes."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

_WORDS = 16  # tokens of a made-up text


def example(model: nn.Module) -> dict[str, Tensor]:
    """Inputs of the shapes that a transformers model takes, one sample, all zero."""
    known = inputs_of(model)
    config: Any = model.config
    vision, text = (getattr(config, f"{part}_config", config) for part in ("vision", "text"))
    words = min(_WORDS, getattr(text, "max_position_embeddings", None) or _WORDS)
    made: dict[str, Tensor] = {}
    for name in known:
        if name in ("pixel_values", "pixel_values_videos"):
            made[name] = torch.zeros(1, *_frames(vision, name), getattr(vision, "num_channels", 3), *_size(vision))
        elif name == "input_features":
            steps = getattr(config, "max_source_positions", 1500)  # Whisper halves the frames of a sound, and checks
            made[name] = torch.zeros(1, getattr(config, "num_mel_bins", 80), 2 * steps)
        elif name == "input_values":
            made[name] = torch.zeros(1, 16000)
        elif name == "attention_mask":
            made[name] = torch.ones(1, words, dtype=torch.long)
        else:
            made[name] = torch.zeros(1, 1 if name == "decoder_input_ids" else words, dtype=torch.long)
    return made


def _size(config: Any) -> tuple[int, int]:
    """Height and width of the pictures that a configuration names."""
    size = getattr(config, "image_size", None) or getattr(config, "crop_size", None) or 224
    height, width = (size, size) if isinstance(size, int) else size
    return height, width


def _frames(config: Any, name: str) -> tuple[int, ...]:
    """How many pictures a video has; nothing for a network of single ones."""
    found = getattr(config, "num_frames", None) or getattr(config, "frames_per_clip", None)
    return (found,) if isinstance(found, int) else (16,) if name == "pixel_values_videos" else ()


def inputs_of(model: nn.Module) -> tuple[str, ...]:
    """The inputs without which the model has nothing to say, in forward's order."""
    main = str(getattr(model, "main_input_name", "input_ids"))
    accepted = signature(model.forward).parameters
    wanted = {main}
    if main == "input_ids" and "attention_mask" in accepted:
        wanted.add("attention_mask")
    if {"input_ids", "pixel_values"} <= set(accepted) and hasattr(model, "get_image_features"):
        wanted |= {"input_ids", "pixel_values", "attention_mask"}
    if getattr(model.config, "is_encoder_decoder", False) and "decoder_input_ids" in accepted:
        wanted.add("decoder_input_ids")
    return tuple(name for name in accepted if name in wanted)
