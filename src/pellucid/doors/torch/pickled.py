"""Whole objects in pickles: shown first, and unpickled only when somebody says that they trust the file."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.torch.pickle_codes import Stream
from pellucid.doors.torch.pickle_names import described
from pellucid.doors.torch.pickle_parts import Cut, Seen
from pellucid.doors.torch.pickle_text import told
from pellucid.doors.torch.torch_file import PICKLE_LIMIT
from pellucid.doors.weight_files.sealed import archive, digest_of, member, refuse_larger_than_memory, unchanged

_PARTS = ("model", "module", "net", "network", "ema", "model_ema", "state_dict")


@dataclass(frozen=True, slots=True)
class Contents:
    """What trusting a file means: its SHA-256, and a line for every name that it would import, the worst first."""

    digest: str
    names: tuple[str, ...]


def contents(path: Path) -> Contents:
    """What a file would import if it were unpickled.  Nothing in it is run; a pickle that breaks off counts as well.

    Every pickle of an archive is looked at, and every pickle within a pickle.
    """
    seen = Seen()
    with unchanged(path):
        digest = digest_of(path)
        if zipfile.is_zipfile(path):
            with archive(path) as opened:
                for entry in opened.infolist():
                    if entry.filename.endswith((".pkl", ".pickle")):
                        _look(io.BytesIO(member(opened, entry.filename, PICKLE_LIMIT)), seen)
        else:
            with path.open("rb") as file:
                _look(file, seen)
    return Contents(digest, tuple(printable(line) for line in described(seen.names)))


def _look(file: Stream, seen: Seen) -> None:
    """Every pickle that follows in a file, until something else does."""
    try:
        while True:
            told(file, seen)
    except Cut:
        return


def unpickled(path: Path) -> tuple[nn.Module, tuple[str, ...]]:
    """The model in a file that somebody trusts, and a note with its digest.  This runs whatever the file says.

    Raises `BadModel` when the file is no model, or changed since it was looked at.
    """
    refuse_larger_than_memory(path.name, path.stat().st_size)
    before = contents(path)
    with unchanged(path):
        found = _loaded(path)
    if digest_of(path) != before.digest:
        raise BadModel(f"{printable(path.name)} changed while it was being read.", "Look at it again first.")
    model = _module_in(found)
    if model is None:
        raise BadModel(
            f"{printable(path.name)} holds a {type(found).__name__}, not a torch module.",
            "Save the model itself, or its weights: torch.save(model.state_dict(), path).",
        )
    return model, (f"The file was trusted and unpickled: SHA-256 {before.digest}.",)


def _loaded(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except pickle.UnpicklingError:
        with path.open("rb") as file:
            return pickle.load(file)  # noqa: S301 (somebody said that they trust it)
    except Exception as error:  # code in the file may raise anything
        reason = printable(str(error).partition("\n")[0], 120)
        raise BadModel(
            f"{printable(path.name)} could not be unpickled: {type(error).__name__}: {reason}.",
            "Make the classes that it was saved with importable: set PYTHONPATH to the folder of their module "
            "(PYTHONPATH=. for the one that you are in), and try again.",
        ) from error


def _module_in(found: Any) -> nn.Module | None:
    if isinstance(found, nn.Module):
        return found
    if isinstance(found, Mapping):
        return next((found[k] for k in _PARTS if isinstance(found.get(k), nn.Module)), None)
    return None
