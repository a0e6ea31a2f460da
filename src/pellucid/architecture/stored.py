"""Maps of files of weights whose architecture nobody said: the names in them, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pellucid.architecture.architecture import Architecture
from pellucid.architecture.overlay import Measure, Overlay
from pellucid.architecture.sources.from_names import Named, from_names
from pellucid.architecture.totals import totals
from pellucid.doors.kinds import DOORS, WEIGHTS, kind_of, lie
from pellucid.doors.torch.guesses import guesses
from pellucid.doors.weight_files.entries import Entry, Listing
from pellucid.doors.weight_files.listing import is_listed, listed
from pellucid.doors.zoo_names import NAMES

FOLDER = "a Hugging Face folder"
_LLAMA = (("block_count", "layer", "layers"), ("context_length", "token of context", "tokens of context"),
          ("embedding_length", "channel", "channels"), ("attention.head_count", "head", "heads"))  # fmt: skip
_TREE = "This is the tree of the names in the file, which tells no operations. "
_FULL = {
    "a GGUF language model": "Map the Hugging Face model that it was converted from: its config.json is enough.",
    "an HDF5 file": "Map the network that it belongs to: a .keras file, or a model in Python.",
}
_SAY = "Say what it belongs to, and all is mapped: --architecture NAME, or pl.open(path, architecture=...)."
_WHOLE = " If you trust who made it, it builds itself: --trust-file, or pl.open(path, trusted=True)."


def is_there(what: str | Path) -> bool:
    """Is it a file or a folder, and not the name of a network?"""
    if str(what) in ("", *NAMES):
        return False
    try:
        return Path(what).exists()
    except (OSError, ValueError):  # no name that this system knows
        return False


def is_file_of_weights(what: str | Path) -> bool:
    """Is it a file, or a folder, whose tensors can be listed?  Raises `BadModel` for an empty or unreadable one."""
    return is_there(what) and is_listed(Path(what))


def of_weights(what: Path) -> Architecture | None:
    """The map of a file of weights; None where its architecture may be known, and for what is no such file.

    Raises `BadModel` for a damaged file.
    """
    if not is_there(what) or DOORS.get(kind_of(what).name, WEIGHTS) != WEIGHTS or not is_listed(what):
        return None
    file = listed(what)
    return of_listing(file) if is_unknown(file) else None


def is_unknown(file: Listing) -> bool:
    """Can nobody know the architecture of these weights?  Not by a configuration beside them, nor by their names."""
    kind = kind_of(file.path).name
    if kind not in DOORS:
        return True
    beside = (file.path.parent / "config.json").exists()
    return DOORS[kind] == WEIGHTS and not beside and not guesses({e.name: e.shape for e in file.entries})


def of_listing(file: Listing, why: str = "") -> Architecture:
    """The map of a file of weights: its names as groups, with what they hold; no operations.

    `why` is what else kept it from being opened, and what to do about that.
    """
    said = (_said(file.metadata),) if _said(file.metadata) else ()
    told = (
        f"Read from {file.path.name}, {file.kind}{lie(file.path, file.kind)}.",
        *said,
        *file.notes,
        _TREE + (why or _FULL.get(file.kind, _SAY) + (_WHOLE if file.whole else "")),
    )
    return of_names(map(named, file.entries), file.path.name, told, file.metadata)


def of_names(
    tensors: Iterable[Named], name: str, notes: tuple[str, ...] = (), metadata: Mapping[str, str] | None = None
) -> Architecture:
    """The map of tensors by name."""
    tensors = tuple(tensors)
    graph, (nodes, groups) = from_names(tensors, name, name)
    stored = Measure("Stored", "B", nodes, groups, "log")
    in_nodes, in_groups = (tuple(map(float, table.parameters)) for table in (graph.nodes, graph.groups))
    numbers = Measure("Numbers", "", in_nodes, in_groups, "log")
    overlay = Overlay({"parameters": numbers, "stored": stored})
    found = totals(graph, 0, int(groups[0]), len(tensors))
    return Architecture(graph, found, overlay, notes, metadata=metadata or {})


def named(entry: Entry) -> Named:
    """A tensor of a file, with the place that tells whether others are the same one."""
    place = (entry.place, entry.offset, entry.shape, entry.stride) if entry.place is not None else None
    return Named(entry.name, entry.shape, entry.dtype, entry.bytes, place)


def _said(metadata: Mapping[str, str]) -> str:
    """What a GGUF file says of its network, in words.

    >>> _said({"general.architecture": "llama", "llama.block_count": "32", "llama.context_length": "4096"})
    'The file says: llama, 32 layers, 4096 tokens of context.'
    """
    kind = metadata.get("general.architecture", "")
    stated = [(metadata[f"{kind}.{key}"], *words) for key, *words in _LLAMA if kind and f"{kind}.{key}" in metadata]
    known = [f"{number} {one if number == '1' else many}" for number, one, many in stated]
    return f"The file says: {', '.join((kind, *known))}." if kind else ""
