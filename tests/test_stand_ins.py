"""Stand-ins for what a folder of transformers takes: sounds, videos and mixtures of experts run on theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import pellucid as pl
from pellucid.core.recording.record import record_module

transformers = pytest.importorskip("transformers")

SMALL: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def whisper() -> tuple[Any, Any]:
    sizes = {f"{side}_{what}": n for side in ("encoder", "decoder") for what, n in
             (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))}  # fmt: skip
    tokens = {name: 1 for name in ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")}
    config = transformers.WhisperConfig(d_model=16, vocab_size=60, num_mel_bins=8, max_source_positions=20,
                                        max_target_positions=10, **sizes, **tokens)  # fmt: skip
    return config, transformers.WhisperForConditionalGeneration


def video() -> tuple[Any, Any]:
    config = transformers.VideoMAEConfig(image_size=32, patch_size=16, num_frames=4, **SMALL)
    return config, transformers.VideoMAEForVideoClassification


def experts(dtype: str = "float32") -> tuple[Any, Any]:
    config = transformers.MixtralConfig(vocab_size=60, num_key_value_heads=1, num_local_experts=4,
                                        num_experts_per_tok=2, max_position_embeddings=64, **SMALL)  # fmt: skip
    config.dtype = dtype
    return config, transformers.MixtralForCausalLM


def mapped(folder: Path, config: Any, kind: Any) -> tuple[pl.architecture.architecture.Architecture, nn.Module]:
    config.architectures = [kind.__name__]
    config.save_pretrained(folder)
    return pl.map(folder), kind(config).eval()


@pytest.mark.parametrize(
    ("made", "shape"),
    [(whisper, (1, 8, 40)), (video, (1, 4, 3, 32, 32))],  # two frames of a sound become one position
)
def test_they_run_on_what_their_configuration_names(tmp_path: Path, made: Any, shape: tuple[int, ...]) -> None:
    found, model = mapped(tmp_path, *made())
    nodes = found.graph.nodes
    assert shape in [s for s, op in zip(nodes.shape, nodes.op, strict=True) if op == "input"]
    assert found.totals.parameters == sum(p.numel() for p in model.parameters())
    given = {"input_features": torch.zeros(shape), "decoder_input_ids": torch.zeros(1, 1, dtype=torch.long)}
    model.config._attn_implementation = "eager"  # torch's counter passes over attention on the CPU
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**given) if made is whisper else model(torch.zeros(shape))
    assert found.totals.flops == counter.get_total_flops()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_mixture_of_experts_costs_what_those_that_are_asked_cost(
    tmp_path: Path, dtype: str, capfd: pytest.CaptureFixture[str]
) -> None:
    found, model = mapped(tmp_path, *experts(dtype))
    assert "grouped_mm" not in capfd.readouterr().err
    assert not any("could not be run" in note for note in found.notes)
    tokens, width, inner = 16, 16, 32
    of_experts = 2 * tokens * 2 * (3 * width * inner)  # two of four, each with three matrices
    of_attention = 2 * tokens * (2 * width * width + 2 * width * width // 2) + 2 * 2 * tokens * tokens * width
    assert found.totals.flops == of_experts + of_attention + 2 * tokens * width * (4 + 60)
    tape = record_module(model.float(), (), {"input_ids": torch.zeros(1, tokens, dtype=torch.long)})
    assert tape.flops == found.totals.flops


def test_what_keeps_a_network_from_running_is_said(tmp_path: Path) -> None:
    class Picky(nn.Module):
        argument_names = ("x",)

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 2)
            self.takes = {"x": ((1, 4), "float32")}

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("It takes the moon.\nAnd more.")

    (why,) = [note for note in pl.map(Picky()).notes if "could not be run" in note]
    assert "The error was: It takes the moon. " in why and "And more" not in why
