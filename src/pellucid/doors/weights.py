"""Find a weight file inside an installed package without importing the package, and fill a model with it."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from pellucid.core.errors import BadModel, Missing


def file_in(package: str, inside: str, command: str) -> Path:
    """The file `inside` an installed package.  No code of the package runs.

    Raises `Missing` with the command that installs it.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / inside).is_file():
            return path
    raise Missing(f"The package {package.replace('_', '-')}, which holds these weights, is not installed.", command)


def verified(path: Path, digest: str, command: str) -> Path:
    """The same path, when its SHA-256 is the one that Pellucid was tested with; else raises `BadModel`."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != digest:
        raise BadModel(f"{path.name} is not the file that Pellucid was tested with (SHA-256 {found[:12]}...).", command)
    return path


def state_of(path: Path) -> list[Tensor]:
    """A state dict's tensors in order, without batch norm's counters.  Only tensors are read, never code.

    They are laid out in the usual order: filters that were converted from other frameworks can be stored turned, and
    every pass would then turn them back (15 % of a gradient pass of EfficientNet-Lite0).
    """
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return [value.contiguous() for name, value in state.items() if not name.endswith("num_batches_tracked")]


def filled(build: Callable[[], nn.Module], tensors: Sequence[Tensor], name: str) -> nn.Module:
    """A model built without drawing a single random number, its weights given by position, in eval mode.

    Raises `BadModel` when the number of tensors or one of the shapes differs.
    """
    with torch.device("meta"):
        model = build()
    slots = {key: value.shape for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    if len(slots) != len(tensors):
        raise BadModel(f"{name} needs {len(slots)} tensors; the file has {len(tensors)}.", "Install the package again.")
    for (key, shape), tensor in zip(slots.items(), tensors, strict=True):
        if shape != tensor.shape:
            found = f"the file's tensor has {tuple(tensor.shape)}"
            raise BadModel(f"{name}: {key} needs shape {tuple(shape)}; {found}.", "Install the package again.")
    counters = {key: torch.tensor(0) for key in model.state_dict() if key.endswith("num_batches_tracked")}
    model.load_state_dict(counters | dict(zip(slots, tensors, strict=True)), assign=True)
    return model.eval()
