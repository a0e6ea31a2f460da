"""Hugging Face models from a folder or from the local cache, built by transformers without any code of theirs."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.counts import count
from pellucid.core.errors import BadInput, BadModel, Missing
from pellucid.core.lease import random_state_kept
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.core.run import current
from pellucid.core.uncollected import uncollected
from pellucid.doors.files import printable
from pellucid.doors.pictures.reading import read
from pellucid.doors.transformers.example import example, inputs_of
from pellucid.doors.transformers.files import cached, config_of, weight_files
from pellucid.doors.transformers.preparation import stated_in
from pellucid.doors.transformers.text import reader_in
from pellucid.doors.transformers.two_towers import open_towers

_SHOWN = 5
_FEATURES = ("logits", "pooler_output", "last_hidden_state")


def open_file(
    path: Path | str,
    *,
    preparation: Preparation | None = None,
    trusted: bool = False,
    architecture: object = None,
    texts: Sequence[str] = (),
    tower: str = "",
) -> Network:
    """A transformers model from the folder that `save_pretrained` wrote: vision, text, or both (CLIP).

    Weights are read as safetensors (PyTorch's format as tensors only); the `architecture` is what config.json says,
    never code that comes with the model, `trusted` or not.  Labels are its id2label, the preparation its image
    processor's, and `net.read("text")` uses its tokenizer.  Of CLIP, `texts` make a classifier of pictures between
    them, and `tower` ("image" or "text") takes one half; else a picture and a text are scored together.

    Raises `BadModel` for what cannot be opened, or when weights are missing from the file, and `Missing` without
    transformers.
    """
    folder, _ = config_of(Path(path))
    return _open(folder, folder.name, preparation, texts, tower)


def open_name(
    name: str, *, preparation: Preparation | None = None, texts: Sequence[str] = (), tower: str = ""
) -> Network:
    """A model by name, `hf:owner/model`, from the local cache.  Nothing is downloaded: raises `Missing` instead."""
    name = name.removeprefix("hf:")
    folder = cached(name)
    config_of(folder)
    return _open(folder, f"hf:{name}", preparation, texts, tower)


def blueprint(path: Path | str) -> tuple[nn.Module, dict[str, Tensor]]:
    """The architecture that a config.json describes, without weights (on the meta device), and an input of the
    type that the configuration names, which it takes.

    For a map of a network that fits into no memory.  The input's numbers mean nothing; its shapes and types do.
    Raises `BadModel` for a configuration that transformers does not know.
    """
    package = _transformers()
    folder, config = config_of(Path(path), quantized=True)
    config = {k: v for k, v in config.items() if k != "quantization_config"}  # as it was before that
    with uncollected():
        kind = _class(package, config, folder)
    settings = _settings(package, config, folder)
    with torch.device("meta"):
        try:
            model: nn.Module = kind(settings) if kind is not package.AutoModel else kind.from_config(settings)
        except Exception as error:  # each of hundreds of architectures checks its settings in its own way
            raise BadModel(f"transformers cannot build {printable(folder.name)}: {_first(error)}", "") from error
    stored = getattr(torch, str(config.get("dtype") or config.get("torch_dtype")), None)
    dtype = stored if isinstance(stored, torch.dtype) and stored.is_floating_point else torch.float32
    inputs = {name: t.to(dtype) if t.is_floating_point() else t for name, t in example(model).items()}
    experts: Any = getattr(model, "set_experts_implementation", None)
    if experts is not None and dtype != torch.bfloat16:  # torch follows shapes through a grouped product in this alone
        experts("batched_mm")
    return model.to(dtype).eval(), inputs


def _open(folder: Path, name: str, preparation: Preparation | None, texts: Sequence[str], tower: str) -> Network:
    package = _transformers()
    model, notes = _loaded(package, folder)
    config: Any = model.config
    inputs = inputs_of(model)
    text, why = reader_in(folder, package, config) if "input_ids" in inputs else (None, "")
    notes += [why] if why else []
    if "pixel_values" in inputs and preparation is None:
        preparation, why = stated_in(folder, package)
        notes += [why] if why else []
    source = name if name.startswith("hf:") else ""
    if hasattr(model, "get_image_features") and {"input_ids", "pixel_values"} <= set(inputs):
        return open_towers(model, name, source, preparation, text, texts, tower, notes)
    if texts or tower:
        raise BadModel(f"{printable(name)} is no model of pictures and texts together.", "Leave out texts and tower.")
    reader = read if inputs == ("pixel_values",) else text or _needs_tensors
    return Network(
        model, inputs=inputs, labels=_labels(config, model), preparation=preparation, name=name, source=source,
        output=_output(model), reader=reader, words=text.words if text else None,
        continues=_continues(model), notes=notes,
    )  # fmt: skip


def _needs_tensors(net: Network, _: Any) -> Any:
    """What reads for a network of sounds, or of words without a tokenizer."""
    names = ", ".join(f"{name!r}: ..." for name in net.inputs)
    why = "its tokenizer is not in the folder" if "input_ids" in net.inputs else "nothing here makes those of a file"
    raise BadInput(
        f"{net.name} takes {' and '.join(net.inputs)}, and {why}.",
        f"Give tensors by name, {{{names}}}, as transformers.AutoProcessor.from_pretrained(folder) makes them.",
    )


@contextmanager
def _no_bar(package: Any) -> Iterator[None]:
    """Without transformers' progress bar, which it writes to the terminal; as it was afterwards."""
    logging = package.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _loaded(package: Any, folder: Path) -> tuple[nn.Module, list[str]]:
    """The model with its weights, checked for any that the file does not hold."""
    shown = printable(folder.name)
    _, config = config_of(folder)
    kind = _class(package, config, folder)
    files = weight_files(folder)
    _refuse_larger_than_memory(files, shown)
    tensors = files[0].suffix == ".safetensors"
    with random_state_kept(current().seed, lambda _: None):  # what is not in the file is drawn; it is refused below
        try:
            with _no_bar(package):
                model, found = kind.from_pretrained(
                    folder, local_files_only=True, trust_remote_code=False, use_safetensors=tensors, weights_only=True,
                    dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True,
                )  # fmt: skip
        except Exception as error:
            raise BadModel(f"transformers cannot open {shown}: {_first(error)}", "Check that it is whole.") from error
    missing = sorted(k for k in found["missing_keys"] if "pooler" not in k)
    wrong = [str(k[0] if isinstance(k, tuple) else k) for k in found.get("mismatched_keys", ())]
    if missing or wrong:
        names = ", ".join(printable(k) for k in (missing or wrong)[:_SHOWN])
        what = count(len(missing or wrong), f"weight of {type(model).__name__}", f"weights of {type(model).__name__}")
        raise BadModel(
            f"{'Missing from the file' if missing else 'Of another shape in the file'}: {what} ({names}).",
            "The model was saved as another class: correct `architectures` in config.json, or save it again.",
        )
    notes = [f"{type(model).__name__}, {'safetensors' if tensors else 'PyTorch weights (tensors only)'}."]
    if found["missing_keys"]:
        notes.append("The pooler's weights are not in the file: what it puts out means nothing.")
    if unused := sorted(found.get("unexpected_keys", ())):
        left = count(len(unused), "weight of the file is", "weights of the file are")
        notes.append(f"{left} not used, such as {printable(unused[0])}.")
    stored = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    if stored != "float32":
        notes.append(f"The weights are stored as {printable(stored)} and used as float32.")
    model.config.use_cache = False
    return model.eval(), notes


def _class(package: Any, config: dict[str, Any], folder: Path) -> Any:
    """The class of transformers that the configuration names, or its plain model."""
    named = config.get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    if name is None:
        return package.AutoModel
    kind = getattr(package, name, None) if isinstance(name, str) and name.isidentifier() else None
    if not isinstance(kind, type) or not issubclass(kind, package.PreTrainedModel):
        raise BadModel(
            f"{printable(folder.name)} is a {printable(str(name))}, which transformers {package.__version__} does not "
            "have.",
            "Install the transformers that wrote it, or build the model in Python and pl.open(model).",
        )
    return kind


def _settings(package: Any, config: dict[str, Any], folder: Path) -> Any:
    try:
        return package.CONFIG_MAPPING[config["model_type"]].from_dict(config)
    except Exception as error:
        raise BadModel(f"transformers does not know {printable(folder.name)}: {_first(error)}", "") from error


def _labels(config: Any, model: nn.Module) -> tuple[str, ...]:
    """The classes' names, where the model is a classifier that has any but LABEL_0, LABEL_1."""
    if "Classification" not in type(model).__name__ and "ObjectDetection" not in type(model).__name__:
        return ()
    names = getattr(config, "id2label", None) or {}
    found = tuple(str(names.get(i, f"class {i}")) for i in range(len(names)))
    return () if all(n == f"LABEL_{i}" for i, n in enumerate(found)) else found


def _continues(model: nn.Module) -> bool:
    """Does each position of its output say what comes next?"""
    name = type(model).__name__
    if name.endswith(("ForCausalLM", "LMHeadModel")):
        return True
    return name.endswith("ForConditionalGeneration") and bool(getattr(model.config, "is_encoder_decoder", False))


def _output(model: nn.Module) -> str | None:
    """Which part of the output targets speak of: of a model without a head, its pooled features where it has them."""
    name = type(model).__name__
    if "For" in name or name.endswith("LMHeadModel"):
        return None
    pooled = any("pooler" in path for path, _ in model.named_modules())
    if not hasattr(model, "pooler"):  # DINOv2 takes the first token, and has no part for that
        pooled = pooled or "WithPooling" in str(signature(model.forward).return_annotation)
    return "pooler_output" if pooled else "last_hidden_state"


def _refuse_larger_than_memory(files: Sequence[Path], shown: str) -> None:
    size = sum(f.stat().st_size for f in files)
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return
    if size > 0.9 * memory:
        raise BadModel(
            f"The weights of {shown} have {size / 2**30:.0f} GiB; this machine's memory is {memory / 2**30:.0f} GiB.",
            "Its architecture can be drawn without them: pellucid map FOLDER.",
        )


def _first(error: Exception) -> str:
    return f"{type(error).__name__}: {printable(str(error).partition(chr(10))[0], 240)}"


def _transformers() -> Any:
    try:
        with uncollected():
            return importlib.import_module("transformers")
    except ModuleNotFoundError as error:
        absent = (error.name or "transformers").partition(".")[0]
        raise Missing(f"Hugging Face models need the package {absent}.", "pip install transformers") from None
