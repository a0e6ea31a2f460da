"""What is checked about an ONNX file before anything large is done with it: sizes, numbers of messages, memory."""

from __future__ import annotations

import os
from pathlib import Path

from pellucid.core.errors import BadModel, Missing
from pellucid.doors.files import printable
from pellucid.doors.onnx.graph import Graph, Model, Weights

MOST_BYTES = (1 << 31) - 1  # of a protocol buffer
MOST_NODES = 1_000_000
_MOST_MESSAGES = 20_000_000
_DEEPEST = 90  # messages in messages
_GROWTH = 100

# Which fields of which message hold messages, by their numbers in onnx.proto: what can make a small file large.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 14: "entry", 25: "function", 8: "entry"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 15: "tensor", 16: "entry"},
    "node": {5: "attribute", 9: "entry"},
    "function": {7: "node", 11: "attribute", 12: "value", 14: "entry"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph"},
    "tensor": {13: "entry"},
    "value": {2: "entry"},
    "entry": {},
}


def contents(path: Path) -> bytes:
    """The bytes of an ONNX file.  Raises `Missing` or `BadModel` before reading what is too large or no file."""
    name = printable(path.name)
    if not path.exists():
        raise Missing(f"There is no file {printable(str(path))}.", "Check the name.")
    if not path.is_file():
        raise BadModel(f"{name} is a folder or a device, not a file.", "Name a file inside it.")
    size, free = path.stat().st_size, memory()
    if not size:
        raise BadModel(f"{name} is empty (0 bytes).", "Copy or download it again.")
    if size > MOST_BYTES:
        raise BadModel(
            f"{name} has {_mib(size)}; an ONNX file has at most {_mib(MOST_BYTES)}.",
            "Larger models keep their weights beside it: export it with external data.",
        )
    if 2 * size > free:  # once as a file, once decoded
        raise BadModel(f"{name} has {_mib(size)} and {_mib(free)} of memory are free.", "Close other programs.")
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = printable(error.strerror or "unknown reason")
        raise BadModel(f"{name} cannot be read: {reason}.", "Check its permissions.") from None
    if len(data) != path.stat().st_size:
        raise BadModel(f"{name} changed while it was read.", "Open it again when it is complete.")
    return data


def memory() -> int:
    """Bytes of memory that are free, as far as the system says so."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 8 << 30


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def skim(data: bytes, name: str) -> None:
    """Count nodes and messages without decoding them, if decoded they might not fit: two bytes can become a hundred."""
    if len(data) * _GROWTH < memory():
        return
    nodes = messages = 0
    waiting = [("model", 0, len(data), 0)]
    while waiting:
        kind, at, end, depth = waiting.pop()
        fields = _FIELDS[kind]
        while at < end:
            tag, at = _varint(data, at, end, name)
            number, wire = tag >> 3, tag & 7
            if wire != 2:
                at = _skipped(data, at, end, wire, name)
                continue
            length, at = _varint(data, at, end, name)
            inner = fields.get(number)
            if at + length > end:
                raise _damaged(name)
            if inner is not None:
                messages += 1
                nodes += inner == "node"
                if nodes > MOST_NODES or messages > _MOST_MESSAGES or depth > _DEEPEST:
                    what = f"{MOST_NODES:,} operations" if nodes > MOST_NODES else "can be right"
                    raise BadModel(f"{name} has more than {what}.", "Open a smaller part of it.")
                waiting.append((inner, at, at + length, depth + 1))
            at += length


def _varint(data: bytes, at: int, end: int, name: str) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise _damaged(name)


def _skipped(data: bytes, at: int, end: int, wire: int, name: str) -> int:
    if wire == 0:
        return _varint(data, at, end, name)[1]
    if wire in (1, 5):
        return at + (8 if wire == 1 else 4)
    raise _damaged(name)


def _damaged(name: str) -> BadModel:
    return BadModel(f"{name} is damaged or incomplete: it cannot be decoded.", "Copy or export it again.")


def refuse_too_large(model: Model) -> None:
    """Raise `BadModel` when the weights take more memory than is free, with both numbers."""
    need, free = sum(w.bytes for w in all_weights(model.graph)), memory()
    if need > free:
        raise BadModel(
            f"The weights of {model.name} take {_mib(need)} and {_mib(free)} of memory are free.",
            "Use a machine with more memory, or a smaller model.",
        )


def all_weights(graph: Graph) -> list[Weights]:
    """Every stored tensor: weights, constants, and those of subgraphs."""
    found = list(graph.weights.values())
    for node in graph.walk():
        for value in node.attributes.values():
            if type(value) is Weights:
                found.append(value)
            elif type(value) is Graph:
                found.extend(value.weights.values())
    return found
