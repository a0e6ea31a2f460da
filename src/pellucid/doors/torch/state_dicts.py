"""Which of a checkpoint's tensors are the model's weights: wrappers are looked through, copies are named."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pellucid.core.errors import BadModel
from pellucid.doors.files import printable
from pellucid.doors.torch.pickle_names import harmless
from pellucid.doors.torch.pickle_parts import Global, Made, Persistent
from pellucid.doors.torch.torch_file import Checkpoint, checkpoint, entry_of, is_tensor
from pellucid.doors.weight_files.entries import Entry, Listing

_WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "state_dict_model", "model", "module", "net", "network"),
    *("params", "weights", "model_weights", "state", "generator"),
)
_AVERAGE = re.compile(r"(^|_)(ema|swa|avg|averaged|shadow)(_|$)")
_TRAINING = ("optim", "sched", "scaler", "loss", "callback", "hyper", "args", "config", "rng")
_DEPTH = 32
_TENSORS = 200_000


def weights_of_file(path: Path) -> Listing:
    """The model's weights in a file of `torch.save`; raises `BadModel` when there are none, or for a bad file."""
    file = checkpoint(path)
    notes: list[str] = []
    root = _chosen(file.root, notes, {})
    entries = tuple(_named(file, root, "", 0, set()))
    if not entries:
        raise BadModel(
            f"{printable(path.name)} holds no tensors ({_what(file.root)}).",
            "Save the model's weights: torch.save(model.state_dict(), path).",
        )
    if len(entries) > _TENSORS:
        raise BadModel(f"{printable(path.name)} names more than {_TENSORS} tensors.", "It is no ordinary model.")
    return Listing(path, "a PyTorch checkpoint", entries, {}, tuple(notes), whole=_module(root) is not None)


def holds_objects(path: Path) -> bool:
    """Is it a pickle of more than tensors in plain holders: of a whole module, say?"""
    with path.open("rb") as file:
        head = file.read(2)
    if head != b"PK" and head[:1] != b"\x80":
        return False
    try:
        return not all(map(harmless, checkpoint(path).seen.names))
    except BadModel:
        return True  # names that run programs: whoever trusts the file has been shown them


def _what(root: Any) -> str:
    if isinstance(root, Made) and isinstance(root.callee, Global):
        return f"a {printable(str(root.callee), 60)}"
    items = _mapping(root)
    return f"a dictionary of {', '.join(printable(str(k), 20) for k in list(items)[:4])}" if items else "nothing of use"


def _chosen(node: Any, notes: list[str], known: dict[int, bool], depth: int = 0) -> Any:
    """The part of a structure that is the model's state."""
    if _module(node) is not None:
        notes.append(f"The file holds a whole module, {_class_of(node)}; its weights were found without running it.")
        return node
    items = {k: v for k, v in _mapping(node).items() if isinstance(k, str) and _holds(v, known)}
    holders = [k for k, v in items.items() if not is_tensor(v)]
    if not holders or depth > 4:
        return node
    averages = [k for k in holders if _AVERAGE.search(k.lower())]
    plain = [k for k in holders if k not in averages and not any(word in k.lower() for word in _TRAINING)]
    alone = plain[0] if len(plain) == 1 and len(holders) == len(items) else None
    main = next((k for k in _WRAPPERS if k in plain), alone)
    if main is None and not plain and averages and len(holders) == len(items):
        main = averages[0]
        notes.append(f"Only averaged weights are in the file; those under {printable(main, 40)!r} were taken.")
    elif main is not None and averages:
        notes.append(
            f"An averaged copy is in the file too, under {printable(averages[0], 40)!r}; the weights under "
            f"{printable(main, 40)!r} were taken."
        )
    if main is None:
        return {k: v for k, v in items.items() if k in plain or k not in holders}
    return _chosen(items[main], notes, known, depth + 1)


def _holds(node: Any, known: dict[int, bool], depth: int = 0) -> bool:
    """Is there a tensor somewhere inside?  Each part is asked once, however often it is held."""
    if isinstance(node, str | int | float | bytes | None) or depth > _DEPTH:
        return False
    if id(node) not in known:
        known[id(node)] = False  # while it is asked: some hold themselves
        known[id(node)] = is_tensor(node) or any(_holds(v, known, depth + 1) for v in _inside(node).values())
    return known[id(node)]


def _named(file: Checkpoint, node: Any, name: str, depth: int, met: set[int]) -> Iterator[Entry]:
    """Every tensor under a node, with dots between the names.  No holder is entered twice: some hold themselves."""
    found = entry_of(node, name, file)
    if found is not None:
        yield found
        return
    if id(node) in met or depth > _DEPTH:
        return
    met.add(id(node))
    for key, value in _inside(node).items():
        if isinstance(key, str | int) and not isinstance(value, str | int | float | bytes | None):
            yield from _named(file, value, f"{name}.{key}" if name else str(key), depth + 1, met)


def _inside(node: Any) -> Mapping[Any, Any]:
    """What a holder holds: the parts of a module, or the items of a dictionary or list."""
    parts = _module(node)
    return _mapping(node) if parts is None else parts


def _module(node: Any) -> Mapping[Any, Any] | None:
    """The parameters, lasting buffers and parts of a pickled module, or of a script's; None for anything else."""
    if not isinstance(node, Made):
        return None
    state = _mapping(node.state)
    if isinstance(node.callee, Global) and node.callee.module.startswith("__torch__"):  # a script's own class
        return state
    if not {"_parameters", "_modules"} <= state.keys():
        return None
    left_out = {k for k in _members(state.get("_non_persistent_buffers_set")) if isinstance(k, str)}
    buffers = {k: v for k, v in _mapping(state.get("_buffers")).items() if k not in left_out}
    return {**_mapping(state["_parameters"]), **buffers, **_mapping(state["_modules"])}


def _members(node: Any) -> Sequence[Any]:
    """The members of a set, which the older protocols make by a call."""
    if isinstance(node, Made):
        node = node.args[0] if node.args else node.values or []
    return node if isinstance(node, list | tuple) else ()


def _class_of(node: Made) -> str:
    """The class of what was made, also by the oldest protocols, which call a helper of `copyreg`."""
    made = node.callee
    if isinstance(made, Persistent) and isinstance(made.id, tuple) and len(made.id) > 1:
        made = made.id[1]
    elif isinstance(made, Global) and made.module.startswith("copyreg") and node.args:
        made = node.args[0]
    return printable(str(made), 80) if isinstance(made, Global) else "of a class made while it is unpickled"


def _mapping(node: Any) -> Mapping[Any, Any]:
    """The items of a dictionary or list, or of what would become one."""
    if isinstance(node, dict):
        return node
    if isinstance(node, list | tuple):
        return dict(enumerate(node))
    if isinstance(node, Made):
        if node.items:
            return node.items
        ordered = isinstance(node.callee, Global) and node.callee.name.endswith("Dict")
        if ordered and node.args and isinstance(node.args[0], list):
            pairs = [p for p in node.args[0] if isinstance(p, list | tuple) and len(p) == 2]
            return {k: v for k, v in pairs if isinstance(k, str | int)}
    return {}
