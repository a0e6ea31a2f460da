"""Nested arguments and outputs: tuples, dictionaries, slices, dataclasses, caches, with tensors somewhere inside."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = frozenset(
    {int, float, complex, bool, str, bytes, types.NoneType, torch.dtype, torch.device, torch.Size, torch.layout,
     torch.memory_format}
)  # fmt: skip
_NOT_DATA = (nn.Module, type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType)


def parts(tree: Any, *, deep: bool = False) -> list[tuple[str, Any]]:
    """What a container holds, by name; a leaf holds nothing.  With `deep`, objects hold their attributes.

    >>> parts({"a": 1, "b": (2, 3)})
    [('a', 1), ('b', (2, 3))]
    """
    if isinstance(tree, Tensor) or type(tree) in _PLAIN:
        return []
    if isinstance(tree, tuple | list):
        return list(zip(map(str, getattr(tree, "_fields", range(len(tree)))), tree, strict=True))
    if isinstance(tree, dict):
        return [(str(key), value) for key, value in tree.items()]
    if type(tree) is slice:
        return [("start", tree.start), ("stop", tree.stop), ("step", tree.step)]
    if deep and not isinstance(tree, _NOT_DATA) and hasattr(tree, "__dict__"):
        return [(name, value) for name, value in vars(tree).items() if isinstance(name, str)]
    return []


def rebuilt(tree: Any, change: Callable[[Any], Any], kind: type = Tensor, *, deep: bool = False) -> Any:
    """The same structure with every leaf of a kind changed; what holds no such leaf is handed back as it is.

    >>> rebuilt({"a": [1.0, "b"]}, lambda v: v + 1, float)
    {'a': [2.0, 'b']}
    """
    return _rebuilt(tree, change, kind, deep, {})


def leaves(tree: Any, kind: type = Tensor, *, deep: bool = False) -> list[Any]:
    """Every leaf of a kind, in order, as often as it stands there.

    >>> leaves({"a": [1.0, "b"], "c": 2.0}, float)
    [1.0, 2.0]
    """
    found: list[Any] = []
    seen: set[int] = set()
    ahead = [tree]  # no recursion: this runs several times for every operation that is recorded
    while ahead:
        node = ahead.pop()
        if isinstance(node, kind):
            found.append(node)
        elif type(node) in _PLAIN:
            continue
        elif type(node) is tuple:
            ahead.extend(reversed(node))
        elif id(node) not in seen:
            seen.add(id(node))  # a cycle ends here, and what is shared counts once, as in `rebuilt`
            ahead.extend(value for _, value in reversed(parts(node, deep=deep)))
    return found


def _rebuilt(tree: Any, change: Callable[[Any], Any], kind: type, deep: bool, memo: dict[int, Any]) -> Any:
    if isinstance(tree, kind):
        return change(tree)
    if type(tree) in _PLAIN:
        return tree
    if type(tree) is tuple:
        return _same_or(tree, tuple([_rebuilt(value, change, kind, deep, memo) for value in tree]))
    if id(tree) in memo:
        return memo[id(tree)]
    held = parts(tree, deep=deep)
    memo[id(tree)] = tree  # a cycle ends here
    changed = [_rebuilt(value, change, kind, deep, memo) for _, value in held]
    if any(new is not old for new, (_, old) in zip(changed, held, strict=True)):
        memo[id(tree)] = _remade(tree, changed)
    return memo[id(tree)]


def _same_or(old: tuple[Any, ...], new: tuple[Any, ...]) -> tuple[Any, ...]:
    return old if all(a is b for a, b in zip(old, new, strict=True)) else new


def _remade(tree: Any, changed: list[Any]) -> Any:
    if isinstance(tree, tuple):
        return type(tree)(*changed) if hasattr(tree, "_fields") else type(tree)(changed)
    if isinstance(tree, slice):
        return slice(*changed)
    new = copy.copy(tree)
    if isinstance(tree, list):
        new[:] = changed
    elif isinstance(tree, dict):
        for key, value in zip(list(tree), changed, strict=True):
            new[key] = value
    else:
        vars(new).update(zip([name for name in vars(tree) if isinstance(name, str)], changed, strict=True))
    return new


def named_tensors(tree: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor inside a structure, each once, by its path: `past.layers.0.keys`.

    >>> [name for name, _ in named_tensors({"x": (torch.zeros(1), [torch.zeros(2)])})]
    ['x.0', 'x.1.0']
    """
    return _walk(tree, name, set())


def _walk(tree: Any, name: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(tree, Tensor):
        if id(tree) not in seen:
            seen.add(id(tree))
            yield name, tree
        return
    held = parts(tree, deep=True)
    if held and id(tree) not in seen:
        seen.add(id(tree))
        for key, value in held:
            yield from _walk(value, f"{name}.{key}" if name else key, seen)


def private(tree: Any, copied: Callable[[Tensor], Tensor] = lambda v: v.detach().clone()) -> Any:
    """A copy of inputs that a model may write into: tensors cloned, containers and caches copied, sharing kept.

    `copied` may make other copies of the tensors.
    """
    memo: dict[int, Any] = {id(v): copied(v) for _, v in named_tensors(tree)}
    return copy.deepcopy(tree, memo)
