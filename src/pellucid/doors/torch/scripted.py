"""The door for TorchScript archives: run and mapped when trusted; their weights alone need no trust."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from pellucid.core.errors import BadModel
from pellucid.core.network import Network
from pellucid.core.preparation import Preparation
from pellucid.doors.files import printable
from pellucid.doors.pictures.reading import read
from pellucid.doors.torch import checkpoint
from pellucid.doors.weight_files.sealed import archive, refuse_larger_than_memory, unchanged


def open_file(
    path: Path,
    *,
    preparation: Preparation | None = None,
    trusted: bool = False,
    architecture: nn.Module | str | None = None,
) -> Network:
    """The network in a TorchScript archive.

    The archive brings code, which runs when the network does.  So it opens only when it is `trusted`, or when an
    `architecture` is given, which then takes the weights and none of the code.  Raises `BadModel` otherwise.
    """
    if architecture is not None:
        return checkpoint.open_file(path, preparation=preparation, trusted=trusted, architecture=architecture)
    name = printable(path.name)
    with archive(path) as opened:  # its claims are checked before torch sees it
        needed = sum(e.file_size for e in opened.infolist())
    if not trusted:
        raise BadModel(
            f"{name} is a TorchScript archive: it brings code of its own, which runs whenever the network does.",
            "If you trust who made it: pl.open(path, trusted=True), or --trust-file. "
            "Or give architecture=..., which takes its weights.",
        )
    refuse_larger_than_memory(path.name, needed)
    try:
        with unchanged(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch discourages new scripts; this one is there
            model: nn.Module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        reason = printable(str(error).strip().partition("\n")[0], 120)
        raise BadModel(f"{name} cannot be read by torch {torch.__version__}: {reason}.", "Save it again.") from error
    note = (
        "It is a script: it can be run, masked and differentiated, but rules cannot see its operations. Methods that "
        "change them say which ones they left as they are."
    )
    return Network(model, preparation=preparation, name=path.stem, reader=read, notes=(note,))
