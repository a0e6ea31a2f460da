"""The preparation that a folder states, against the processors: Pillow's, which round to 0..255 twice in resizing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pellucid.doors.pictures.prepare import prepare
from pellucid.doors.transformers.preparation import preparation_of, stated_in
from tests.transformers_folders import PROCESSOR

transformers: Any = pytest.importorskip("transformers")

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
