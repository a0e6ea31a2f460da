"""What lies in a Hugging Face folder, looked at before transformers is: configuration, weights, whose code it wants."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pellucid.core.errors import BadModel, Missing
from pellucid.doors.files import file_bytes, printable

_JSON_LIMIT = 64 << 20
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_OTHERS = {
    "model_index.json": (
        "is a pipeline of several networks (diffusers)",
        "Open the folder of one of them, such as its unet or text_encoder.",
    ),
    "modules.json": (
        "is a sentence-transformers model, of which the transformer is one part",
        "Open the folder of its transformer (0_Transformer, or the one that modules.json names first).",
    ),
}
_CONVERTED = {
    "tf_model.h5": "TensorFlow",
    "model.ckpt.index": "TensorFlow",
    "flax_model.msgpack": "Flax",
    "rust_model.ot": "Rust",
}


def json_of(path: Path) -> dict[str, Any]:
    """A JSON file that holds a mapping; raises `BadModel` for any other."""
    shown = printable(path.name)
    try:
        found: object = json.loads(file_bytes(path, _JSON_LIMIT).decode("utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadModel(f"{shown} is not a JSON mapping.", "It is damaged: copy or download it again.")
    return found


def optional(path: Path) -> dict[str, Any]:
    """A JSON file's mapping; empty when there is none."""
    return json_of(path) if path.is_file() else {}


def _adapter(folder: Path, shown: str) -> BadModel:
    """What an adapter is, and of which model."""
    said = json_of(folder / "adapter_config.json")
    kind, base = (printable(str(said.get(k, "")), 80) for k in ("peft_type", "base_model_name_or_path"))
    return BadModel(
        f"{shown} holds an adapter ({kind or 'PEFT'}), which changes {base or 'another model'} and is none itself.",
        "Merge them in Python: peft.PeftModel.from_pretrained(model, folder).merge_and_unload().save_pretrained(new), "
        "and open that folder; pellucid map adapter_model.safetensors shows what it holds.",
    )


def quantized_by(config: Mapping[str, Any]) -> str:
    """What quantized the weights, and to how many bits where that is said; empty when nothing did."""
    if "quantization_config" not in config:
        return ""
    method = config["quantization_config"]
    if not isinstance(method, dict):
        return "a package"
    bits = method.get("bits", 4 if method.get("load_in_4bit") else 8 if method.get("load_in_8bit") else None)
    kind = printable(str(method.get("quant_method", "a package")), 40)
    return f"{kind} ({bits} bits)" if isinstance(bits, int) else kind


def config_of(path: Path, *, quantized: bool = False) -> tuple[Path, dict[str, Any]]:
    """The folder and the configuration of a Hugging Face model, given either.

    Raises `BadModel` for a folder of another kind, when the model wants code that comes with it (none is ever run), and
    for `quantized` weights, unless they are not wanted.
    """
    folder = path if path.is_dir() else path.parent
    file = path / "config.json" if path.is_dir() else path
    shown = printable(folder.name or str(folder))
    if not file.is_file():
        if (folder / "adapter_config.json").is_file():
            raise _adapter(folder, shown)
        for name, (what, hint) in _OTHERS.items():
            if (folder / name).is_file():
                raise BadModel(f"{shown} {what}.", hint)
        raise BadModel(f"{shown} has no config.json.", "Give the folder that save_pretrained wrote.")
    config = json_of(file)
    if "auto_map" in config:
        code = config["auto_map"]
        first = printable(str(next(iter(code.values()), ""))) if isinstance(code, dict) else "custom code"
        raise BadModel(
            f"{shown} needs Python code of its own ({first}), which Pellucid never runs.",
            "Read that code; if you trust it, build the model in Python with it, then pl.open(model).",
        )
    if (how := quantized_by(config)) and not quantized:
        raise BadModel(
            f"The weights of {shown} are quantized by {how}.",
            "Open the unquantized model that they were made from, or draw it: pellucid map FOLDER.",
        )
    if "model_type" not in config and (folder / "model.bin").is_file():
        raise BadModel(
            f"{shown} is a CTranslate2 model, as of faster-whisper.",
            "Open the transformers model that it was made from.",
        )
    if "model_type" not in config:
        timm = " It is a timm model: pl.open('timm:NAME')." if "pretrained_cfg" in config else ""
        raise BadModel(f"The config.json in {shown} names no model_type.{timm}", "Give a transformers model's folder.")
    return folder, config


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that hold the weights, every shard of them: safetensors, else PyTorch's.

    Raises `BadModel` when a shard lies outside of the folder or is missing, and when the weights are another
    framework's, with the command that converts them; `Missing` when there are none.
    """
    shown = printable(folder.name or str(folder))
    for single in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{single}.index.json"
        if index.is_file():
            return _shards(folder, index, shown)
        if (folder / single).is_file():
            return ((folder / single),)
    for name, framework in _CONVERTED.items():
        if (folder / name).is_file():
            raise BadModel(
                f"{shown} holds the weights in {framework}'s format only ({name}), which transformers 5 does not read.",
                "Convert them with transformers 4: AutoModel.from_pretrained(folder, "
                f"from_{'flax' if framework == 'Flax' else 'tf'}=True).save_pretrained(new_folder).",
            )
    raise Missing(
        f"{shown} holds a configuration and no weights (model.safetensors).",
        "Put them there, or draw what it describes: pellucid map FOLDER.",
    )


def _shards(folder: Path, index: Path, shown: str) -> tuple[Path, ...]:
    weights = json_of(index).get("weight_map")
    if not isinstance(weights, dict) or not weights:
        raise BadModel(f"{index.name} in {shown} names no weights.", "It is damaged: copy or download it again.")
    found = []
    for name in sorted({str(v) for v in weights.values()}):
        if "/" in name or "\\" in name or name.startswith(".") or ":" in name:
            raise BadModel(
                f"{index.name} in {shown} points outside of the folder: {printable(name)}.", "Do not use it."
            )
        if not (folder / name).is_file():
            raise BadModel(f"{shown} lacks the weights {printable(name)}.", "Copy or download them too.")
        found.append(folder / name)
    return tuple(found)


def cached(name: str) -> Path:
    """The folder of a model in the local Hugging Face cache.  Nothing is downloaded; raises `Missing` with the command.

    The cache is `HF_HUB_CACHE`, `HF_HOME/hub`, or `~/.cache/huggingface/hub`.
    """
    shown = printable(name)
    if not _NAME.fullmatch(name) or ".." in name:
        raise BadModel(f"{shown!r} is not a name of the form owner/model.", "Write hf:owner/model, or give a folder.")
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    model = cache / f"models--{name.replace('/', '--')}"
    ref = model / "refs" / "main"
    commits = [ref.read_text(encoding="utf-8").strip()] if ref.is_file() else []
    snapshots = model / "snapshots"
    if snapshots.is_dir():
        commits += sorted((s.name for s in snapshots.iterdir()), reverse=True)
    for commit in commits:
        folder = snapshots / Path(commit).name
        if (folder / "config.json").is_file():
            return folder
    raise Missing(
        f"The model {shown} is not in the Hugging Face cache of this machine, and Pellucid downloads nothing.",
        f"Download it once: hf download {shown}",
    )
