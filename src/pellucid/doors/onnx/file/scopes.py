"""Where in the exporter's module tree a node stood, and from which line of code it came.

`torch.onnx.export(dynamo=True)` writes both into each node's metadata; older exporters, and those of Keras and
TensorFlow, write the chain of modules into the node's name: `/layer1/layer1.0/conv1/Conv`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_SCOPES, _CLASSES = "pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy"
_TRACE, _RULE = "pkg.torch.onnx.stack_trace", "pkg.onnxscript.rewriter.rule_name"
_QUOTED = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
_FRAME = re.compile(r'File "([^"\n]{1,400})", line (\d{1,9}), in ([^\n]{1,120})')
_TORCH = re.compile(r"[\\/]torch[\\/](nn|_|utils|functional)")
_FOLDERS = re.compile(r"^.*[\\/]")
_CALL = re.compile(r"@\d+$")  # torch.export's mark of a module's later calls
_DEEPEST, _LONGEST = 48, 4000


class Scopes:
    """Reads paths out of metadata and names; equal texts are read once.  Gathers the class of each module it meets."""

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self._known: dict[tuple[str, str], tuple[str, ...]] = {}

    def path(self, name: str, metadata: Mapping[str, str], inputs: Sequence[str] = ()) -> tuple[str, ...]:
        """The chain of modules around a node: `("layer1", "0", "conv1")`; empty when nothing is known.

        A convolution that took up the normalization behind it says that it stood there; its weights know better.
        """
        text = metadata.get(_SCOPES, "")
        if "BatchNorm" in metadata.get(_RULE, "") and len(inputs) > 1 and "." in inputs[1]:
            return tuple(inputs[1][:_LONGEST].split(".")[:-1])[:_DEEPEST]
        if not text:
            scope, slash, _ = name[:_LONGEST].rpartition("/")
            return self._remembered(scope, "", _from_name) if slash else ()
        return self._remembered(text[:_LONGEST], metadata.get(_CLASSES, "")[:_LONGEST], self._from_metadata)

    def _remembered(self, text: str, more: str, read: object) -> tuple[str, ...]:
        key = (text, more)
        if key not in self._known:
            self._known[key] = read(text, more)[:_DEEPEST]  # type: ignore[operator]
        return self._known[key]

    def _from_metadata(self, text: str, classes: str) -> tuple[str, ...]:
        scopes = [a or b for a, b in _QUOTED.findall(text)][:-1]  # the last one is the operation itself
        kinds = [a or b for a, b in _QUOTED.findall(classes)]
        path, before = [], ""
        for scope, kind in zip(scopes, [*kinds, *[""] * len(scopes)], strict=False):
            scope = _CALL.sub("", scope)
            if scope and scope != before:
                path.extend(_below(before, scope))
                self.kinds.setdefault(".".join(path), kind.rpartition(".")[2])
                before = scope
            elif kind:
                self.kinds.setdefault("", kind.rpartition(".")[2])
        return tuple(path)


def _from_name(scope: str, _: str) -> tuple[str, ...]:
    path: list[str] = []
    before = ""
    for part in scope.split("/"):
        if part:
            path.extend(_below(before, part))
            before = part
    return tuple(path)


def _below(parent: str, scope: str) -> list[str]:
    """What a scope adds to the one around it: `layer1.0` inside of `layer1` adds `0`."""
    inner = scope[len(parent) + 1 :] if parent and scope.startswith(parent + ".") else scope
    return [part for part in inner.split(".") if part]


def source(metadata: Mapping[str, str]) -> str:
    """The innermost line of code that is not torch's own, `resnet.py:150 in forward`; never the folders it lies in."""
    frames = _FRAME.findall(metadata.get(_TRACE, "")[-_LONGEST:])
    if not frames:
        return ""
    own = [frame for frame in frames if not _TORCH.search(frame[0])]
    file, line, function = (own or frames)[-1]
    return f"{_FOLDERS.sub('', file)}:{line} in {function}"
