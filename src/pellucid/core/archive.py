"""A result in one file: tensors as safetensors, everything else as JSON in its header.  Never a pickle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors

from pellucid.core.errors import BadInput, BadOption, PellucidError
from pellucid.core.tensors import Tensors

FORMAT = 1  # raise it whenever an older version could not read the file
SUFFIX = ".pellucid"


@dataclass(frozen=True, slots=True)
class Archive:
    """What a file holds: the kind of result, its facts (plain JSON values) and its tensors by name."""

    kind: str
    facts: Mapping[str, Any]
    tensors: Tensors

    def under(self, prefix: str) -> Tensors:
        """The tensors whose names begin with `prefix`, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def packed(kind: str, facts: Mapping[str, Any], tensors: Tensors) -> bytes:
    """The content of a file; facts that JSON does not know are written as their text.

    >>> packed("dream", {"steps": 3}, {})[:1] != b""
    True
    """
    stored = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}  # no two may share memory
    header = json.dumps({"format": FORMAT, "kind": kind, **facts}, default=str)
    return to_safetensors(stored, metadata={"pellucid": header})


def unpacked(path: str | Path) -> Archive:
    """What `packed` wrote.  Raises `BadInput` when the file is not such a one, or is newer than this version."""
    try:
        with safe_open(str(path), framework="pt") as file:
            raw = (file.metadata() or {}).get("pellucid")
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (not a mapping)
        facts = json.loads(raw or "null")
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{Path(path).name} could not be read: {error}.", f"Expected a {SUFFIX} file.") from error
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        found = facts.get("format") if isinstance(facts, dict) else "none"
        raise BadInput(f"{Path(path).name} is not a result of format {FORMAT} (found: {found}).", "Update Pellucid.")
    return Archive(str(facts.get("kind", "explanation")), facts, tensors)  # the first files did not say their kind


@contextmanager
def undamaged(path: str | Path) -> Iterator[None]:
    """Whatever goes wrong while a result is made of an archive is the file's fault, and said so."""
    try:
        yield
    except BadOption as error:  # nobody but the file gave that option
        raise _damaged(path, error) from error
    except PellucidError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: str | Path, error: Exception) -> BadInput:
    return BadInput(f"{Path(path).name} is damaged: {type(error).__name__} {error}.", "Save it again.")
